//! A directory of a few entries on loopback, and servers that are none.

use super::ber::{ENUMERATED, INTEGER, OCTETS, Reader, SEQUENCE, SET, put, put_all, put_number};
use super::*;
use crate::remote::scratch::{Fake, Guest, Scratch, hear, say, say_without_end, wait_for_end};
use ringpost_core::lookup::TableType;

fn table(server: &Fake, more: &str) -> Box<dyn Backend> {
    let content = format!(
        "server_host = ldap://127.0.0.1:{}\nsearch_base = dc=%2,dc=%1\nquery_filter = (mail=%s)\n\
         bind_dn = cn=mail\nbind_pw = hunter2\ntimeout = 20\n{more}",
        server.port
    );
    let file = Scratch::file("ldap.cf", &content);
    let opened = open(&file.spec(TableType::Ldap), &TableOptions::default(), &Notes::default());
    (opened.unwrap().connect)()
}

/// The next request: its id, kind and content.
fn hear_message(guest: &mut Guest) -> (u32, u8, Vec<u8>) {
    let start = hear(guest, 2);
    let length = match start[1] {
        0x81 => usize::from(hear(guest, 1)[0]),
        short => usize::from(short),
    };
    let body = hear(guest, length);
    let mut reader = Reader(&body);
    let id = reader.number(INTEGER).unwrap();
    let (tag, content) = reader.next().unwrap();
    (id, tag, content.to_vec())
}

fn answer(guest: &mut Guest, id: u32, tag: u8, content: &[u8]) {
    let mut message = Vec::new();
    put_all(&mut message, SEQUENCE, |out| {
        put_number(out, INTEGER, id);
        put(out, tag, content);
    });
    say(guest, message);
}

fn done(guest: &mut Guest, id: u32, tag: u8, code: u32) {
    let mut content = Vec::new();
    put_number(&mut content, ENUMERATED, code);
    put(&mut content, OCTETS, b"");
    put(&mut content, OCTETS, b"so it is");
    answer(guest, id, tag, &content);
}

fn entry(guest: &mut Guest, id: u32, attributes: &[(&str, &[&str])]) {
    let mut content = Vec::new();
    put(&mut content, OCTETS, b"cn=x");
    put_all(&mut content, SEQUENCE, |out| {
        for (name, values) in attributes {
            put_all(out, SEQUENCE, |out| {
                put(out, OCTETS, name.as_bytes());
                put_all(out, SET, |out| values.iter().for_each(|value| put(out, OCTETS, value.as_bytes())));
            });
        }
    });
    answer(guest, id, 0x64, &content);
}

fn welcome(guest: &mut Guest) {
    let (id, tag, content) = hear_message(guest);
    let mut reader = Reader(&content);
    assert_eq!((tag, reader.number(INTEGER)), (0x60, Some(3)));
    assert_eq!(reader.expect(OCTETS), Some(&b"cn=mail"[..]));
    assert_eq!(reader.expect(0x80), Some(&b"hunter2"[..]));
    done(guest, id, 0x61, 0);
}

/// The next search: its id, base, and scope.
fn hear_search(guest: &mut Guest) -> (u32, String, u32) {
    let (id, tag, content) = hear_message(guest);
    assert_eq!(tag, 0x63);
    let mut reader = Reader(&content);
    let base = String::from_utf8(reader.expect(OCTETS).unwrap().to_vec()).unwrap();
    (id, base, reader.number(ENUMERATED).unwrap())
}

#[test]
fn values_of_all_entries_are_the_result() {
    let server = Fake::once(|guest| {
        welcome(guest);
        let (id, base, scope) = hear_search(guest);
        assert_eq!((&*base, scope), ("dc=example,dc=com", 2));
        entry(guest, id, &[("MailDrop", &["one", "two"]), ("cn", &["ignored"])]);
        answer(guest, id, 0x73, b"\x04\x07ldap://");
        entry(guest, id, &[("maildrop", &["three"])]);
        done(guest, id, 0x65, 0);
        let (id, ..) = hear_search(guest);
        done(guest, id, 0x65, 0);
        let (id, ..) = hear_search(guest);
        done(guest, id, 0x65, 32);
        let (id, ..) = hear_search(guest);
        done(guest, id, 0x65, 1);
    });
    let mut table = table(&server, "");
    assert_eq!(table.lookup("u@example.com").unwrap().as_deref(), Some("one,two,three"));
    assert_eq!(table.lookup("v@example.com"), Ok(None));
    assert!(table.lookup("w@example.com").unwrap_err().reason.contains("search_base"));
    assert!(table.lookup("x@example.com").unwrap_err().reason.contains("so it is"));
    assert_eq!(table.lookup("no domain"), Ok(None), "there is no base to search");
    server.end();
}

#[test]
fn groups_lead_to_their_members() {
    let server = Fake::once(|guest| {
        welcome(guest);
        let (id, ..) = hear_search(guest);
        let members = ["cn=a,dc=x", "cn=gone,dc=x", "ldap:///ou=all,dc=x?mail?one?(cn=b%2a)"];
        entry(guest, id, &[("member", &members), ("mail", &["group@x"]), ("maildrop", &["kept@x"])]);
        done(guest, id, 0x65, 0);
        for _ in 0..3 {
            let (id, base, scope) = hear_search(guest);
            match (&*base, scope) {
                ("cn=a,dc=x", 0) => entry(guest, id, &[("mail", &["a@x"])]),
                ("cn=gone,dc=x", 0) => {
                    done(guest, id, 0x65, 32);
                    continue;
                }
                ("ou=all,dc=x", 1) => entry(guest, id, &[("owner", &["b@x"]), ("mail", &["no@x"])]),
                other => panic!("{other:?}"),
            }
            done(guest, id, 0x65, 0);
        }
    });
    let more = "special_result_attribute = member\nleaf_result_attribute = mail\nterminal_result_attribute = owner\n";
    let found = table(&server, more).lookup("g@example.com").unwrap();
    assert_eq!(found.as_deref(), Some("kept@x,a@x,b@x"));
    server.end();
}

#[test]
fn entries_that_lead_in_a_circle_are_trouble() {
    let server = Fake::once(|guest| {
        welcome(guest);
        for _ in 0..4 {
            let (id, ..) = hear_search(guest);
            entry(guest, id, &[("member", &["cn=me"])]);
            done(guest, id, 0x65, 0);
        }
    });
    let mut table = table(&server, "special_result_attribute = member\nrecursion_limit = 3\n");
    assert!(table.lookup("g@example.com").unwrap_err().reason.contains("recursion_limit"));
    server.end();
}

#[test]
fn servers_that_refuse_babble_hang_or_never_end_are_trouble() {
    let scripts: [fn(&mut Guest); 8] = [
        |guest| {
            let (id, ..) = hear_message(guest);
            done(guest, id, 0x61, 49);
        },
        |guest| say(guest, "HTTP/1.1 400 Bad Request\r\n\r\n"),
        |guest| say(guest, b"\x30\x84\xff\xff\xff\xff"),
        |guest| say(guest, b"\x30\x80\0\0"),
        |guest| {
            welcome(guest);
            let (id, ..) = hear_search(guest);
            done(guest, id + 1, 0x65, 0);
        },
        |guest| {
            welcome(guest);
            let (id, ..) = hear_search(guest);
            answer(guest, id, 0x64, b"\x04\x01x\x30\x7f");
        },
        |guest| {
            welcome(guest);
            let (id, ..) = hear_search(guest);
            let mut message = Vec::new();
            put_all(&mut message, SEQUENCE, |out| {
                put_number(out, INTEGER, id);
                put(out, 0x64, b"\x04\x00\x30\x00");
            });
            say_without_end(guest, &message.repeat(100));
        },
        wait_for_end,
    ];
    for (index, script) in scripts.into_iter().enumerate() {
        let server = Fake::once(script);
        let mut table = table(&server, "timeout = 1\n");
        let trouble = table.lookup("k@example.com").unwrap_err();
        assert!(!trouble.to_string().contains("hunter2"), "script {index}: {trouble}");
        drop(table);
        server.end();
    }
}

#[test]
fn settings_that_are_not_served_are_refused() {
    for content in [
        "start_tls = yes\n",
        "bind = sasl\n",
        "scope = all\n",
        "server_host = ldaps://x\n",
        "chase_referrals = yes\n",
    ] {
        let file = Scratch::file("ldap.cf", content);
        let opened = open(&file.spec(TableType::Ldap), &TableOptions::default(), &Notes::default());
        assert!(opened.is_err(), "{content}");
    }
    assert_eq!(server("ldapi://%2frun%2fldapi", 389), Ok(Endpoint::Unix("/run/ldapi".into())));
    assert_eq!(server("ldap://[::1]/", 389), Ok(Endpoint::Inet { host: "::1".into(), port: 389 }));
    assert!(server("ldapi://x", 389).is_err());
}
