//! Building notices: one message in RFC 3464 form, with room in the middle for the original.

use super::{Class, Status};
use crate::envelope::{Notify, Ret};

/// Lines of prose and folded fields are kept within this many columns (RFC 5322 section 2.1.1: SHOULD).
const COLUMNS: usize = 78;

/// A word longer than this is cut, so that no line comes near the 998 of RFC 5322 section 2.1.1.
const WORD_BYTES_MAX: usize = 500;

/// RFC 2046 section 5.1.1: a boundary has at most 70 characters.
const BOUNDARY_BYTES_MAX: usize = 70;

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// Delivery failed for good.
    Failure,
    /// Delivery goes on, but it takes long.
    Delay,
    /// Delivery succeeded and the sender wanted to know.
    Success,
}

/// Which part of the original the caller puts between [`Notice::head`] and [`Notice::tail`], in wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Original {
    /// All of the content.
    Full,
    /// The first [`header_bytes`] of it.
    Headers,
}

/// What is the same for all notices of this system.
#[derive(Clone, Copy, Debug)]
pub struct NoticeOptions<'a> {
    /// `myhostname`: Reporting-MTA.
    pub my_hostname: &'a str,
    /// `myorigin`: completes the `From:` address. Empty leaves `MAILER-DAEMON` bare.
    pub origin: &'a str,
    /// `mail_name`: the `X-` fields are named after it. Tools look for `Postfix`.
    pub mail_name: &'a str,
    /// `bounce_size_limit`: a larger message is returned without its body.
    pub bounce_size_limit: u64,
}

/// The message that is reported on.
#[derive(Clone, Copy, Debug)]
pub struct ReportedMail<'a> {
    /// Its queue id.
    pub queue_id: &'a str,
    /// Reverse-path; nothing is built for the null sender.
    pub sender: &'a str,
    /// ENVID, decoded; empty if none.
    pub envid: &'a str,
    /// RET.
    pub ret: Option<Ret>,
    /// When it arrived, as an RFC 5322 date.
    pub arrival_date: &'a str,
    /// When we will give up, as an RFC 5322 date; only delay notices say it.
    pub retry_until: Option<&'a str>,
    /// Size of its content.
    pub content_bytes: u64,
    /// It was sent with SMTPUTF8.
    pub smtputf8: bool,
    /// Its content has bytes above 127.
    pub eight_bit: bool,
}

/// One recipient that is reported on.
#[derive(Clone, Copy, Debug)]
pub struct ReportedRecipient<'a> {
    /// Final address.
    pub address: &'a str,
    /// The address before aliases; empty if the same.
    pub original: &'a str,
    /// ORCPT, decoded, `rfc822;user@host`; empty if none.
    pub orcpt: &'a str,
    /// What the sender wants to hear; recipients that are not to be reported on are left out.
    pub notify: Notify,
    /// Status code. An expired recipient keeps the `4.x.x` of its last attempt, as in Postfix.
    pub status: Status,
    /// The reason as logged.
    pub text: &'a str,
    /// The remote server's reply, if the reason is one.
    pub reply: Option<&'a str>,
    /// The remote server's name; empty if none was involved.
    pub remote_mta: &'a str,
    /// For success: the next server does not report by itself (RFC 3464 section 2.3.3, `relayed`).
    pub relayed: bool,
}

/// A notice: a new message from the null sender. Its content is `head`, the original, `tail`, all in
/// wire form (CRLF, dot-stuffed). It has neither Date nor Message-Id nor Received: it goes through
/// cleanup as every other message does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its only recipient: the original's sender.
    pub recipient: String,
    /// Headers, notification, delivery report, and the original's part headers.
    pub head: Vec<u8>,
    /// What follows the head.
    pub original: Original,
    /// Ends the multipart.
    pub tail: Vec<u8>,
    /// The notice needs SMTPUTF8 itself.
    pub smtputf8: bool,
    /// The notice has bytes above 127.
    pub eight_bit: bool,
}

impl Notice {
    /// Builds a notice, or none: for mail from the null sender (never bounce a bounce) and when no
    /// recipient is left that the sender wants to hear of.
    ///
    /// `unique` tells apart the boundaries of several notices for one message: a time, or a counter.
    pub fn build<'a>(
        kind: NoticeKind,
        options: &NoticeOptions<'_>,
        mail: &ReportedMail<'_>,
        recipients: impl Iterator<Item = ReportedRecipient<'a>> + Clone,
        unique: u64,
    ) -> Option<Notice> {
        if mail.sender.is_empty() {
            return None;
        }
        let wanted = recipients.filter(|recipient| match kind {
            NoticeKind::Failure => recipient.notify.wants_failure(),
            NoticeKind::Delay => recipient.notify.wants_delay(),
            NoticeKind::Success => recipient.notify.wants_success(),
        });
        wanted.clone().next()?;

        // RFC 3461 section 4.3: RET is about failures; other notices return headers.
        let fits = mail.content_bytes <= options.bounce_size_limit;
        let original = match kind {
            NoticeKind::Failure if mail.ret != Some(Ret::Headers) && fits => Original::Full,
            _ => Original::Headers,
        };
        let prose_is_ascii = mail.sender.is_ascii()
            && wanted
                .clone()
                .all(|one| one.address.is_ascii() && one.original.is_ascii() && one.text.is_ascii());
        let boundary = boundary(mail.queue_id, unique, options.my_hostname);
        let eight_bit = mail.eight_bit || mail.smtputf8 || !prose_is_ascii;

        let mut lines = Lines { out: Vec::with_capacity(2048), ascii_only: false };
        head_fields(&mut lines, kind, options, mail, &boundary, eight_bit);
        prose(&mut lines, kind, options, &boundary, prose_is_ascii);
        for recipient in wanted.clone() {
            let original = match recipient.original {
                original if original.is_empty() || original.eq_ignore_ascii_case(recipient.address) => "",
                original => original,
            };
            match original {
                "" => lines.folded(&["<", recipient.address, ">: ", recipient.text]),
                original => lines.folded(&[
                    "<",
                    recipient.address,
                    "> (expanded from <",
                    original,
                    ">): ",
                    recipient.text,
                ]),
            }
            lines.line(&[]);
        }
        // A plain delivery-status part is ASCII (RFC 3464 section 2.1.2); RFC 6533 has the other one.
        lines.ascii_only = !mail.smtputf8;
        report(&mut lines, kind, options, mail, &boundary, wanted);
        lines.ascii_only = false;
        original_part(&mut lines, kind, mail, original, &boundary);

        let mut tail = Lines { out: Vec::with_capacity(80), ascii_only: false };
        tail.line(&[]);
        tail.line(&["--", &boundary, "--"]);
        Some(Notice {
            recipient: mail.sender.to_owned(),
            head: lines.out,
            original,
            tail: tail.out,
            smtputf8: mail.smtputf8,
            eight_bit,
        })
    }
}

/// How many bytes of a message in wire form are its headers, without the empty line behind them.
pub fn header_bytes(content: &[u8]) -> usize {
    if content.starts_with(b"\r\n") {
        return 0;
    }
    memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |found| found + 2)
}

fn head_fields(
    lines: &mut Lines,
    kind: NoticeKind,
    options: &NoticeOptions<'_>,
    mail: &ReportedMail<'_>,
    boundary: &str,
    eight_bit: bool,
) {
    let at = if options.origin.is_empty() { "" } else { "@" };
    lines.line(&["From: Mail Delivery System <MAILER-DAEMON", at, options.origin, ">"]);
    lines.line(&[
        "Subject: ",
        match kind {
            NoticeKind::Failure => "Undelivered Mail Returned to Sender",
            NoticeKind::Delay => "Delayed Mail (still being retried)",
            NoticeKind::Success => "Successful Mail Delivery Report",
        },
    ]);
    lines.line(&["To: ", mail.sender]);
    lines.line(&["Auto-Submitted: auto-replied"]);
    lines.line(&["MIME-Version: 1.0"]);
    lines.line(&["Content-Type: multipart/report; report-type=delivery-status;"]);
    lines.line(&["\tboundary=\"", boundary, "\""]);
    if eight_bit {
        lines.line(&["Content-Transfer-Encoding: 8bit"]);
    }
    lines.line(&[]);
    lines.line(&["This is a MIME-encapsulated message."]);
    lines.line(&[]);
}

fn prose(lines: &mut Lines, kind: NoticeKind, options: &NoticeOptions<'_>, boundary: &str, ascii: bool) {
    lines.line(&["--", boundary]);
    lines.line(&["Content-Description: Notification"]);
    lines.line(&["Content-Type: text/plain; charset=", if ascii { "us-ascii" } else { "utf-8" }]);
    if !ascii {
        lines.line(&["Content-Transfer-Encoding: 8bit"]);
    }
    lines.line(&[]);
    lines.line(&["This message was written by the mail system at ", options.my_hostname, "."]);
    lines.line(&[]);
    let text: &[&str] = match kind {
        NoticeKind::Failure => &[
            "Your message could not be delivered to the recipients below, and it will",
            "not be tried again. The reason stands behind each address. What can be",
            "returned of your message is attached.",
            "",
            "If you need help, please write to postmaster and include this report.",
        ],
        NoticeKind::Delay => &[
            "Your message has not yet been delivered to the recipients below. This is",
            "only a warning: delivery is still being tried, and there is no need to",
            "send the message again.",
        ],
        NoticeKind::Success => &[
            "Your message was delivered to the recipients below. If it was handed to",
            "a system that sends no such reports, you may not hear more about it.",
        ],
    };
    text.iter().for_each(|line| lines.line(&[line]));
    lines.line(&[]);
}

fn report<'a>(
    lines: &mut Lines,
    kind: NoticeKind,
    options: &NoticeOptions<'_>,
    mail: &ReportedMail<'_>,
    boundary: &str,
    recipients: impl Iterator<Item = ReportedRecipient<'a>>,
) {
    lines.line(&["--", boundary]);
    lines.line(&["Content-Description: Delivery report"]);
    let global = if mail.smtputf8 { "global-" } else { "" };
    lines.line(&["Content-Type: message/", global, "delivery-status"]);
    if mail.smtputf8 {
        lines.line(&["Content-Transfer-Encoding: 8bit"]);
    }
    lines.line(&[]);
    lines.line(&["Reporting-MTA: dns; ", options.my_hostname]);
    if !mail.envid.is_empty() {
        lines.line(&["Original-Envelope-Id: ", mail.envid]);
    }
    lines.line(&["X-", options.mail_name, "-Queue-ID: ", mail.queue_id]);
    lines.line(&["X-", options.mail_name, "-Sender: ", address_type(mail.sender, mail), "; ", mail.sender]);
    lines.line(&["Arrival-Date: ", mail.arrival_date]);
    for recipient in recipients {
        lines.line(&[]);
        lines.line(&["Final-Recipient: ", address_type(recipient.address, mail), "; ", recipient.address]);
        match (recipient.orcpt, recipient.original) {
            ("", "") => {}
            ("", original) => {
                lines.line(&["Original-Recipient: ", address_type(original, mail), "; ", original]);
            }
            (orcpt, _) => lines.line(&["Original-Recipient: ", orcpt]),
        }
        lines.line(&[
            "Action: ",
            match kind {
                NoticeKind::Failure => "failed",
                NoticeKind::Delay => "delayed",
                NoticeKind::Success if recipient.relayed => "relayed",
                NoticeKind::Success => "delivered",
            },
        ]);
        lines.line(&["Status: ", &recipient.status.to_string()]);
        if !recipient.remote_mta.is_empty() {
            lines.line(&["Remote-MTA: dns; ", recipient.remote_mta]);
        }
        match recipient.reply {
            Some(reply) => lines.folded(&["Diagnostic-Code: smtp; ", reply]),
            None if recipient.status.class() == Class::Success => {}
            None => lines.folded(&["Diagnostic-Code: X-", options.mail_name, "; ", recipient.text]),
        }
        if let (NoticeKind::Delay, Some(until)) = (kind, mail.retry_until) {
            lines.line(&["Will-Retry-Until: ", until]);
        }
    }
    lines.line(&[]);
}

/// RFC 6533 section 3: an address that is not ASCII has the type `utf-8`.
fn address_type(address: &str, mail: &ReportedMail<'_>) -> &'static str {
    if mail.smtputf8 && !address.is_ascii() { "utf-8" } else { "rfc822" }
}

fn original_part(
    lines: &mut Lines,
    kind: NoticeKind,
    mail: &ReportedMail<'_>,
    original: Original,
    boundary: &str,
) {
    let word = match kind {
        NoticeKind::Failure => "Undelivered",
        NoticeKind::Delay => "Delayed",
        NoticeKind::Success => "Delivered",
    };
    let (headers, content_type) = match (original, mail.smtputf8) {
        (Original::Full, false) => ("", "message/rfc822"),
        (Original::Full, true) => ("", "message/global"),
        (Original::Headers, false) => (" Headers", "text/rfc822-headers"),
        (Original::Headers, true) => (" Headers", "message/global-headers"),
    };
    lines.line(&["--", boundary]);
    lines.line(&["Content-Description: ", word, " Message", headers]);
    lines.line(&["Content-Type: ", content_type]);
    if mail.eight_bit || mail.smtputf8 {
        lines.line(&["Content-Transfer-Encoding: 8bit"]);
    }
    lines.line(&[]);
}

/// `queue-id.unique/host`, cut to what a boundary may be.
fn boundary(queue_id: &str, unique: u64, host: &str) -> String {
    let mut boundary = format!("{queue_id}.{unique}/{host}");
    boundary.retain(|character| character.is_ascii_alphanumeric() || ".-/".contains(character));
    boundary.truncate(BOUNDARY_BYTES_MAX);
    boundary
}

/// Writes lines that can neither be broken by what is put into them nor end the content.
struct Lines {
    out: Vec<u8>,
    /// Write `?` for what is not ASCII.
    ascii_only: bool,
}

impl Lines {
    fn line(&mut self, pieces: &[&str]) {
        let start = self.out.len();
        pieces.iter().for_each(|piece| self.put(piece));
        if self.out.get(start) == Some(&b'.') {
            self.out.insert(start, b'.');
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// One logical line, broken between words; what is continued is indented, which folds a field and
    /// is easy to read in prose.
    fn folded(&mut self, pieces: &[&str]) {
        let text = pieces.concat();
        let mut column = 0;
        for word in text.split_ascii_whitespace().flat_map(cut_word) {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > COLUMNS {
                self.out.extend_from_slice(b"\r\n    ");
                column = 4;
            } else if column > 0 {
                self.out.push(b' ');
                column += 1;
            }
            self.put(word);
            column += width;
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn put(&mut self, text: &str) {
        let mut place = [0; 4];
        for character in text.chars() {
            let bad =
                (character.is_control() && character != '\t') || (self.ascii_only && !character.is_ascii());
            let character = if bad { '?' } else { character };
            self.out.extend_from_slice(character.encode_utf8(&mut place).as_bytes());
        }
    }
}

/// Cuts a word that no line could hold.
fn cut_word(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (first, after) = rest.split_at(crate::envelope::floor_char_boundary(rest, WORD_BYTES_MAX));
        rest = after;
        Some(first)
    })
}
