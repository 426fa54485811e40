//! Transcript files: reading and playing. Their form is described in `tests/transcripts/README.md`.

use std::path::{Path, PathBuf};

use ringpost_core::reply::Reply;

use crate::server::Server;

/// One line of a transcript that is acted on or expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Client(Vec<u8>),
    Server(String),
    Pause,
    Message(Vec<u8>),
    Log(String),
    Close,
}

pub struct Transcript {
    pub name: String,
    pub config: Vec<(String, String)>,
    pub answers: Vec<(String, Reply)>,
    pub whole_only: bool,
    pub lines: Vec<Line>,
}

pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts")
}

/// Undoes the escapes of a transcript.
pub fn unescape(text: &str) -> Vec<u8> {
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

pub fn parse(name: &str, text: &str) -> Transcript {
    let mut transcript = Transcript {
        name: name.to_owned(),
        config: Vec::new(),
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
        let (head, rest) =
            line.split_once(':').unwrap_or_else(|| panic!("{name}: not a transcript line: {line}"));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let (head, times) = match head.split_once('*') {
            Some((head, times)) => (head, times.parse().expect("a count")),
            None => (head, 1),
        };
        let line = match head {
            "config" => {
                let (key, value) =
                    rest.split_once('=').unwrap_or_else(|| panic!("{name}: not a setting: {rest}"));
                transcript.config.push((key.trim().to_owned(), value.trim().to_owned()));
                continue;
            }
            "answer" => {
                let (stage, reply) =
                    rest.split_once(' ').unwrap_or_else(|| panic!("{name}: not a setting: {rest}"));
                transcript.answers.push((stage.to_owned(), Reply::parse(reply).expect("a reply")));
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
            _ => panic!("{name}: not a transcript line: {head}"),
        };
        transcript.lines.extend(std::iter::repeat_n(line, times));
    }
    transcript
}

/// How a flight is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Whole,
    EveryByte,
}

/// Plays a transcript; returns where it differs.
pub fn play(transcript: &Transcript, cut: Cut) -> Result<(), String> {
    let has = |wanted: fn(&Line) -> bool| transcript.lines.iter().any(wanted);
    let (pauses, messages, logs) = (
        has(|line| *line == Line::Pause),
        has(|line| matches!(line, Line::Message(_))),
        has(|line| matches!(line, Line::Log(_))),
    );
    let shown = |line: &Line| match line {
        Line::Pause => pauses,
        Line::Message(_) => messages,
        Line::Log(_) => logs,
        _ => true,
    };
    let mut server = Server::new(&transcript.config, &transcript.answers);
    let mut lines = transcript.lines.iter().peekable();
    let mut flight_number = 0;
    loop {
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| !matches!(line, Line::Client(_))) {
            expected.push(line.clone());
        }
        let seen: Vec<Line> = server.take_seen().into_iter().filter(shown).collect();
        // Kinds of line are compared in their own order: a log line may come before or after a reply.
        for kind in [0, 1, 2] {
            let pick = |lines: &[Line]| -> Vec<Line> {
                let of_kind = |line: &&Line| match line {
                    Line::Log(_) => kind == 1,
                    Line::Message(_) => kind == 2,
                    _ => kind == 0,
                };
                lines.iter().filter(of_kind).cloned().collect()
            };
            let (want, got) = (pick(&expected), pick(&seen));
            if want != got {
                return Err(format!(
                    "{} ({cut:?}), after flight {flight_number}:\n want {want:#?}\n got {got:#?}",
                    transcript.name
                ));
            }
        }
        let mut flight = Vec::new();
        while let Some(Line::Client(bytes)) = lines.next_if(|line| matches!(line, Line::Client(_))) {
            flight.extend_from_slice(bytes);
        }
        if flight.is_empty() {
            return Ok(());
        }
        flight_number += 1;
        match cut {
            Cut::Whole => server.feed(&flight),
            Cut::EveryByte => flight.chunks(1).for_each(|byte| server.feed(byte)),
        }
    }
}
