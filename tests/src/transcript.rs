//! Transcript files: the one reader for those who play them, in memory and over the wire. Their form is described in
//! `tests/transcripts/README.md`.

use std::path::{Path, PathBuf};

/// One line of a transcript that is acted on or expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Bytes that the client sends.
    Client(Vec<u8>),
    /// A reply line, without its CRLF.
    Server(String),
    /// The next reply is delayed.
    Pause,
    /// A line of the message accepted last, without its CRLF.
    Message(Vec<u8>),
    /// A line of smtpd's log.
    Log(String),
    /// The server closes.
    Close,
}

/// What a transcript's DNS knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name, in lower case.
    pub name: String,
    /// `A`, `MX`, `NS`, `PTR` or `TXT`.
    pub kind: String,
    /// The data as written, or `SERVFAIL`.
    pub data: String,
}

/// One dialogue.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// Its claim: the name of the file.
    pub name: String,
    /// Parameters over the base.
    pub config: Vec<(String, String)>,
    /// What the DNS knows.
    pub records: Vec<Record>,
    /// The server's own trouble: a stage and the reply there.
    pub answers: Vec<(String, String)>,
    /// The claim depends on bytes arriving together.
    pub whole_only: bool,
    /// The dialogue.
    pub lines: Vec<Line>,
}

/// A flight of the client and what comes before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// What must have come before the client sends.
    pub expected: Vec<Line>,
    /// What it sends then; nothing at the end of the dialogue.
    pub flight: Vec<u8>,
}

impl Transcript {
    /// The dialogue as flights; the last has nothing to send.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let mut exchanges = Vec::new();
        let mut exchange = Exchange::default();
        for line in &self.lines {
            match line {
                Line::Client(bytes) => exchange.flight.extend_from_slice(bytes),
                line => {
                    if !exchange.flight.is_empty() {
                        exchanges.push(std::mem::take(&mut exchange));
                    }
                    exchange.expected.push(line.clone());
                }
            }
        }
        if !exchange.flight.is_empty() {
            exchanges.push(std::mem::take(&mut exchange));
        }
        exchanges.push(exchange);
        exchanges
    }

    /// Whether it has a line like this.
    pub fn has(&self, wanted: fn(&Line) -> bool) -> bool {
        self.lines.iter().any(wanted)
    }
}

/// Every transcript of the repository, by name.
///
/// # Panics
/// When one cannot be read, or when most of them are gone.
pub fn all() -> Vec<Transcript> {
    let directory: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut transcripts = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the transcripts are there") {
        let path = entry.expect("a directory can be listed to its end").path();
        if path.extension().is_some_and(|extension| extension == "smtp") {
            let text = std::fs::read_to_string(&path).expect("a transcript is text");
            let name = path.file_stem().expect("a file has a name");
            transcripts.push(parse(&name.to_string_lossy(), &text));
        }
    }
    assert!(transcripts.len() >= 60, "only {} transcripts", transcripts.len());
    transcripts.sort_by(|one, other| one.name.cmp(&other.name));
    transcripts
}

/// Reads one transcript.
///
/// # Panics
/// On a line that is none of a transcript's.
pub fn parse(name: &str, text: &str) -> Transcript {
    let mut transcript = Transcript {
        name: name.to_owned(),
        config: Vec::new(),
        records: Vec::new(),
        answers: Vec::new(),
        whole_only: false,
        lines: Vec::new(),
    };
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("C| ") {
            transcript.lines.push(Line::Client(unescape(rest)));
            continue;
        }
        let wrong = format!("{name}: not a transcript line: {line}");
        let (head, rest) = line.split_once(':').expect(&wrong);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let (head, times) = match head.split_once('*') {
            Some((head, times)) => (head, times.parse().expect("a count")),
            None => (head, 1),
        };
        let line = match head {
            "config" => {
                let (key, value) = rest.split_once('=').expect(&wrong);
                transcript.config.push((key.trim().to_owned(), value.trim().to_owned()));
                continue;
            }
            "answer" => {
                let (stage, reply) = rest.split_once(' ').expect(&wrong);
                transcript.answers.push((stage.to_owned(), reply.to_owned()));
                continue;
            }
            "dns" => {
                let mut words = rest.splitn(3, ' ');
                let mut word = || words.next().expect(&wrong).to_owned();
                transcript.records.push(Record { name: word(), kind: word(), data: word() });
                continue;
            }
            "timing" => {
                transcript.whole_only = rest == "whole";
                continue;
            }
            "C" => Line::Client([unescape(rest), b"\r\n".to_vec()].concat()),
            "S" => Line::Server(rest.to_owned()),
            "M" => Line::Message(unescape(rest)),
            "L" => Line::Log(rest.to_owned()),
            "P" => Line::Pause,
            "E" => Line::Close,
            _ => panic!("{wrong}"),
        };
        transcript.lines.extend(std::iter::repeat_n(line, times));
    }
    transcript
}

/// Undoes the escapes of a transcript.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (byte, taken) = match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'\\')) => (b'\\', 2),
            (b'\\', Some(b'x')) => {
                (u8::from_str_radix(&text[at + 2..at + 4], 16).expect("two hex digits"), 4)
            }
            (b'\\', other) => panic!("unknown escape {other:?} in {text}"),
            (byte, _) => (byte, 1),
        };
        out.push(byte);
        at += taken;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_flight_are_one_piece_and_what_comes_before_it_is_expected() {
        let transcript =
            parse("t", "config: a = b c\nS: 220 x\nC: A\\x00\nC| B\\r\nS*2: 250 y\nM: z\nC: QUIT\nE:\n");
        assert_eq!(transcript.config, [("a".to_owned(), "b c".to_owned())]);
        let exchanges = transcript.exchanges();
        assert_eq!(exchanges.len(), 3);
        assert_eq!(exchanges[0].expected, [Line::Server("220 x".into())]);
        assert_eq!(exchanges[0].flight, b"A\0\r\nB\r");
        assert_eq!(exchanges[1].expected.len(), 3);
        assert_eq!(exchanges[2], Exchange { expected: vec![Line::Close], flight: Vec::new() });
    }
}
