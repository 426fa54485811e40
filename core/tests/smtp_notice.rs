//! Notices as a mail reader gets them.

use ringpost_core::dsn::{
    Action, Audience, FromFormat, Notice, NoticeKind, NoticeOptions, Original, ReportedMail,
    ReportedRecipient, Status, Templates, header_bytes,
};
use ringpost_core::envelope::{Notify, Ret};

const DOUBLE_BOUNCE: &str = "double-bounce@example.com";

fn expand(line: &str) -> Result<String, String> {
    Ok(line.replace("$myhostname", "mail.example.com").replace("$maximal_queue_lifetime_days", "5"))
}

const MAIL: ReportedMail<'_> = ReportedMail {
    queue_id: "4SVLCh0sf8z7Qhl",
    sender: "sender@example.com",
    envid: "",
    ret: None,
    arrival_date: "Tue, 14 Nov 2023 22:13:20 +0000",
    retry_until: None,
    content_bytes: 400,
    smtputf8: false,
    eight_bit: false,
};

const RECIPIENT: ReportedRecipient<'_> = ReportedRecipient {
    address: "nobody@example.org",
    original: "",
    orcpt: "",
    notify: Notify::UNSET,
    status: Status::permanent(1, 1),
    text: "host mx.example.org[192.0.2.1] said: 550 5.1.1 <nobody@example.org>: Recipient address rejected: \
           User unknown (in reply to RCPT TO command)",
    reply: Some("550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown"),
    remote_mta: "mx.example.org",
    action: Action::Failed,
};

const CONTENT: &str = "From: sender@example.com\r\nSubject: hello\r\n\r\n..dotted\r\nbye\r\n";

/// A notice to the sender.
fn build(kind: NoticeKind, mail: &ReportedMail<'_>, recipients: &[ReportedRecipient<'_>]) -> Option<Notice> {
    build_for(Audience::Sender(mail.sender), kind, mail, recipients)
}

fn build_for(
    audience: Audience<'_>,
    kind: NoticeKind,
    mail: &ReportedMail<'_>,
    recipients: &[ReportedRecipient<'_>],
) -> Option<Notice> {
    build_with(
        &Templates::built_in(FromFormat::Standard, &expand).expect("sound"),
        audience,
        kind,
        mail,
        recipients,
    )
}

fn build_with(
    templates: &Templates,
    audience: Audience<'_>,
    kind: NoticeKind,
    mail: &ReportedMail<'_>,
    recipients: &[ReportedRecipient<'_>],
) -> Option<Notice> {
    let options = NoticeOptions {
        my_hostname: "mail.example.com",
        origin: "example.com",
        mail_name: "Postfix",
        bounce_size_limit: 50_000,
        templates,
        double_bounce: DOUBLE_BOUNCE,
    };
    Notice::build(kind, audience, &options, mail, recipients.iter().copied(), 1_700_000_300)
}

/// What a golden file holds: the whole notice as a mail reader gets it.
fn golden(notice: &Notice) -> String {
    whole(notice).replace("\r\n", "\n")
}

/// The whole content, as the caller puts it together.
fn whole(notice: &Notice) -> String {
    let original = match notice.original {
        Original::Full => CONTENT,
        Original::Headers => &CONTENT[..header_bytes(CONTENT.as_bytes())],
    };
    let bytes = [&notice.head, original.as_bytes(), &notice.tail].concat();
    let text = String::from_utf8(bytes).expect("text");
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "bare line end in {line:?}");
        assert!(!line.starts_with('.') || line.starts_with(".."), "not dot-stuffed: {line:?}");
        assert!(line.len() <= 998);
    }
    assert!(text.ends_with("--\r\n"));
    text
}

/// The parts of a multipart, with their headers.
fn parts(text: &str) -> Vec<&str> {
    let boundary =
        text.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("boundary");
    assert!(boundary.len() <= 70);
    let delimiter = format!("\r\n--{boundary}");
    let parts: Vec<&str> = text.split(delimiter.as_str()).collect();
    assert_eq!(parts.last().copied(), Some("--\r\n"));
    parts[1..parts.len() - 1].to_vec()
}

fn body(part: &str) -> &str {
    part.split_once("\r\n\r\n").expect("an empty line behind the part's headers").1
}

/// The groups of a delivery report, unfolded: per-message fields first.
fn groups(report: &str) -> Vec<Vec<(String, String)>> {
    report
        .trim_end_matches("\r\n")
        .split("\r\n\r\n")
        .map(|group| {
            let unfolded = group.replace("\r\n    ", " ");
            unfolded
                .split("\r\n")
                .map(|line| line.split_once(": ").expect("a field"))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        })
        .collect()
}

fn field<'a>(group: &'a [(String, String)], name: &str) -> Option<&'a str> {
    group.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_failure_notice_returns_the_message() {
    let notice = build(NoticeKind::Failure, &MAIL, &[RECIPIENT]).expect("a notice");
    assert_eq!(notice.recipient, "sender@example.com");
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn a_delay_notice_says_until_when() {
    let mail = ReportedMail { retry_until: Some("Sun, 19 Nov 2023 22:13:20 +0000"), ..MAIL };
    let late = ReportedRecipient {
        status: Status::persistent(4, 1),
        text: "connect to mx.example.org[192.0.2.1]:25: Connection refused",
        reply: None,
        remote_mta: "",
        action: Action::Delayed,
        ..RECIPIENT
    };
    let notice = build(NoticeKind::Delay, &mail, &[late]).expect("a notice");
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn each_recipient_is_a_group_of_its_own() {
    let mail = ReportedMail { envid: "batch 7", ..MAIL };
    let second = ReportedRecipient {
        address: "list-member@example.net",
        original: "list@example.com",
        orcpt: "rfc822;list@example.com",
        status: Status::permanent(4, 6),
        text: "mail for example.net loops back to myself",
        reply: None,
        remote_mta: "",
        ..RECIPIENT
    };
    let notice = build(NoticeKind::Failure, &mail, &[RECIPIENT, second]).expect("a notice");
    let text = whole(&notice);
    let parts = parts(&text);
    assert_eq!(parts.len(), 3);
    assert!(
        body(parts[0]).contains("<list-member@example.net> (expanded from <list@example.com>): mail for")
    );
    let groups = groups(body(parts[1]));
    assert_eq!(groups.len(), 3);
    assert_eq!(field(&groups[0], "Reporting-MTA"), Some("dns; mail.example.com"));
    assert_eq!(field(&groups[0], "Original-Envelope-Id"), Some("batch 7"));
    assert_eq!(field(&groups[0], "X-Postfix-Queue-ID"), Some("4SVLCh0sf8z7Qhl"));
    assert_eq!(field(&groups[0], "X-Postfix-Sender"), Some("rfc822; sender@example.com"));
    assert_eq!(field(&groups[1], "Remote-MTA"), Some("dns; mx.example.org"));
    let code = "smtp; 550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown";
    assert_eq!(field(&groups[1], "Diagnostic-Code"), Some(code));
    assert_eq!(field(&groups[2], "Final-Recipient"), Some("rfc822; list-member@example.net"));
    assert_eq!(field(&groups[2], "Original-Recipient"), Some("rfc822;list@example.com"));
    assert_eq!(field(&groups[2], "Action"), Some("failed"));
    assert_eq!(field(&groups[2], "Status"), Some("5.4.6"));
    let code = "X-Postfix; mail for example.net loops back to myself";
    assert_eq!(field(&groups[2], "Diagnostic-Code"), Some(code));
}

#[test]
fn a_bounce_is_never_bounced() {
    for kind in [NoticeKind::Failure, NoticeKind::Delay, NoticeKind::Success] {
        assert_eq!(build(kind, &ReportedMail { sender: "", ..MAIL }, &[RECIPIENT]), None);
    }
}

const TAKEN: ReportedRecipient<'_> = ReportedRecipient {
    notify: Notify::SUCCESS,
    status: Status::success(0, 0),
    text: "delivery via mx.example.org[192.0.2.1]:25: 250 2.0.0 Ok: queued as 4F2E",
    reply: Some("250 2.0.0 Ok: queued as 4F2E"),
    action: Action::Relayed,
    ..RECIPIENT
};

#[test]
fn a_relayed_recipient_is_reported_as_such() {
    let notice = build(NoticeKind::Success, &MAIL, &[TAKEN]).expect("a notice");
    assert_eq!(
        notice.original,
        Original::Headers,
        "RFC 3461 section 4.3: only a failure returns the message"
    );
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn a_delivered_recipient_is_reported_as_such() {
    let delivered = ReportedRecipient {
        address: "somebody@example.com",
        orcpt: "rfc822;some.body@example.com",
        text: "delivered to maildir",
        reply: None,
        remote_mta: "",
        action: Action::Delivered,
        ..TAKEN
    };
    let mail = ReportedMail { envid: "order 66", ret: Some(Ret::Full), ..MAIL };
    let notice = build(NoticeKind::Success, &mail, &[delivered]).expect("a notice");
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn an_expanded_list_is_reported_as_such() {
    let orcpt = "rfc822;list@example.com";
    let expanded = ReportedRecipient::expanded("list@example.com", "", orcpt, Notify::SUCCESS);
    let notice = build(NoticeKind::Success, &MAIL, &[expanded]).expect("a notice");
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn expired_mail_is_returned_with_the_reason_of_its_last_deferral() {
    let expired = ReportedRecipient {
        status: Status::persistent(4, 1),
        text: "connect to mx.example.org[192.0.2.1]:25: Connection refused",
        reply: None,
        remote_mta: "",
        ..RECIPIENT
    };
    let mail = ReportedMail { ret: Some(Ret::Headers), ..MAIL };
    let notice = build(NoticeKind::Failure, &mail, &[expired]).expect("a notice");
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn a_bounce_that_bounces_goes_to_the_postmaster_whole() {
    let mail = ReportedMail { sender: "", ..MAIL };
    let never = ReportedRecipient { notify: Notify::NEVER, ..RECIPIENT };
    let postmaster = Audience::Postmaster("postmaster@example.com");
    let notice = build_for(postmaster, NoticeKind::Failure, &mail, &[never]).expect("a notice");
    assert_eq!(
        (notice.sender.as_str(), notice.recipient.as_str()),
        (DOUBLE_BOUNCE, "postmaster@example.com")
    );
    assert_eq!(notice.original, Original::Full);
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn a_copy_for_the_postmaster_has_every_recipient_and_no_body() {
    let never = ReportedRecipient { address: "never@example.org", notify: Notify::NEVER, ..RECIPIENT };
    let postmaster = Audience::Postmaster("postmaster@example.com");
    let notice = build_for(postmaster, NoticeKind::Failure, &MAIL, &[never]).expect("a notice");
    let text = whole(&notice);
    assert_eq!(notice.original, Original::Headers);
    assert!(text.contains("Subject: Postmaster Copy: Undelivered Mail\r\n"), "{text}");
    assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
    assert!(text.contains("<never@example.org>") && !text.contains("Your message"), "{text}");
    let delayed = ReportedRecipient { action: Action::Delayed, ..RECIPIENT };
    let notice = build_for(postmaster, NoticeKind::Delay, &MAIL, &[delayed]).expect("a notice");
    assert!(whole(&notice).contains("Subject: Postmaster Warning: Delayed Mail\r\n"));
}

#[test]
fn nobody_is_told_of_a_notice_to_the_postmaster_that_fails() {
    let mail = ReportedMail { sender: "Double-Bounce@example.com", ..MAIL };
    for audience in [Audience::Sender(mail.sender), Audience::Postmaster("postmaster@example.com")] {
        assert_eq!(build_for(audience, NoticeKind::Failure, &mail, &[RECIPIENT]), None);
    }
}

#[test]
fn a_variable_return_path_is_where_the_notice_goes() {
    let path = Audience::Sender("list+nobody=example.org@example.com");
    let mail = ReportedMail { sender: "list@example.com", ..MAIL };
    let notice = build_for(path, NoticeKind::Failure, &mail, &[RECIPIENT]).expect("a notice");
    assert_eq!(notice.recipient, "list+nobody=example.org@example.com");
    assert!(whole(&notice).contains("X-Postfix-Sender: rfc822; list@example.com\r\n"));
}

#[test]
fn a_notice_joins_the_thread_of_the_message_it_is_about() {
    let mut notice = build(NoticeKind::Failure, &MAIL, &[RECIPIENT]).expect("a notice");
    notice.join_thread(
        b"Subject: hello\r\nMessage-ID:\r\n <1.a@client.example.com>\r\n\r\nMessage-Id: <no>\r\n",
    );
    let text = whole(&notice);
    let (head, _) = text.split_once("\r\n\r\n").expect("a header");
    assert!(
        head.contains("\r\nReferences: <1.a@client.example.com>\r\nIn-Reply-To: <1.a@client.example.com>"),
        "{head}"
    );
    assert_eq!(parts(&text).len(), 3);
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn what_is_no_message_id_is_not_repeated() {
    let plain = build(NoticeKind::Success, &MAIL, &[TAKEN]).expect("a notice");
    let long = format!("Message-Id: <{}>\r\n", "x".repeat(950));
    let two = "Message-Id: <a@b> <c@d>\r\n";
    let (bare, foreign) = ("Message-Id: a@b\r\n", "Message-Id: <\u{fc}@b>\r\n");
    for header in [&long, two, bare, foreign, "Message-Id: <>\r\n", "X: y\r\n", "\r\nMessage-Id: <a@b>\r\n"] {
        let mut notice = plain.clone();
        notice.join_thread(header.as_bytes());
        assert_eq!(notice, plain, "{header}");
    }
    let postmaster = Audience::Postmaster("postmaster@example.com");
    let copy = build_for(postmaster, NoticeKind::Failure, &MAIL, &[RECIPIENT]).expect("a notice");
    let mut threaded = copy.clone();
    threaded.join_thread(b"Message-Id: <a@b>\r\n");
    assert_eq!(threaded, copy, "the postmaster does not have the message");
}

#[test]
fn a_template_of_ones_own_is_used() {
    let file = "failure_template = <<EOF\nCharset: utf-8\nFrom: robot (Mail Robot)\nSubject: Zur\u{fc}ck\n\nx\nEOF\n";
    assert!(Templates::parse(file, FromFormat::Standard, &expand).is_err(), "headers are ASCII");
    let file = file
        .replace("Zur\u{fc}ck", "Back")
        .replace("\nx\n", "\n.Sch\u{f6}ne Gr\u{fc}\u{df}e von $myhostname\n");
    let templates = Templates::parse(&file, FromFormat::Standard, &expand).expect("sound");
    let sender = Audience::Sender(MAIL.sender);
    let notice = build_with(&templates, sender, NoticeKind::Failure, &MAIL, &[RECIPIENT]).expect("a notice");
    let text = whole(&notice);
    assert!(text.starts_with("From: robot@example.com (Mail Robot)\r\nSubject: Back\r\n"), "{text}");
    assert!(text.contains("charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n..Sch\u{f6}ne"), "{text}");
    assert!(text.contains("von mail.example.com\r\n"), "{text}");
    assert!(notice.eight_bit && !notice.smtputf8);
}

#[test]
fn only_what_the_sender_wants_to_hear_is_reported() {
    let never = ReportedRecipient { address: "never@example.org", notify: Notify::NEVER, ..RECIPIENT };
    let delay = ReportedRecipient { address: "delay@example.org", notify: Notify::DELAY, ..RECIPIENT };
    let success = ReportedRecipient { address: "success@example.org", notify: Notify::SUCCESS, ..RECIPIENT };
    assert_eq!(build(NoticeKind::Failure, &MAIL, &[never, delay, success]), None);
    assert_eq!(build(NoticeKind::Delay, &MAIL, &[never, success]), None);
    assert_eq!(build(NoticeKind::Success, &MAIL, &[never]), None);
    let notice = build(NoticeKind::Failure, &MAIL, &[never, RECIPIENT]).expect("a notice");
    assert!(!whole(&notice).contains("never@example.org"));
    let notice = build(NoticeKind::Delay, &MAIL, &[never, delay, success]).expect("a notice");
    assert!(whole(&notice).contains("Final-Recipient: rfc822; delay@example.org"));
    assert_eq!(whole(&notice).matches("Final-Recipient:").count(), 1);
}

#[test]
fn a_large_message_or_ret_hdrs_returns_headers_only() {
    let large = ReportedMail { content_bytes: 50_001, ..MAIL };
    let headers = ReportedMail { ret: Some(Ret::Headers), ..MAIL };
    let at_limit = ReportedMail { content_bytes: 50_000, ret: Some(Ret::Full), ..MAIL };
    for (mail, original) in
        [(large, Original::Headers), (headers, Original::Headers), (at_limit, Original::Full)]
    {
        let notice = build(NoticeKind::Failure, &mail, &[RECIPIENT]).expect("a notice");
        assert_eq!(notice.original, original);
        let text = whole(&notice);
        let last = *parts(&text).last().expect("three parts");
        match original {
            Original::Full => assert!(last.contains("message/rfc822") && last.ends_with("bye\r\n")),
            Original::Headers => {
                assert!(
                    last.contains("Undelivered Message Headers\r\nContent-Type: text/rfc822-headers\r\n")
                );
                assert!(last.ends_with("Subject: hello\r\n"));
            }
        }
    }
}

#[test]
fn unicode_mail_gets_the_global_types() {
    let mail = ReportedMail { sender: "jürgen@example.com", smtputf8: true, ..MAIL };
    let recipient = ReportedRecipient { address: "zoë@example.org", ..RECIPIENT };
    let notice = build(NoticeKind::Failure, &mail, &[recipient]).expect("a notice");
    assert!(notice.smtputf8 && notice.eight_bit);
    let text = whole(&notice);
    assert!(text.contains("Content-Type: text/plain; charset=utf-8\r\n"));
    assert!(text.contains("Content-Type: message/global-delivery-status\r\n"));
    assert!(text.contains("Content-Type: message/global\r\n"));
    assert!(text.contains("Final-Recipient: utf-8; zoë@example.org\r\n"));
    assert!(text.contains("X-Postfix-Sender: utf-8; jürgen@example.com\r\n"));
    insta::assert_snapshot!(golden(&notice));
}

#[test]
fn a_foreign_reply_in_plain_mail_stays_legal() {
    let recipient =
        ReportedRecipient { text: "said: 550 inconnu à", reply: Some("550 inconnu à"), ..RECIPIENT };
    let notice = build(NoticeKind::Failure, &MAIL, &[recipient]).expect("a notice");
    let text = whole(&notice);
    let parts = parts(&text);
    assert!(parts[0].contains("charset=utf-8") && parts[0].contains("inconnu à"));
    assert!(body(parts[1]).is_ascii() && body(parts[1]).contains("smtp; 550 inconnu ?\r\n"));
    assert!(notice.eight_bit && !notice.smtputf8);
}

#[test]
fn nothing_in_a_reason_can_end_a_line_or_a_part() {
    let evil = format!(".\r\n--{}.1700000300/mail.example.com--\r\n{}", MAIL.queue_id, "x".repeat(3_000));
    let mail = ReportedMail { envid: "a\r\nBcc: everyone@example.com", ..MAIL };
    let recipient = ReportedRecipient {
        address: "a\r\n.\r\nb@example.org",
        text: &evil,
        reply: Some(&evil),
        remote_mta: "x\r\ny",
        ..RECIPIENT
    };
    let notice = build(NoticeKind::Failure, &mail, &[recipient]).expect("a notice");
    let text = whole(&notice);
    assert_eq!(parts(&text).len(), 3);
    assert!(!text.contains("\r\nBcc:"));
}

#[test]
fn headers_end_at_the_first_empty_line() {
    assert_eq!(header_bytes(b"A: b\r\n\r\nbody\r\n\r\n"), 6);
    assert_eq!(header_bytes(b"\r\nbody\r\n"), 0);
    assert_eq!(header_bytes(b"A: b\r\n"), 6);
    assert_eq!(header_bytes(b""), 0);
}
