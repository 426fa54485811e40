use proptest::prelude::*;

use super::*;
use crate::content::is_wire_form;
use crate::lookup::{Found, LookupTrouble, TableId, at_once};
use crate::maps::MapTable;

const GENERIC: u32 = 0;
const HEADER: u32 = 1;
const MIME: u32 = 2;
const NESTED: u32 = 3;
const BODY: u32 = 4;

/// Tables of patterns look for words in keys; that of addresses wants whole keys.
struct Words(Vec<(u32, &'static str, &'static str)>);

impl Tables for Words {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        let has = |word: &str| if table.0 == GENERIC { key == word } else { key.contains(word) };
        match self.0.iter().find(|(own, word, _)| *own == table.0 && has(word)) {
            Some((_, _, "trouble")) => {
                Err(LookupTrouble { table: "test:words".into(), reason: "is gone".into() })
            }
            found => Ok(found.map(|(_, _, value)| (*value).into())),
        }
    }
}

fn settings(entries: &[(u32, &'static str, &'static str)]) -> OutgoingSettings {
    let maps = |id| match entries.iter().any(|(own, ..)| *own == id) {
        true => Maps::of([MapTable { id: TableId(id), is_pattern: id != GENERIC }]),
        false => Maps::default(),
    };
    OutgoingSettings {
        generic: maps(GENERIC),
        extends_generic: false,
        header_checks: maps(HEADER),
        mime_header_checks: maps(MIME),
        nested_header_checks: maps(NESTED),
        body_checks: maps(BODY),
        converts: true,
        mime: MimeSettings { nesting_max: 5, boundary_bytes_max: 100, ..MimeSettings::default() },
        header_bytes_max: 300,
        header_tokens_max: 1000,
        line_bytes_max: 60,
    }
}

struct Got {
    message: Vec<u8>,
    notes: String,
    result: Result<(), Unsent>,
}

impl Got {
    fn text(&self) -> String {
        assert_eq!(self.result, Ok(()));
        String::from_utf8_lossy(&self.message).replace("\r\n", "\n")
    }
}

/// Sends a message that comes in pieces of these sizes to a server with or without 8BITMIME.
fn send_in(
    entries: &[(u32, &'static str, &'static str)],
    to_seven_bit: bool,
    message: &[u8],
    sizes: &[usize],
) -> Got {
    let settings = settings(entries);
    let tables = Words(entries.to_vec());
    let resolve = ResolveSettings::default();
    let world = Outgoing { settings: &settings, resolve: &resolve, tables: &tables };
    let mut converter = Converter::new(&settings, to_seven_bit);
    let mut got = Got { message: Vec::new(), notes: String::new(), result: Ok(()) };
    let mut rest = message;
    let mut passes = false;
    for size in sizes.iter().copied().chain([usize::MAX]) {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        if passes {
            got.message.extend_from_slice(piece);
            continue;
        }
        let last = size == usize::MAX;
        let fed = converter.feed(&world, piece, last, &mut got.message);
        match at_once(fed).expect("the tables answer at once") {
            Ok(Fed::All) => {}
            Ok(Fed::PassesFrom(at)) => {
                got.message.extend_from_slice(&piece[at..]);
                passes = true;
            }
            Err(unsent) => {
                got.result = Err(unsent);
                break;
            }
        }
    }
    got.notes = converter.take_notes().into_iter().map(|note| note.text + "\n").collect();
    got
}

fn wired(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn send(entries: &[(u32, &'static str, &'static str)], to_seven_bit: bool, message: &str) -> Got {
    send_in(entries, to_seven_bit, &wired(message), &[])
}

#[test]
fn generic_addresses_stand_in_headers_of_addresses_only() {
    let entries = [(GENERIC, "joe@here.local", "joe@isp.example"), (GENERIC, "@other.local", "@isp.example")];
    let message = "From: Joe <joe@here.local> (at home)\nTo: a@x.example, sue@other.local\nSubject: joe@here.local\n\njoe@here.local\n";
    let expected = "From: Joe <joe@isp.example>(at home)\nTo: a@x.example, sue@isp.example\nSubject: joe@here.local\n\njoe@here.local\n";
    let got = send(&entries, false, message);
    assert_eq!(got.text(), expected);
    assert_eq!(got.notes, "");
}

#[test]
fn envelope_addresses_are_mapped_once() {
    let entries = [(GENERIC, "a@x", "b@x"), (GENERIC, "b@x", "c@x"), (GENERIC, "t@x", "trouble")];
    let settings = settings(&entries);
    let tables = Words(entries.to_vec());
    let world = Outgoing { settings: &settings, resolve: &ResolveSettings::default(), tables: &tables };
    let mut notes = Vec::new();
    let mut mapped = |address| at_once(generic_address(&world, address, &mut notes)).expect("at once");
    assert_eq!(mapped("a@x"), Ok(Some("b@x".to_owned())));
    assert_eq!(mapped("z@x"), Ok(None));
    assert_eq!(mapped(""), Ok(None));
    assert_eq!(mapped("t@x"), Err(Unsent::Table));
    assert!(!notes.is_empty(), "trouble is told of");
}

#[test]
fn checks_change_lines_and_are_told_of() {
    let entries = [
        (HEADER, "X-Secret", "IGNORE"),
        (HEADER, "Subject: old", "REPLACE Subject: new"),
        (HEADER, "To:", "PREPEND X-Before: yes"),
        (HEADER, "From:", "WARN seen"),
        (HEADER, "Cc:", "REJECT no"),
        (BODY, "price", "REPLACE ..."),
        (BODY, "gone", "STRIP why"),
    ];
    let message = "From: a\nX-Secret: 1\n 2\nSubject: old\nTo: b\nCc: c\n\nthe price\ngone\nrest\n";
    let got = send(&entries, false, message);
    let expected = "From: a\nSubject: new\nX-Before: yes\nTo: b\nCc: c\n\n....\nrest\n";
    assert_eq!(got.text(), expected);
    let told = "warning: header From: a: seen\nreplace: header Subject: old: Subject: new\n\
                prepend: header To: b: X-Before: yes\nunsupported command in smtp_header_checks map: REJECT no\n\
                replace: body the price: ...\nstrip: body gone: why\n";
    assert_eq!(got.notes, told);
}

#[test]
fn parts_and_attached_messages_have_tables_of_their_own() {
    let entries =
        [(MIME, "Content-Type", "PREPEND X-Part: 1"), (NESTED, "Subject", "REPLACE Subject: nested")];
    let message = "Subject: outer\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\nbody\n--b--\n";
    let expected = "Subject: outer\nX-Part: 1\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX-Part: 1\nContent-Type: message/rfc822\n\nSubject: nested\n\nbody\n--b--\n";
    assert_eq!(send(&entries, false, message).text(), expected);
}

#[test]
fn declared_eight_bit_content_is_encoded_for_servers_that_take_seven() {
    let message = "Subject: x\nContent-Transfer-Encoding: 8bit\nTo: y\n\ncaf\u{e9} =\n.dot\n";
    let expected = "Subject: x\nTo: y\nContent-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9 =3D\n..dot\n";
    assert_eq!(send(&[], true, &message.replace("\n.dot", "\n..dot")).text(), expected);
    assert_eq!(send(&[], false, message).text(), message);
    for declared in ["", "Content-Transfer-Encoding: base64\n", "Content-Transfer-Encoding: 7bit\n"] {
        let message = format!("Subject: x\n{declared}\ncaf\u{e9}\n");
        assert_eq!(send(&[], true, &message).text(), message);
    }
}

#[test]
fn parts_are_encoded_each_for_itself() {
    let message = "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npr\u{e9}\n--b\n\
                   Content-Transfer-Encoding: 8bit\n\n\u{e9}\n--b\n\n=\n--b\nContent-Type: message/rfc822\n\
                   Content-Transfer-Encoding: binary\n\nContent-Transfer-Encoding: 8bit\n\n\u{e9}\n--b--\nepi\u{e9}\n";
    let expected = "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\npr\u{e9}\n--b\n\
                    Content-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b\n\n=\n--b\nContent-Type: message/rfc822\n\
                    Content-Transfer-Encoding: 7bit\n\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b--\nepi\u{e9}\n";
    assert_eq!(send(&[], true, message).text(), expected);
}

#[test]
fn trouble_is_not_absence_and_deep_nesting_is_refused() {
    let got = send(&[(HEADER, "Subject", "trouble")], false, "Subject: x\n\nbody\n");
    assert_eq!(got.result, Err(Unsent::Table));
    assert!(got.notes.contains("smtp_header_checks lookup error"));
    let level = |n: u32| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n");
    let deep: String = (0..9).map(level).collect();
    let got = send(&[], true, &deep);
    assert_eq!(got.result, Err(Unsent::Mime("MIME nesting exceeds safety limit")));
}

#[test]
fn a_header_beyond_the_limit_is_sent_whole() {
    let lines: String = (0..40).map(|n| format!("\n line {n} of a long one")).collect();
    let message = format!("Subject: long{lines}\nTo: x\n\nbody\n");
    assert_eq!(send(&[(HEADER, "nowhere", "IGNORE")], false, &message).text(), message);
}

proptest! {
    /// However content is cut into pieces, the same is sent, and it is in wire form.
    #[test]
    fn pieces_do_not_matter(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("A: b".to_owned()), Just("Content-Type: multipart/mixed; boundary=x".to_owned()),
                Just("Content-Transfer-Encoding: 8bit".to_owned()), Just(String::new()), Just("--x".to_owned()),
                Just(" folded".to_owned()), Just("..stuffed \u{e9}".to_owned()), Just("--x--".to_owned()),
                "[a-z\u{e9}= ]{0,150}",
            ], 0..14),
        sizes in proptest::collection::vec(0usize..40, 0..12),
    ) {
        let message = wired(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        let entries = [(BODY, "abc", "REPLACE .abc"), (HEADER, "b", "PREPEND C: d")];
        let whole = send_in(&entries, true, &message, &[]);
        let cut = send_in(&entries, true, &message, &sizes);
        prop_assert_eq!(&whole.message, &cut.message);
        prop_assert_eq!(whole.result, cut.result);
        prop_assert!(whole.result.is_err() || is_wire_form(&whole.message));
    }

    /// What nothing is configured for leaves byte for byte.
    #[test]
    fn nothing_else_changes(text in "(A: [a-z]{0,20}\n( [a-z]{1,9}\n)?){0,4}\n([a-z\u{e9}]{0,90}\n){0,6}") {
        let message = wired(&text);
        let got = send_in(&[(HEADER, "nowhere", "IGNORE"), (BODY, "nowhere", "IGNORE")], true, &message, &[7, 30]);
        prop_assert_eq!(got.message, message);
    }
}
