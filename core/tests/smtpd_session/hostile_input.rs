//! Whatever a peer sends: no panic, constant memory, the same answers however the bytes are cut.

use std::net::IpAddr;
use std::rc::Rc;

use proptest::prelude::*;
use ringpost_core::address::{Address, PathRules};
use ringpost_core::anvil::{ClientCounts, ClientEvent, ClientLimits};
use ringpost_core::cleanup::{CleanupSettings, Facts, clean_head};
use ringpost_core::content::{BareNewline, ContentScanner, Framing, is_wire_form, wire_lines};
use ringpost_core::envelope::BodyKind;
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::{Answer, Client, Request, Session, SmtpdSettings};

use crate::server::Server;
use crate::transcript::Line;

/// Text made of the pieces that matter to a parser, and of any bytes.
fn wire_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r\n.\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b".".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"Received: x".to_vec()),
        Just(b"text".to_vec()),
        // More than a scanner looks at in one step.
        Just(b"lines of usual length, and enough of them\r\n".repeat(14)),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"EHLO c\r\n".to_vec()),
        Just(b"MAIL FROM:<a@x.example>\r\n".to_vec()),
        Just(b"RCPT TO:<b@relay.example>\r\n".to_vec()),
        Just(b"DATA\r\n".to_vec()),
        Just(b"BDAT 3\r\n".to_vec()),
        Just(b"BDAT 7 LAST\r\n".to_vec()),
        Just(b"BDAT 0\r\n".to_vec()),
        Just(b"RSET\r\n".to_vec()),
        Just(b".\r\n".to_vec()),
        Just(b"VRFY x\r\n".to_vec()),
        Just(b"ETRN relay.example\r\n".to_vec()),
        Just(b"ETRN x\r\n".to_vec()),
        Just(b"AUTH PLAIN AGEAYg==\r\n".to_vec()),
        Just(b"MAIL FROM:<a@x.example> XVERP=+=\r\n".to_vec()),
        Just(b"XCLIENT NAME=a.example ADDR=192.0.2.1\r\n".to_vec()),
        Just(b"XFORWARD NAME=[UNAVAILABLE] IDENT=x+2B\r\n".to_vec()),
        "[A-Z]{4} [ -~]{0,30}\r\n".prop_map(String::into_bytes),
        wire_bytes(),
    ];
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.concat())
}

fn scan_in_pieces(
    framing: Framing,
    policy: BareNewline,
    limit: u64,
    input: &[u8],
    piece: usize,
) -> (Vec<u8>, usize, bool, u64, bool, bool) {
    let mut scanner = ContentScanner::new(framing, policy, limit);
    let (mut out, mut consumed, mut ended) = (Vec::new(), 0, false);
    for part in input.chunks(piece) {
        let scanned = scanner.scan(part, &mut out);
        consumed += scanned.consumed;
        ended = scanned.ended;
        if ended {
            break;
        }
    }
    if framing == Framing::Counted {
        scanner.finish(&mut out);
    }
    (out, consumed, ended, scanner.size_bytes(), scanner.too_big(), scanner.bare_lf())
}

const POLICIES: [BareNewline; 3] = [BareNewline::Normalize, BareNewline::Reject, BareNewline::No];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn content_is_the_same_however_it_is_cut(
        input in wire_bytes(), piece in 1usize..9, policy in 0usize..3, counted: bool, limit in 0u64..60,
    ) {
        let framing = if counted { Framing::Counted } else { Framing::Dot };
        let whole = scan_in_pieces(framing, POLICIES[policy], limit, &input, usize::MAX);
        let cut = scan_in_pieces(framing, POLICIES[policy], limit, &input, piece);
        prop_assert_eq!(&whole, &cut);
        if limit > 0 {
            prop_assert!(whole.3 <= limit);
        }
    }

    #[test]
    fn whole_content_is_wire_form_and_its_size_is_that_of_its_lines(input in wire_bytes(), policy in 0usize..3) {
        for framing in [Framing::Dot, Framing::Counted] {
            let mut input = input.clone();
            if framing == Framing::Dot {
                input.extend_from_slice(b"\r\n.\r\n");
            }
            let (out, _, ended, size, ..) = scan_in_pieces(framing, POLICIES[policy], 0, &input, usize::MAX);
            prop_assert_eq!(ended, framing == Framing::Dot);
            prop_assert!(is_wire_form(&out), "{:?}", String::from_utf8_lossy(&out));
            prop_assert_eq!(wire_lines(&out).map(|line| line.len() as u64 + 2).sum::<u64>(), size);
        }
    }

    #[test]
    fn only_a_dot_between_crlfs_ends_content(input in wire_bytes()) {
        let (_, consumed, ended, ..) =
            scan_in_pieces(Framing::Dot, BareNewline::Normalize, 0, &input, usize::MAX);
        let standard = input
            .windows(5)
            .position(|five| five == b"\r\n.\r\n")
            .map(|at| at + 5)
            .into_iter()
            .chain(input.starts_with(b".\r\n").then_some(3))
            .min();
        prop_assert_eq!(ended.then_some(consumed), standard);
    }

    #[test]
    fn a_session_answers_the_same_however_its_input_is_cut(input in dialogue(), piece in 1usize..9) {
        // Whether something was pipelined too early depends on what arrives together.
        let config = [("smtpd_forbid_unauth_pipelining".to_owned(), "no".to_owned())];
        let run = |piece: usize| {
            let mut server = Server::new(&config, &[], &[]);
            input.chunks(piece).for_each(|part| server.feed(part));
            let mut seen = server.take_seen();
            seen.retain(|line| !matches!(line, Line::Log(text) if text.starts_with("improper")));
            (seen, server.session.disconnect_statistics(), server.messages)
        };
        prop_assert_eq!(run(usize::MAX), run(piece));
    }

    #[test]
    fn any_path_is_an_address_that_reads_back_as_itself_or_an_error(
        path in prop_oneof![any::<Vec<u8>>(), "<[a-c@\\[\\]\".\\\\:, é]{0,20}>".prop_map(String::into_bytes)],
        strict: bool,
    ) {
        if let Ok(address) = Address::parse_path(&path, PathRules { strict, allow_null: true }) {
            prop_assert!(!address.as_str().chars().any(char::is_control));
            let again = Address::parse_path(format!("<{address}>").as_bytes(), PathRules { strict: false, allow_null: true });
            prop_assert_eq!(again, Ok(address));
        }
    }

    #[test]
    fn cleanup_takes_any_content(input in wire_bytes(), local: bool, whole: bool) {
        let (head, ..) = scan_in_pieces(Framing::Counted, BareNewline::Normalize, 0, &input, usize::MAX);
        let sender = Address::null();
        let facts = Facts {
            helo: None, client_name: None, client_address: IpAddr::from([192, 0, 2, 1]), protocol: "SMTP",
            smtputf8: false,
            body: BodyKind::SevenBit, queue_id: "QID", date: "now", sender: sender.as_str(), recipient: None,
            message_id: "QID@mx.example", add_missing_headers: local,
        };
        if let Ok(Some(clean)) = clean_head(&CleanupSettings::new("mx.example"), &facts, &head, whole) {
            let assembled = clean.assemble(&head);
            prop_assert!(is_wire_form(&assembled));
            prop_assert_eq!(assembled.len() as i64, head.len() as i64 + clean.grown_bytes);
        }
    }
}

fn stranger(settings: SmtpdSettings) -> Session {
    let address = IpAddr::from([192, 0, 2, 1]);
    let client = Client::stranger(address, 1);
    Session::new(Rc::new(settings), client)
}

#[test]
fn a_client_beyond_its_limits_is_told_so_and_may_go_on() {
    let limits = ClientLimits { message_rate: 1, recipient_rate: 1, auth_rate: 1, ..ClientLimits::default() };
    let beyond = |event: ClientEvent| {
        let mut counts = ClientCounts::default();
        counts.rates.add(event);
        counts.rates.add(event);
        Answer::Exceeded(limits.exceeded(event, &counts).expect("two are beyond one"))
    };
    let mut session = stranger(SmtpdSettings::new("mx.example"));
    let (mut replies, mut content) = (Vec::new(), Vec::new());
    let mut give = |line: &[u8], answer: Answer<'_>| {
        session.step(line, &mut replies, &mut content);
        session.answer(answer, &mut replies);
        let log: Vec<String> = session.take_log().iter().map(ToString::to_string).collect();
        (String::from_utf8(std::mem::take(&mut replies)).expect("text"), log.join("|"))
    };
    let told = |reply: &str, log: &str| {
        let log = format!("warning: {log} limit exceeded: 2 from unknown[192.0.2.1] for service smtp");
        (format!("{reply} from 192.0.2.1\r\n"), log)
    };
    let mail = b"MAIL FROM:<a@x.example>\r\n";
    assert_eq!(
        give(mail, beyond(ClientEvent::Message)),
        told("450 4.7.1 Error: too much mail", "Message delivery request rate")
    );
    assert_eq!(give(mail, Answer::Accept), ("250 2.1.0 Ok\r\n".to_owned(), String::new()));
    let rcpt = b"RCPT TO:<b@relay.example>\r\n";
    assert_eq!(
        give(rcpt, beyond(ClientEvent::Recipient)),
        told("450 4.7.1 Error: too many recipients", "Recipient address rate")
    );
    assert_eq!(give(rcpt, Answer::Accept), ("250 2.1.5 Ok\r\n".to_owned(), String::new()));
    assert_eq!(
        give(b"AUTH PLAIN AGEAYg==\r\n", beyond(ClientEvent::Auth)),
        told("450 4.7.1 Error: too many AUTH commands", "AUTH command rate")
    );
    assert_eq!(session.recipients().len(), 1);
}

#[test]
fn a_gigabyte_without_a_line_end_costs_one_line() {
    let mut session = stranger(SmtpdSettings::new("mx.example"));
    let (mut replies, mut content) = (Vec::new(), Vec::new());
    let junk = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        let step = session.step(&junk, &mut replies, &mut content);
        assert_eq!((step.consumed, step.request), (junk.len(), Request::MoreInput));
    }
    assert!(replies.capacity() == 0 && content.capacity() == 0);
    session.step(b"\r\nNOOP\r\n", &mut replies, &mut content);
    assert_eq!(replies, b"500 5.5.2 Error: command too long\r\n250 2.0.0 Ok\r\n");
}

#[test]
fn content_beyond_the_limit_is_not_kept() {
    let settings = SmtpdSettings { message_size_limit: 1000, ..SmtpdSettings::new("mx.example") };
    for junk in [&b"x"[..], b"x\r\n", b"..\r\n", b"\n", b"\r", b".\r\r\n"] {
        let mut server_content = Vec::new();
        let mut scanner =
            ContentScanner::new(Framing::Dot, BareNewline::Normalize, settings.message_size_limit);
        for _ in 0..100 {
            scanner.scan(&junk.repeat(1000), &mut server_content);
        }
        assert!(scanner.too_big());
        assert!(server_content.len() <= 2000, "{} bytes", server_content.len());
    }
}

#[test]
fn a_flood_of_tiny_commands_asks_to_send_before_replies_pile_up() {
    let settings = SmtpdSettings {
        hard_error_limit: u32::MAX,
        soft_error_limit: u32::MAX,
        forbid_unauth_pipelining: false,
        ..SmtpdSettings::new("mx.example")
    };
    let mut session = stranger(settings);
    let (mut replies, mut content) = (Vec::new(), Vec::new());
    let flood = b"EHLO x\r\n".repeat(100_000);
    let mut input = &flood[..];
    while !input.is_empty() {
        let step = session.step(input, &mut replies, &mut content);
        input = &input[step.consumed..];
        assert!(replies.len() < 20_000);
        assert!(session.take_log().len() < 64);
        replies.clear();
    }
}

#[test]
fn timeouts_and_losses_are_said_with_the_last_command() {
    let say = |input: &[u8], end: fn(&mut Session, &mut Vec<u8>)| {
        let mut server = Server::new(&[], &[], &[]);
        server.feed(input);
        let mut replies = Vec::new();
        end(&mut server.session, &mut replies);
        let log: Vec<String> = server.session.take_log().iter().map(ToString::to_string).collect();
        let step = server.session.step(b"NOOP\r\n", &mut replies, &mut Vec::new());
        assert_eq!(step.request, Request::Close);
        (String::from_utf8(replies).expect("text"), log.join("|"), server.session.disconnect_statistics())
    };
    let transaction = b"EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@relay.example>\r\nDATA\r\n";
    let (replies, log, statistics) = say(b"", |session, replies| session.input_timeout(replies));
    assert_eq!(replies, "421 4.4.2 mx.example Error: timeout exceeded\r\n");
    assert_eq!(
        (log.as_str(), statistics.as_str()),
        ("timeout after CONNECT from localhost[127.0.0.1]", "commands=0/0")
    );
    let mut server = Server::new(&[], &[], &[]);
    for line in transaction.split_inclusive(|byte| *byte == b'\n') {
        server.feed(line);
    }
    server.feed(b"12345\r\n");
    server.session.lost();
    let log: Vec<String> = server.session.take_log().iter().map(ToString::to_string).collect();
    assert_eq!(log, ["lost connection after DATA (7 bytes) from localhost[127.0.0.1]"]);
    assert_eq!(server.session.disconnect_statistics(), "ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4");
    let (replies, log, statistics) = say(b"QUIT\r\n", |session, _| session.lost());
    assert_eq!((replies.as_str(), log.as_str(), statistics.as_str()), ("", "", "quit=1 commands=1"));
}

#[test]
fn a_refused_connection_and_a_stop_are_announced() {
    let mut session = stranger(SmtpdSettings::new("mx.example"));
    let mut replies = Vec::new();
    session.refuse_connection(
        &Reply::fixed("421 4.7.0 mx.example Error: too many connections from 192.0.2.1"),
        &mut replies,
    );
    assert_eq!(replies, b"421 4.7.0 mx.example Error: too many connections from 192.0.2.1\r\n");
    assert_eq!(session.step(b"EHLO x\r\n", &mut replies, &mut Vec::new()).request, Request::Close);

    let mut session = stranger(SmtpdSettings::new("mx.example"));
    replies.clear();
    assert!(session.is_idle());
    session.shut_down(&mut replies);
    assert_eq!(replies, b"421 4.3.2 mx.example Service shutting down\r\n");
    assert_eq!(session.step(b"", &mut replies, &mut Vec::new()).request, Request::Close);
}
