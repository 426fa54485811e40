use super::*;
use crate::content::is_wire_form;

const DATE: &str = "Sun, 22 Nov 2026 20:00:00 +0000 (UTC)";

fn facts<'a>(sender: &'a Address, recipient: Option<&'a Address>, local: bool) -> Facts<'a> {
    Facts {
        helo: Some("client.example"),
        client_name: None,
        client_address: IpAddr::from([192, 0, 2, 1]),
        protocol: "ESMTP",
        smtputf8: false,
        body: BodyKind::SevenBit,
        queue_id: "QID",
        date: DATE,
        sender: sender.as_str(),
        recipient,
        message_id: "QID@mx.example",
        add_missing_headers: local,
    }
}

/// Cleans a message from `s@x` to two recipients; returns it without our Received header, and the logged id.
fn check(local: bool, message: &str, expect: &str) -> String {
    let sender = Address::parse("s@x").expect("an address");
    let facts = facts(&sender, None, local);
    let clean = clean_head(&CleanupSettings::new("mx.example"), &facts, message.as_bytes(), true)
        .expect("accepted")
        .expect("nothing that takes more");
    let whole = clean.assemble(message.as_bytes());
    assert!(is_wire_form(&whole));
    assert_eq!(whole.len() as i64, message.len() as i64 + clean.grown_bytes);
    let trace = format!(
        "Received: from client.example (unknown [192.0.2.1])\r\n\tby mx.example (Postfix) with ESMTP id QID; {DATE}\r\n"
    );
    let whole = String::from_utf8(whole).expect("text");
    assert_eq!(whole.strip_prefix(trace.as_str()), Some(expect));
    clean.message_id
}

#[test]
fn a_complete_message_gets_a_trace_header_and_nothing_else() {
    let message = "From: a@b\r\nMessage-ID:\r\n <1@b>\r\nDate: x\r\n\r\nbody\r\n";
    assert_eq!(check(true, message, message), "<1@b>");
}

#[test]
fn missing_headers_are_added_for_local_clients_at_the_end_of_the_block() {
    let added = format!("Message-Id: <QID@mx.example>\r\nDate: {DATE}\r\nFrom: s@x\r\n");
    let id = check(true, "Subject: hi\r\n\r\nbody\r\n", &format!("Subject: hi\r\n{added}\r\nbody\r\n"));
    assert_eq!(id, "<QID@mx.example>");
    assert_eq!(check(false, "Subject: hi\r\n\r\nbody\r\n", "Subject: hi\r\n\r\nbody\r\n"), "");
    check(true, "", &added);
    check(true, "\r\nbody\r\n", &format!("{added}\r\nbody\r\n"));
}

#[test]
fn a_resent_message_gets_resent_headers() {
    let message = "From: a@b\r\nResent-To: c@d\r\nDate: x\r\n\r\n";
    let added = format!("Resent-Message-Id: <QID@mx.example>\r\nResent-Date: {DATE}\r\nResent-From: s@x\r\n");
    check(true, message, &format!("From: a@b\r\nResent-To: c@d\r\nDate: x\r\n{added}\r\n"));
}

#[test]
fn headers_that_must_not_travel_are_dropped_with_their_folds() {
    let message =
        "Bcc: a@b,\r\n c@d\r\nSubject: x\r\nreturn-path: <y>\r\nContent-Length: 3\r\n\r\nbcc: body\r\n";
    check(false, message, "Subject: x\r\n\r\nbcc: body\r\n");
    check(false, "Bcc: a@b\r\n", "");
}

#[test]
fn a_body_without_a_blank_line_gets_one() {
    check(false, "just text\r\nmore\r\n", "\r\njust text\r\nmore\r\n");
    check(false, "Subject: x\r\njust text\r\n", "Subject: x\r\n\r\njust text\r\n");
    check(false, " folded nothing\r\n", "\r\n folded nothing\r\n");
    check(false, "..\r\n", "\r\n..\r\n");
}

#[test]
fn a_mailbox_separator_becomes_a_header() {
    check(false, "From a@b Sun\r\nSubject: x\r\n\r\n", "X-Mailbox-Line: From a@b Sun\r\nSubject: x\r\n\r\n");
    check(false, ">From a@b Sun\r\n\r\n", "X-Mailbox-Line: >From a@b Sun\r\n\r\n");
    check(false, "From : a@b\r\n\r\n", "From : a@b\r\n\r\n");
}

#[test]
fn the_trace_header_names_a_single_recipient_and_the_protocol() {
    let (sender, recipient) = (Address::null(), Address::parse("r@y").expect("an address"));
    let mut facts = facts(&sender, Some(&recipient), true);
    facts.client_name = Some("host.example");
    facts.client_address = "2001:db8::1".parse().expect("an address");
    facts.smtputf8 = true;
    let clean = clean_head(&CleanupSettings::new("mx.example"), &facts, b"\r\n", true)
        .expect("accepted")
        .expect("nothing that takes more");
    let whole = String::from_utf8(clean.assemble(b"\r\n")).expect("text");
    let expect = format!(
        "Received: from client.example (host.example [IPv6:2001:db8::1])\r\n\tby mx.example (Postfix) with UTF8SMTP \
         id QID\r\n\tfor <r@y>; {DATE}\r\n"
    );
    assert!(whole.starts_with(&expect), "{whole}");
    assert!(whole.ends_with("From: MAILER-DAEMON\r\n\r\n"), "{whole}");
}

#[test]
fn the_49th_received_header_of_the_client_is_one_too_many() {
    let sender = Address::null();
    let facts = facts(&sender, None, false);
    let settings = CleanupSettings::new("mx.example");
    let message = |hops: usize| "Received: x\r\n".repeat(hops) + "\r\n";
    assert!(clean_head(&settings, &facts, message(48).as_bytes(), true).is_ok());
    let refusal = clean_head(&settings, &facts, message(49).as_bytes(), true).expect_err("refused");
    assert_eq!(refusal.line(), "554 5.4.0 Error: too many hops");
}

#[test]
fn a_header_block_of_any_size_is_examined() {
    let many = "X-Long: 0123456789\r\n".repeat(10_000);
    check(false, &format!("{many}Bcc: a@b\r\n\r\nbody\r\n"), &format!("{many}\r\nbody\r\n"));
}

/// Whether a message, or the beginning of one, takes more than [`clean_head`].
fn takes_more(body: BodyKind, message: &str, whole: bool) -> bool {
    let sender = Address::null();
    let facts = Facts { body, ..facts(&sender, None, true) };
    clean_head(&CleanupSettings::new("mx.example"), &facts, message.as_bytes(), whole)
        .expect("accepted")
        .is_none()
}

#[test]
fn what_takes_more_than_a_glance_is_left_to_the_cleaner() {
    let plain = |message: &str, whole| takes_more(BodyKind::SevenBit, message, whole);
    assert!(!plain("Subject: x\r\n\r\nbody\r\n", false));
    assert!(plain("Subject: x\r\nTo:", false), "the block goes on");
    assert!(plain(&format!("X: {}\r\n\r\n", "y".repeat(200_000)), true), "a header is cut");
    let parts = |encoding: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        )
    };
    assert!(
        plain(&parts("8bit"), true) && plain(&parts("base64"), false),
        "parts may say that they are 8-bit"
    );
    assert!(!plain(&parts("base64"), true));
    assert!(!takes_more(BodyKind::EightBitMime, &parts("8bit"), true), "it is known already");
}

#[test]
fn a_message_that_says_so_counts_as_eight_bit() {
    let sender = Address::null();
    let says = |detects_encoding, message: &str| {
        let settings = CleanupSettings { detects_encoding, ..CleanupSettings::new("mx.example") };
        let clean = clean_head(&settings, &facts(&sender, None, false), message.as_bytes(), true);
        clean.expect("accepted").expect("nothing that takes more").eight_bit
    };
    assert!(says(true, "Content-Transfer-Encoding: 8Bit\r\n\r\n"));
    assert!(says(true, "content-transfer-encoding:\r\n binary\r\n\r\n"));
    assert!(!says(true, "Content-Transfer-Encoding: 7bit\r\n\r\nContent-Transfer-Encoding: 8bit\r\n"));
    assert!(!says(false, "Content-Transfer-Encoding: 8bit\r\n\r\n"));
}
