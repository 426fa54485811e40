//! Building notices: one message in RFC 3464 form, with room in the middle for the original.

use super::lines::Lines;
use super::template::{Template, Templates};
use super::{Action, Class, Status};
use crate::envelope::{Notify, Ret};
use crate::header::HeaderCursor;

/// RFC 2046 section 5.1.1: a boundary has at most 70 characters.
const BOUNDARY_BYTES_MAX: usize = 70;

/// The longest Message-Id that is repeated in a line of its own (RFC 5322 section 2.1.1: 998 with the field's name).
const MESSAGE_ID_BYTES_MAX: usize = 900;

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

/// Whom a notice is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// The sender, at this address: the reverse-path, or for one recipient of VERP mail the path of its own.
    Sender(&'a str),
    /// The postmaster, at this address: of mail whose sender cannot be told, and as a copy (`notify_classes`). It
    /// names every recipient, whatever the sender wanted to hear, and bears no prose.
    Postmaster(&'a str),
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
    /// `bounce_template_file`, or the built-in texts.
    pub templates: &'a Templates,
    /// `double_bounce_sender`, with its domain: the sender of notices to the postmaster, about which nobody is told.
    pub double_bounce: &'a str,
}

/// The message that is reported on.
#[derive(Clone, Copy, Debug)]
pub struct ReportedMail<'a> {
    /// Its queue id.
    pub queue_id: &'a str,
    /// Reverse-path; empty for the null sender.
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
    /// What became of it.
    pub action: Action,
}

impl<'a> ReportedRecipient<'a> {
    /// A recipient that cleanup has replaced by the addresses of an alias, for which the sender asked NOTIFY=SUCCESS:
    /// RFC 3461 section 5.2.7.3 reports the list as `expanded`, and its members are not asked to report success.
    pub fn expanded(
        address: &'a str,
        original: &'a str,
        orcpt: &'a str,
        notify: Notify,
    ) -> ReportedRecipient<'a> {
        ReportedRecipient {
            address,
            original,
            orcpt,
            notify,
            status: Status::success(0, 0),
            text: "alias expanded",
            reply: None,
            remote_mta: "",
            action: Action::Expanded,
        }
    }
}

/// A notice: a new message. Its content is `head`, the original, `tail`, all in
/// wire form (CRLF, dot-stuffed). It has neither Date nor Message-Id nor Received: it goes through
/// cleanup as every other message does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its sender: the null sender, or the double-bounce address.
    pub sender: String,
    /// Its only recipient.
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
    /// Where one more field can stand at the end of its header, in `head`.
    fields_end: usize,
}

impl Notice {
    /// Builds a notice, or none: for a sender who cannot be told (never bounce a bounce), for mail from the
    /// double-bounce address, and when no recipient is left that the audience is to hear of.
    ///
    /// `unique` tells apart the boundaries of several notices for one message: a time, or a counter.
    pub fn build<'a>(
        kind: NoticeKind,
        audience: Audience<'_>,
        options: &NoticeOptions<'_>,
        mail: &ReportedMail<'_>,
        recipients: impl Iterator<Item = ReportedRecipient<'a>> + Clone,
        unique: u64,
    ) -> Option<Notice> {
        let (sender, to) = match audience {
            Audience::Sender(address) => ("", address),
            Audience::Postmaster(address) => (options.double_bounce, address),
        };
        if to.is_empty() || mail.sender.eq_ignore_ascii_case(options.double_bounce) {
            return None;
        }
        let for_sender = matches!(audience, Audience::Sender(_));
        let wanted = recipients.filter(|recipient| match kind {
            _ if !for_sender => true,
            NoticeKind::Failure => recipient.notify.wants_failure(),
            NoticeKind::Delay => recipient.notify.wants_delay(),
            // Whom to confirm is decided where mail is delivered: NOTIFY is one reason among others.
            NoticeKind::Success => !recipient.notify.has(Notify::NEVER),
        });
        wanted.clone().next()?;

        // RFC 3461 section 4.3: RET is about failures; other notices return headers. The postmaster gets all of a
        // bounce that bounced, because nobody else has it, and the headers of what the sender gets as well.
        let whole = match audience {
            Audience::Sender(_) => mail.ret != Some(Ret::Headers),
            Audience::Postmaster(_) => mail.sender.is_empty(),
        };
        let fits = mail.content_bytes <= options.bounce_size_limit;
        let original = match kind {
            NoticeKind::Failure if whole && fits => Original::Full,
            _ => Original::Headers,
        };
        let template = options.templates.of(kind);
        let prose_is_ascii = to.is_ascii()
            && (!for_sender || template.text.iter().all(|line| line.is_ascii()))
            && wanted
                .clone()
                .all(|one| one.address.is_ascii() && one.original.is_ascii() && one.text.is_ascii());
        let boundary = boundary(mail.queue_id, unique, options.my_hostname);
        let eight_bit = mail.eight_bit || mail.smtputf8 || !prose_is_ascii;

        let mut lines = Lines::with_capacity(2048);
        let head = Head { template, audience, to, boundary: &boundary, eight_bit };
        let fields_end = head.write(&mut lines, options);
        let charset = if prose_is_ascii { template.charset.as_str() } else { "utf-8" };
        prose(&mut lines, for_sender.then_some(template), &boundary, charset, prose_is_ascii);
        for recipient in wanted.clone() {
            match original_address(&recipient) {
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

        let mut tail = Lines::with_capacity(80);
        tail.line(&[]);
        tail.line(&["--", &boundary, "--"]);
        Some(Notice {
            sender: sender.to_owned(),
            recipient: to.to_owned(),
            head: lines.out,
            original,
            tail: tail.out,
            smtputf8: mail.smtputf8,
            eight_bit,
            fields_end,
        })
    }

    /// Puts the notice into the thread of the message that it is about (`enable_threaded_bounces`): `References:` and
    /// `In-Reply-To:` name the Message-Id in `content`, the beginning of that message with all of its header. A notice
    /// to the postmaster, who does not have the message, stays as it is, and so does one about a message whose
    /// Message-Id is none (RFC 5322 section 3.6.4).
    pub fn join_thread(&mut self, content: &[u8]) {
        if !self.sender.is_empty() {
            return;
        }
        let mut headers = HeaderCursor::new(content, true);
        let Some(header) = headers.find(|header| header.is("Message-Id")) else { return };
        let id = header.value_text(MESSAGE_ID_BYTES_MAX + 1);
        let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or_default();
        let is_id = !inner.is_empty()
            && inner.bytes().all(|byte| byte > b' ' && byte != b'<' && byte != b'>')
            && (self.smtputf8 || inner.is_ascii())
            && id.len() <= MESSAGE_ID_BYTES_MAX;
        if is_id {
            let mut lines = Lines::with_capacity(2 * id.len() + 32);
            lines.line(&["References: ", &id]);
            lines.line(&["In-Reply-To: ", &id]);
            self.head.splice(self.fields_end..self.fields_end, lines.out);
        }
    }
}

/// The address before aliases, if it says more than the final one.
fn original_address<'a>(recipient: &ReportedRecipient<'a>) -> &'a str {
    match recipient.original {
        original if original.eq_ignore_ascii_case(recipient.address) => "",
        original => original,
    }
}

/// How many bytes of a message in wire form are its headers, without the empty line behind them.
pub fn header_bytes(content: &[u8]) -> usize {
    if content.starts_with(b"\r\n") {
        return 0;
    }
    memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |found| found + 2)
}

/// The fields at the beginning.
struct Head<'a> {
    template: &'a Template,
    audience: Audience<'a>,
    to: &'a str,
    boundary: &'a str,
    eight_bit: bool,
}

impl Head<'_> {
    /// Writes the fields and what stands before the first part; answers where one more field could stand.
    fn write(&self, lines: &mut Lines, options: &NoticeOptions<'_>) -> usize {
        // RFC 3834 section 5: a reply to the message is auto-replied, what nobody's message asked for auto-generated.
        let (subject, submitted) = match self.audience {
            Audience::Sender(_) => (&self.template.subject, "auto-replied"),
            Audience::Postmaster(_) => (&self.template.postmaster_subject, "auto-generated"),
        };
        lines.line(&["From: ", &with_origin(&self.template.from, options.origin)]);
        lines.line(&["Subject: ", subject]);
        lines.line(&["To: ", self.to]);
        lines.line(&["Auto-Submitted: ", submitted]);
        lines.line(&["MIME-Version: 1.0"]);
        lines.line(&["Content-Type: multipart/report; report-type=delivery-status;"]);
        lines.line(&["\tboundary=\"", self.boundary, "\""]);
        if self.eight_bit {
            lines.line(&["Content-Transfer-Encoding: 8bit"]);
        }
        let fields_end = lines.out.len();
        lines.line(&[]);
        lines.line(&["This is a MIME-encapsulated message."]);
        lines.line(&[]);
        fields_end
    }
}

/// A `From:` value whose address has no domain gets the origin: `Name <local>` and `local (Name)` are the two forms.
pub(super) fn with_origin(from: &str, origin: &str) -> String {
    let end = match from.rfind('>') {
        Some(end) => end,
        None => from.find([' ', '\t', '(']).unwrap_or(from.len()),
    };
    if origin.is_empty() || from[..end].contains('@') {
        return from.to_owned();
    }
    format!("{}@{origin}{}", &from[..end], &from[end..])
}

/// The part for people, up to the list of recipients.
fn prose(lines: &mut Lines, template: Option<&Template>, boundary: &str, charset: &str, ascii: bool) {
    lines.line(&["--", boundary]);
    lines.line(&["Content-Description: Notification"]);
    lines.line(&["Content-Type: text/plain; charset=", charset]);
    if !ascii {
        lines.line(&["Content-Transfer-Encoding: 8bit"]);
    }
    lines.line(&[]);
    if let Some(template) = template {
        template.text.iter().for_each(|line| lines.line(&[line]));
        lines.line(&[]);
    }
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
    if !mail.sender.is_empty() {
        lines.line(&[
            "X-",
            options.mail_name,
            "-Sender: ",
            address_type(mail.sender, mail),
            "; ",
            mail.sender,
        ]);
    }
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
        lines.line(&["Action: ", recipient.action.word()]);
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
