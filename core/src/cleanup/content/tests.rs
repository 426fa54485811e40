use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::cleanup::mapping::{CanonicalMaps, Uses};
use crate::content::is_wire_form;
use crate::envelope::BodyKind;
use crate::lookup::{Found, TableId, at_once};
use crate::maps::MapTable;
use crate::rewrite::RewriteSettings;

const HEADERS: u32 = 0;
const MIME: u32 = 1;
const NESTED: u32 = 2;
const BODY: u32 = 3;
const CANONICAL: u32 = 4;

/// Tables that look for words in keys; a key of one word in brackets is asked for exactly.
struct Words(Vec<(u32, &'static str, &'static str)>);

impl Tables for Words {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        let found = self.0.iter().find(|(own, word, _)| *own == table.0 && key.contains(word));
        match found {
            Some((_, _, "trouble")) => {
                Err(crate::lookup::LookupTrouble { table: "test:words".into(), reason: "is gone".into() })
            }
            found => Ok(found.map(|(_, _, value)| (*value).into())),
        }
    }
}

struct World {
    content: ContentSettings,
    mapping: MappingSettings,
    tables: Words,
    local: bool,
    context: Option<Context>,
    prepend: Vec<Box<str>>,
}

struct Got {
    /// Without our trace header.
    message: String,
    notes: String,
    cleaned: Cleaned,
}

fn world(entries: &[(u32, &'static str, &'static str)]) -> World {
    let maps = |id| match entries.iter().any(|(own, ..)| *own == id) {
        true => Maps::of([MapTable { id: TableId(id), is_pattern: true }]),
        false => Maps::default(),
    };
    let uses = Uses::parse(["header_sender", "header_recipient"]).expect("they are words");
    World {
        content: ContentSettings {
            header_checks: maps(HEADERS),
            mime_header_checks: maps(MIME),
            nested_header_checks: maps(NESTED),
            body_checks: maps(BODY),
            body_checks_bytes_max: 100,
            mime: MimeSettings { nesting_max: 10, boundary_bytes_max: 200, ..MimeSettings::default() },
            header_tokens_max: 1000,
            line_bytes_max: 40,
            ..ContentSettings::default()
        },
        mapping: MappingSettings {
            canonical: CanonicalMaps { maps: maps(CANONICAL), uses },
            ..MappingSettings::default()
        },
        tables: Words(entries.to_vec()),
        local: false,
        context: None,
        prepend: Vec::new(),
    }
}

impl World {
    /// Cleans a message that arrives in pieces of these sizes.
    fn clean_in(&self, message: &str, sizes: &[usize]) -> Got {
        let head = CleanupSettings { header_bytes_max: 1000, ..CleanupSettings::new("mx.example") };
        let resolve = ResolveSettings {
            rewrite: RewriteSettings {
                append_at_myorigin: true,
                my_origin: "here.example".into(),
                remote_header_domain: "remote.example".into(),
                ..RewriteSettings::default()
            },
            ..ResolveSettings::default()
        };
        let facts = Facts {
            helo: Some("c"),
            client_name: None,
            client_address: IpAddr::from([192, 0, 2, 1]),
            protocol: "SMTP",
            smtputf8: false,
            body: BodyKind::SevenBit,
            queue_id: "QID",
            date: "DATE",
            sender: "s@x",
            recipient: None,
            message_id: "QID@mx.example",
            add_missing_headers: self.local,
        };
        let inspection = Inspection {
            head: &head,
            content: &self.content,
            mapping: &self.mapping,
            resolve: &resolve,
            tables: &self.tables,
            facts: &facts,
            origin: Origin {
                client: "unknown[192.0.2.1]",
                sender: "s@x",
                recipient: "r@y",
                protocol: "SMTP",
                helo: "c",
            },
            prepend: &self.prepend,
            context: self.context,
            by_tables: true,
            checks: true,
        };
        let mut cleaner = Cleaner::new(true);
        let (mut out, mut waiting, mut rest) = (Vec::new(), Vec::new(), message.as_bytes());
        let mut sizes = sizes.iter().copied().chain(std::iter::repeat(usize::MAX));
        loop {
            let (now, later) = rest.split_at(rest.len().min(sizes.next().unwrap_or(usize::MAX)));
            rest = later;
            waiting.extend_from_slice(now);
            let fed = at_once(cleaner.feed(&inspection, &waiting, rest.is_empty())).expect("no table waits");
            for piece in fed.pieces {
                match piece {
                    Piece::Keep(range) => out.extend_from_slice(&waiting[range]),
                    Piece::Put(bytes) => out.extend_from_slice(&bytes),
                }
            }
            waiting.drain(..fed.consumed);
            if rest.is_empty() {
                break;
            }
        }
        assert!(waiting.is_empty());
        assert!(is_wire_form(&out), "{}", String::from_utf8_lossy(&out));
        let notes: Vec<String> = cleaner.take_notes().into_iter().map(|note| note.text).collect();
        let cleaned = cleaner.finish(&head);
        assert_eq!(out.len() as i64, message.len() as i64 + cleaned.grown_bytes);
        let out = String::from_utf8_lossy(&out).into_owned();
        let trace =
            "Received: from c (unknown [192.0.2.1])\r\n\tby mx.example (Postfix) with SMTP id QID; DATE\r\n";
        Got { message: out.replacen(trace, "", 1), notes: notes.join("\n"), cleaned }
    }

    fn clean(&self, message: &str) -> Got {
        let whole = self.clean_in(message, &[]);
        for size in [1, 2, 7, 41] {
            let cut = self.clean_in(message, &vec![size; message.len() / size + 1]);
            assert_eq!(cut.message, whole.message, "in pieces of {size}");
            assert_eq!(cut.notes, whole.notes, "in pieces of {size}");
        }
        whole
    }

    fn check(&self, message: &str, expect: &str) -> Got {
        let got = self.clean(message);
        assert_eq!(got.message, expect);
        got
    }
}

fn refusal(got: &Got) -> &str {
    got.cleaned.refusal.as_ref().map_or("", Reply::line)
}

#[test]
fn headers_are_kept_dropped_replaced_and_preceded() {
    let world = world(&[
        (HEADERS, "X-Drop", "IGNORE"),
        (HEADERS, "X-Strip", "STRIP a word"),
        (HEADERS, "X-Old", "REPLACE X-New: .b"),
        (HEADERS, "Subject", "PREPEND X-Seen: yes"),
        (HEADERS, "X-Bad", "REPLACE no header"),
        (HEADERS, "X-Folded: a\n b", "INFO folded"),
    ]);
    let got = world.check(
        "X-Drop: a\r\n b\r\nX-Strip: c\r\nX-Old: d\r\nSubject: e\r\nX-Bad: f\r\nX-Folded: a\r\n b\r\n\r\nX-Drop: g\r\n",
        "X-New: .b\r\nX-Seen: yes\r\nSubject: e\r\nX-Bad: f\r\nX-Folded: a\r\n b\r\n\r\nX-Drop: g\r\n",
    );
    assert!(got.notes.contains(
        "strip: header X-Strip: c from unknown[192.0.2.1]; from=<s@x> to=<r@y> proto=SMTP helo=<c>: a word"
    ));
    assert!(got.notes.contains("bad REPLACE header text \"no header\" in header_checks map"));
    assert!(got.notes.contains("info: header X-Folded: a\n b from"));
}

#[test]
fn the_message_is_refused_held_discarded_filtered_redirected_and_copied() {
    let act = |value: &'static str| {
        let world = world(&[(HEADERS, "Subject", value)]);
        world.clean("Subject: x\r\n\r\n")
    };
    assert_eq!(refusal(&act("REJECT")), "550 5.7.1 message content rejected");
    assert_eq!(refusal(&act("reject 5.7.2 Go away")), "550 5.7.2 Go away");
    assert_eq!(refusal(&act("REJECT 4.7.1 Later")), "451 4.7.1 Later");
    assert!(act("REJECT No").notes.ends_with("helo=<c>: 5.7.1 No"));
    assert!(act("HOLD").cleaned.actions.hold && act("DISCARD").cleaned.actions.discard);
    assert_eq!(act("FILTER a:b").cleaned.actions.filter.as_deref(), Some("a:b"));
    assert_eq!(act("FILTER a").cleaned.actions.filter, None);
    assert_eq!(act("REDIRECT a@b").cleaned.actions.redirect.as_deref(), Some("a@b"));
    assert_eq!(act("BCC a@b").cleaned.actions.bcc, ["a@b".into()]);
    assert!(act("DUNNO").notes.is_empty());
    assert_eq!(act("NONSENSE x").notes, "unknown command in header_checks map: NONSENSE x");
    assert_eq!(refusal(&act("trouble")), "451 4.3.0 Error: queue file write error");
}

#[test]
fn the_last_of_two_filters_counts_and_pass_ends_all_checks() {
    let world = world(&[
        (HEADERS, "X-A", "FILTER a:1"),
        (HEADERS, "X-B", "FILTER b:2"),
        (HEADERS, "X-Pass", "PASS"),
        (BODY, "bad", "REJECT"),
    ]);
    let got = world.clean("X-A: 1\r\nX-B: 1\r\nX-Pass: 1\r\nX-A: 1\r\n\r\nbad\r\n");
    assert_eq!(got.cleaned.actions.filter.as_deref(), Some("b:2"));
    assert_eq!(refusal(&got), "");
}

#[test]
fn lines_of_the_body_are_checked_up_to_the_limit_of_each_part() {
    let world =
        world(&[(BODY, "drop", "IGNORE"), (BODY, "old", "REPLACE .new"), (BODY, "mark", "PREPEND .")]);
    world.check("\r\ndrop\r\nold\r\n..old\r\nmark\r\n", "\r\n..new\r\n..new\r\n..\r\nmark\r\n");
    let far = format!("\r\n{}drop\r\n", "0123456789\r\n".repeat(10));
    world.check(&far, &far);
    let near = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n".to_owned()
        + &"0123456789\r\n".repeat(20)
        + "--b\r\n\r\n";
    world.check(&format!("{near}drop\r\nx\r\n"), &format!("{near}x\r\n"));
}

#[test]
fn headers_of_parts_and_of_attached_messages_have_tables_of_their_own() {
    let world = world(&[
        (HEADERS, "X-Any", "REPLACE X-Own: 1"),
        (MIME, "X-Any", "REPLACE X-Part: 1"),
        (MIME, "Content-Description", "IGNORE"),
        (NESTED, "X-Any", "REPLACE X-Nested: 1"),
    ]);
    let text = |own: &str, part: &str, nested: &str, described: &str| {
        format!(
            "{own}: 1\r\n{described}Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n{part}: 1\r\n\
             Content-Type: message/rfc822\r\n\r\n{nested}: 1\r\n\r\nX-Any: 1\r\n--b--\r\nX-Any: 1\r\n"
        )
    };
    world.check(
        &text("X-Any", "X-Any", "X-Any", "Content-Description: x\r\n"),
        &text("X-Own", "X-Part", "X-Nested", ""),
    );
}

#[test]
fn our_own_headers_are_checked_too() {
    let mut world = world(&[(HEADERS, "by mx.example", "IGNORE"), (HEADERS, "X-First", "REPLACE X-Else: 1")]);
    world.prepend = vec!["X-First: 1".into(), "X-Second: 1".into()];
    world.check("A: b\r\n\r\n", "X-Else: 1\r\nX-Second: 1\r\nA: b\r\n\r\n");
}

#[test]
fn addresses_in_headers_are_rewritten_by_context() {
    let mut world = world(&[(CANONICAL, "old@x.example", "new@y.example")]);
    let message =
        "From: Me <me>\r\nTo: old@x.example,\r\n\tother@x.example (Other), third\r\nX-To: me\r\n\r\n";
    world.check(message, message);
    world.context = Some(Context::Local);
    world.check(
        message,
        "From: Me <me@here.example>\r\nTo: new@y.example, other@x.example (Other), third@here.example\r\nX-To: \
         me\r\n\r\n",
    );
    world.context = Some(Context::Remote);
    world.check("Sender : me\r\n\r\n", "Sender: me@remote.example\r\n\r\n");
}

#[test]
fn missing_headers_are_added_where_the_headers_end() {
    let mut world = world(&[(BODY, "x", "DUNNO")]);
    world.local = true;
    world.content.undisclosed_recipients_header = "To: undisclosed-recipients:;".into();
    let added = "Message-Id: <QID@mx.example>\r\nDate: DATE\r\nFrom: s@x\r\nTo: undisclosed-recipients:;\r\n";
    let got = world.check("A: b\r\n\r\nbody\r\n", &format!("A: b\r\n{added}\r\nbody\r\n"));
    assert_eq!(got.cleaned.message_id, "<QID@mx.example>");
    world.check("text\r\n", &format!("{added}\r\ntext\r\n"));
    world.check("", added);
    world.check(
        "Bcc: a@b\r\nCc: x\r\nResent-From: y\r\n\r\n",
        "Cc: x\r\nResent-From: y\r\nResent-Message-Id: <QID@mx.example>\r\nResent-Date: DATE\r\n\r\n",
    );
}

#[test]
fn long_headers_are_cut_and_long_lines_checked_in_parts() {
    let world = world(&[(BODY, "needle", "REPLACE pin")]);
    let long = format!("X: {}\r\nY: z\r\n\r\n", "0123456789".repeat(200));
    let got = world.clean(&long);
    assert!(got.message.len() < 1060 && got.message.ends_with("\r\nY: z\r\n\r\n"), "{}", got.message.len());
    world.check(
        &format!("\r\n{}needle and more text behind it\r\n", "a".repeat(40)),
        &format!("\r\n{}pin\r\n", "a".repeat(40)),
    );
}

#[test]
fn characters_are_stripped_or_refused() {
    let mut world = world(&[]);
    world.content.strip_characters = CharacterSet::parse("\\0!");
    world.check("A!: b\0\r\n\r\n!.x\r\ny!\r\n", "A: b\r\n\r\n..x\r\ny\r\n");
    world.content.reject_characters = CharacterSet::parse("\\0");
    let got = world.clean("A: b\r\n\r\nx\0\r\n");
    assert_eq!(refusal(&got), "550 5.7.1 disallowed character");
}

#[test]
fn loops_are_refused_and_strictness_is_told() {
    let mut world = world(&[]);
    assert_eq!(refusal(&world.clean(&"Received: x\r\n".repeat(49))), "554 5.4.0 Error: too many hops");
    world.content.mime.strict_headers = true;
    let got = world.clean("Subject: \u{e9}\r\n\r\n");
    assert_eq!(refusal(&got), "550 5.6.0 improper use of 8-bit data in message header");
    assert!(
        got.notes.starts_with("reject: mime-error improper use of 8-bit data in message header: Subject")
    );
}

proptest! {
    #[test]
    fn where_nothing_matches_nothing_changes(lines in proptest::collection::vec("[ -~]{0,60}", 0..12), headers: bool) {
        let world = world(&[(HEADERS, "\u{1}", "REJECT"), (BODY, "\u{1}", "REJECT")]);
        let mut message = if headers { "A: b\r\n\r\n".to_owned() } else { "A: b\r\n\tc\r\n\r\n".to_owned() };
        for line in lines {
            if line.starts_with('.') {
                message.push('.');
            }
            message.push_str(&line);
            message.push_str("\r\n");
        }
        world.check(&message, &message);
    }

    #[test]
    fn any_cut_gives_the_same(text in "(A: b|Content-Type: multipart/x; boundary=b|--b|--b--| c|\\.\\.|drop|Content-Type: message/rfc822|\r\n){0,14}", cut in 1_usize..30) {
        let world = world(&[(HEADERS, "b", "PREPEND X: y"), (BODY, "drop", "IGNORE"), (MIME, "A", "IGNORE")]);
        let message = text.replace("A: b", "\r\nA: b\r\n").replace("--b", "\r\n--b\r\n").replace("drop", "\r\ndrop\r\n") + "\r\n";
        let message: String = message.split("\r\n").filter(|line| *line != ".").map(|line| format!("{line}\r\n")).collect();
        if is_wire_form(message.as_bytes()) {
            let whole = world.clean_in(&message, &[]);
            let parts = world.clean_in(&message, &vec![cut; message.len() / cut + 1]);
            prop_assert_eq!(whole.message, parts.message);
        }
    }
}

#[test]
fn parts_and_attached_messages_may_say_that_they_are_eight_bit() {
    let eight_bit = |message: &str| {
        let whole = world(&[]).clean_in(message, &[]).cleaned.eight_bit;
        for size in [1, 7, 30] {
            let cut: Vec<usize> = std::iter::repeat_n(size, message.len() / size).collect();
            assert_eq!(world(&[]).clean_in(message, &cut).cleaned.eight_bit, whole, "{size}: {message}");
        }
        whole
    };
    let parts = "Content-Type: multipart/mixed; boundary=x\r\n\r\n-- \r\nlong text, longer than one part of a line\r\n";
    let says = "Content-Transfer-Encoding: 8bit\r\n\r\n";
    assert!(eight_bit(says));
    assert!(eight_bit(&format!("{parts}--x\r\n\r\ntext\r\n--x\r\n{says}text\r\n--x--\r\n")));
    assert!(eight_bit(&format!("{parts}.--x\r\n{says}")), "the line is dot-stuffed");
    assert!(eight_bit(&format!("Content-Type: message/rfc822\r\n\r\n{says}")));
    assert!(!eight_bit(&format!("{parts}{says}")), "text of no part");
    assert!(!eight_bit(&format!("{parts}--x\r\n\r\n{says}")), "text of a part");
    assert!(!eight_bit(&format!("Subject: x\r\n\r\n{says}")));
    assert!(!eight_bit(&format!("{parts}--x--\r\n{says}")), "behind the last part");
}
