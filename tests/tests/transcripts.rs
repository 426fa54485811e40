//! Every dialogue of `tests/transcripts` against the running relay, over TCP: whole flights, then every byte by
//! itself. What the dialogues claim of accepted content is looked at where it arrives, behind the relay.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use ringpost_tests::client::connect_from;
use ringpost_tests::dns::{DnsAnswer, DnsServer, Kind, Zone};
use ringpost_tests::transcript::{Exchange, Line, Transcript, all};
use ringpost_tests::{Engine, EngineSetup, Sink, address, wait};

/// What the transcripts' README calls the base configuration, as far as it is not [`EngineSetup`]'s own.
const BASE: &[(&str, &str)] = &[
    ("myhostname", "mx.example"),
    ("mail_name", "Postfix"),
    ("relay_domains", "relay.example"),
    ("smtpd_forbid_bare_newline", "normalize"),
    ("smtpd_forbid_bare_newline_exclusions", ""),
    ("smtpd_error_sleep_time", "0"),
    ("smtpd_client_port_logging", "yes"),
    // So that content comes out as it went in, with nothing but the trace header before it.
    ("local_header_rewrite_clients", ""),
    ("smtp_line_length_limit", "0"),
];

/// The most that a delayed reply may be early, for clocks that count in steps.
const CLOCK_STEP: Duration = Duration::from_millis(50);

/// The ports that dialogues come from: below those that the system gives to other connections.
const CLIENT_PORTS: std::ops::Range<u16> = 10_000..30_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Whole,
    EveryByte,
}

/// One relay with an smtpd line for each distinct configuration, its settings behind it as `-o`.
struct Stage {
    engine: Engine,
    sink: Sink,
    _dns: DnsServer,
    ports: BTreeMap<Vec<(String, String)>, u16>,
    /// The port that the next dialogue comes from.
    next_client_port: Cell<u16>,
}

impl Stage {
    fn set(name: &str, transcripts: &[Transcript]) -> Stage {
        let mut ports = BTreeMap::new();
        let mut setup = EngineSetup::new(name);
        let host = *setup.address().ip();
        let mut master_cf = String::new();
        for transcript in transcripts {
            let next = address::RELAY_PORT + ports.len() as u16;
            // The next port up is the sink's.
            assert!(next < address::SINK_PORT, "more distinct configurations than ports");
            let port = *ports.entry(transcript.config.clone()).or_insert(next);
            if port != next {
                continue;
            }
            writeln!(master_cf, "{host}:{port} inet n - n - - smtpd")
                .expect("a string takes what it is given");
            for (parameter, value) in &transcript.config {
                writeln!(master_cf, "  -o {{ {parameter} = {value} }}").expect("as above");
            }
        }
        master_cf.push_str("smtp unix - - n - - smtp\nrelay unix - - n - - smtp\n");
        for (parameter, value) in BASE {
            setup = setup.parameter(parameter, value);
        }
        let dns = DnsServer::start(zone(transcripts));
        let setup = setup
            .parameter("ringpost_dns_servers", &dns.address().to_string())
            // Where mail goes is the sink's address; the records are for restrictions only.
            .master_cf(&master_cf);
        // Where another test's stage begins is somewhere else.
        let offset = (std::process::id() as u16).wrapping_mul(7919) % (CLIENT_PORTS.end - CLIENT_PORTS.start);
        let next_client_port = Cell::new(CLIENT_PORTS.start + offset);
        let sink = Sink::willing(setup.sink_address());
        Stage { _dns: dns, sink, engine: setup.start(), ports, next_client_port }
    }

    /// A connection from a port that no earlier dialogue had: the log knows its lines by it. The system itself gives a port
    /// again as soon as it is wanted for another of the relay's.
    fn connect(&self, address: SocketAddrV4) -> TcpStream {
        for _ in CLIENT_PORTS {
            let port = self.next_client_port.get();
            self.next_client_port.set(if port + 1 < CLIENT_PORTS.end {
                port + 1
            } else {
                CLIENT_PORTS.start
            });
            match connect_from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), address) {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                connected => return connected.expect("the relay listens"),
            }
        }
        panic!("somebody has all ports of {CLIENT_PORTS:?}");
    }

    fn play(&self, transcript: &Transcript, cut: Cut) -> Result<(), String> {
        let host: Ipv4Addr = *self.engine.setup().address().ip();
        let port = self.ports[&transcript.config];
        let mut dialogue = Dialogue::over(self.connect(SocketAddrV4::new(host, port)));
        let client = dialogue.client();
        let mut asked_at = Instant::now();
        for (number, exchange) in transcript.exchanges().iter().enumerate() {
            let wrong =
                |what: String| format!("{} ({cut:?}), after flight {number}: {what}", transcript.name);
            self.compare(&mut dialogue, exchange, asked_at).map_err(wrong)?;
            asked_at = Instant::now();
            dialogue.send(&exchange.flight, cut);
        }
        dialogue.end().map_err(|what| format!("{} ({cut:?}), at its end: {what}", transcript.name))?;
        let wanted: Vec<&str> = transcript
            .lines
            .iter()
            .filter_map(|line| match line {
                Line::Log(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let logged = self.session_log(client);
        if wanted != logged {
            return Err(format!(
                "{} ({cut:?}): wanted the log {wanted:#?}, got {logged:#?}",
                transcript.name
            ));
        }
        Ok(())
    }

    fn compare(&self, dialogue: &mut Dialogue, exchange: &Exchange, asked_at: Instant) -> Result<(), String> {
        let mut queue_ids = Vec::new();
        let mut content = Vec::new();
        // Counted from what we did last, not from when we got to look: the relay's pauses go on while this thread waits
        // for a processor.
        let mut earliest = asked_at;
        for line in &exchange.expected {
            match line {
                Line::Server(wanted) => {
                    let got = dialogue.reply_line()?.replace(&client_text(dialogue.client()), "CLIENT");
                    let shown = match got.split_once("queued as ") {
                        Some((before, queue_id)) => {
                            queue_ids.push(queue_id.to_owned());
                            format!("{before}queued as QID")
                        }
                        None => got,
                    };
                    if &shown != wanted {
                        return Err(format!("wanted {wanted:?}, got {shown:?}"));
                    }
                    if Instant::now() + CLOCK_STEP < earliest {
                        return Err(format!("{wanted:?} came too early"));
                    }
                }
                // The files with such a line set smtpd_error_sleep_time to one second.
                Line::Pause => earliest += Duration::from_secs(1),
                Line::Message(text) => {
                    // The sink has undone the dot-stuffing.
                    content.extend_from_slice(text.strip_prefix(b".").unwrap_or(text));
                    content.extend_from_slice(b"\r\n");
                }
                Line::Close => dialogue.closed()?,
                Line::Log(_) | Line::Client(_) => {}
            }
        }
        if content.is_empty() {
            return Ok(());
        }
        let arrived: Vec<u8> = queue_ids.iter().flat_map(|queue_id| self.content_of(queue_id)).collect();
        let (arrived, content) = (String::from_utf8_lossy(&arrived), String::from_utf8_lossy(&content));
        match arrived == content {
            true => Ok(()),
            false => Err(format!("wanted the content {content:?}, got {arrived:?}")),
        }
    }

    /// What arrived behind the relay under this queue id, without the trace header.
    fn content_of(&self, queue_id: &str) -> Vec<u8> {
        let mark = format!(" id {queue_id}\r\n").into_bytes();
        let message = wait::until(&format!("{queue_id} arrives"), || {
            let messages = self.sink.messages();
            messages.into_iter().find(|message| message.content.windows(mark.len()).any(|part| part == mark))
        });
        let text = &message.content;
        let mut end = 0;
        // A header line goes on in the lines that begin with a space or a tab (RFC 5322 section 2.2.3).
        loop {
            let line = text[end..].iter().position(|&byte| byte == b'\n');
            end += line.expect("a trace header ends") + 1;
            if !matches!(text.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let rest = &text[end..];
        // Content that does not begin with a header line is parted from the trace header by an empty one.
        rest.strip_prefix(b"\r\n").unwrap_or(rest).to_vec()
    }

    /// What smtpd logged of the session of the client at `client`, without its beginning and end and without what
    /// every message gets.
    fn session_log(&self, client: SocketAddrV4) -> Vec<String> {
        // smtpd_client_port_logging is on: the port tells one session's lines from another's.
        let client = client_text(client);
        let end = self.engine.wait_for_log("the session's end", |line| {
            line.text.starts_with(&format!("disconnect from {client} "))
        });
        let usual = ["connect from", "disconnect from", "client="];
        let of_session = self.engine.log().into_iter().filter(|line| {
            line.process == "smtpd"
                && line.number == end.number
                && !usual.iter().any(|beginning| line.text.starts_with(beginning))
        });
        of_session.map(|line| line.text.replace(&client, "CLIENT")).collect()
    }
}

/// smtpd_client_port_logging is on.
fn client_text(client: SocketAddrV4) -> String {
    format!("localhost[{}]:{}", client.ip(), client.port())
}

/// What all the transcripts' DNS knows; they do not contradict each other.
fn zone(transcripts: &[Transcript]) -> Zone {
    let mut zone = Zone::default();
    for record in transcripts.iter().flat_map(|transcript| &transcript.records) {
        let data = &record.data;
        let words = || data.split(' ').map(str::to_owned).collect();
        let (kind, answer) = match record.kind.as_str() {
            "A" => {
                let addresses = data.split(' ').filter_map(|address| address.parse().ok());
                (Kind::A, DnsAnswer::Addresses(addresses.collect()))
            }
            "MX" => {
                let (preference, host) = data.split_once(' ').unwrap_or(("0", ""));
                (Kind::Mx, DnsAnswer::Exchangers(vec![(preference.parse().unwrap_or(0), host.to_owned())]))
            }
            "NS" => (Kind::Ns, DnsAnswer::Names(words())),
            "PTR" => (Kind::Ptr, DnsAnswer::Names(words())),
            "TXT" => (Kind::Txt, DnsAnswer::Texts(vec![data.clone()])),
            other => panic!("{other} is no record type of a transcript"),
        };
        let answer = if data == "SERVFAIL" { DnsAnswer::Failure } else { answer };
        zone = zone.answer(&record.name, kind, answer);
    }
    zone
}

struct Dialogue {
    reader: BufReader<TcpStream>,
}

impl Dialogue {
    fn over(stream: TcpStream) -> Dialogue {
        stream.set_nodelay(true).expect("a socket takes its options");
        stream.set_read_timeout(Some(wait::PATIENCE)).expect("as above");
        Dialogue { reader: BufReader::new(stream) }
    }

    fn client(&self) -> SocketAddrV4 {
        match self.reader.get_ref().local_addr() {
            Ok(SocketAddr::V4(address)) => address,
            other => panic!("a loopback connection has an address: {other:?}"),
        }
    }

    /// The relay may close before it has everything; what it said until then is what counts.
    fn send(&mut self, bytes: &[u8], cut: Cut) {
        let pieces = if cut == Cut::Whole { bytes.len().max(1) } else { 1 };
        for piece in bytes.chunks(pieces) {
            if self.reader.get_mut().write_all(piece).is_err() {
                return;
            }
        }
    }

    fn reply_line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).map_err(|error| format!("no reply: {error}"))?;
        let text = String::from_utf8_lossy(&line).into_owned();
        text.strip_suffix("\r\n").map(str::to_owned).ok_or(format!("not a reply line: {text:?}"))
    }

    fn closed(&mut self) -> Result<(), String> {
        let mut rest = Vec::new();
        match self.reader.read_until(b'\n', &mut rest) {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => Err(format!("it should have closed and says {:?}", String::from_utf8_lossy(&rest))),
            Err(error) => Err(format!("it should have closed: {error}")),
        }
    }

    /// Nothing more may come, whether the dialogue closed the connection or left it open.
    fn end(mut self) -> Result<(), String> {
        // An already closed connection has no half to close.
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Write);
        self.closed()
    }
}

fn play_all(name: &str, cut: Cut, wanted: impl Fn(&Transcript) -> bool) {
    // A relay cannot be told to fail at a stage; those dialogues are played in memory.
    let transcripts: Vec<Transcript> =
        all().into_iter().filter(|transcript| transcript.answers.is_empty() && wanted(transcript)).collect();
    let stage = Stage::set(name, &transcripts);
    let failures: Vec<String> =
        transcripts.iter().filter_map(|transcript| stage.play(transcript, cut).err()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} failed:\n{}",
        failures.len(),
        transcripts.len(),
        failures.join("\n")
    );
    stage.engine.stop();
}

#[test]
fn each_dialogue_goes_over_the_wire_as_written() {
    play_all("dialogues", Cut::Whole, |_| true);
}

#[test]
fn each_dialogue_goes_the_same_when_every_byte_is_sent_alone() {
    play_all("dialogues-by-byte", Cut::EveryByte, |transcript| {
        !transcript.whole_only && !transcript.has(|line| *line == Line::Pause)
    });
}
