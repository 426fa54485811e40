//! cleanup: the header block of a message that is being accepted.
//!
//! - What it is: one pure function, [`clean_head`], for mail of which nothing is configured; [`Cleaner`] for all other.
//! - Receives: the beginning of the content in wire form, and what the session and the clock know ([`Facts`]).
//! - Sends: a list of pieces (ranges of the content, or bytes of ours) to be stored in place of the header block; the
//!   body is never touched or copied. Or the reply that refuses the message.
//! - Limits: `header_size_limit` bytes of a header. The block may be of any size: one that is not all in the first piece
//!   of the content is a [`Cleaner`]'s work, which keeps one header in memory.
//! - On failure: `554 5.4.0 Error: too many hops`.
//! - Standards: RFC 5321 §4.4 (Received), §6.3 (loops); RFC 5322 §3.6; RFC 6531 §4.3 (UTF8SMTP).

mod address_list;
mod characters;
mod checks;
mod content;
mod encoding;
mod envelope;
mod mapping;
mod mime;
mod note;
mod plain;
mod recipients;
mod trace;

use std::net::IpAddr;
use std::ops::Range;

pub use characters::CharacterSet;
pub use checks::Origin;
pub use content::{Cleaned, Cleaner, ContentSettings, Fed, Inspection};
pub use envelope::{
    AskedRecipient, MappedEnvelope, MappedRecipient, MappingRules, leaves_as_is, map_recipient,
};
pub use mapping::{CanonicalMaps, Mapper, MappingSettings, Trouble, Use, Uses};
pub use mime::MimeSettings;
pub use note::CleanupNote;
pub use plain::has_plain_addresses;
pub use recipients::first_occurrences;

// What is done to mail that leaves is made of the same parts.
pub(crate) use address_list::{AddressList, folded};
pub(crate) use checks::{Fate, Inspected, LOGGED_BYTES_MAX, LineEdit};
pub(crate) use content::{has_addresses, header_name, is_of_part, next_line, stuffed, wire};
pub(crate) use mime::{HeaderClass, Mime};

use crate::address::Address;
use crate::envelope::BodyKind;
use crate::header::{BlockEnd, Header, HeaderCursor};
use crate::reply::Reply;

/// The message loops.
const TOO_MANY_HOPS: Reply = Reply::fixed("554 5.4.0 Error: too many hops");

/// Bytes of a message-id shown in the log.
const LOGGED_MESSAGE_ID_BYTES_MAX: usize = 500;

/// Parameters.
#[derive(Debug, Clone)]
pub struct CleanupSettings {
    /// `myhostname`.
    pub myhostname: String,
    /// `mail_name`.
    pub mail_name: String,
    /// `hopcount_limit`: Received headers, our own among them, that make a loop.
    pub hopcount_limit: usize,
    /// `message_drop_headers`, in any case.
    pub message_drop_headers: Vec<String>,
    /// `header_size_limit`, bytes: of a longer header the rest is discarded.
    pub header_bytes_max: usize,
    /// `detect_8bit_encoding_header`: a message that says so in its headers counts as 8BITMIME.
    pub detects_encoding: bool,
}

impl CleanupSettings {
    /// Postfix's defaults for a host of this name.
    pub fn new(myhostname: &str) -> CleanupSettings {
        CleanupSettings {
            myhostname: myhostname.to_owned(),
            mail_name: "Postfix".to_owned(),
            hopcount_limit: 50,
            message_drop_headers: ["bcc", "content-length", "resent-bcc", "return-path"]
                .map(str::to_owned)
                .to_vec(),
            header_bytes_max: 102_400,
            detects_encoding: true,
        }
    }
}

/// What is known of one message beside its content.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The name from HELO or EHLO.
    pub helo: Option<&'a str>,
    /// The client's verified name.
    pub client_name: Option<&'a str>,
    /// The client's address.
    pub client_address: IpAddr,
    /// `SMTP` or `ESMTP`.
    pub protocol: &'a str,
    /// The transaction declared SMTPUTF8.
    pub smtputf8: bool,
    /// What the transaction declared of the content.
    pub body: BodyKind,
    /// The queue id.
    pub queue_id: &'a str,
    /// The time of arrival as a header prints it (RFC 5322 §3.3).
    pub date: &'a str,
    /// The envelope sender; empty for the null sender.
    pub sender: &'a str,
    /// The recipient, when there is exactly one.
    pub recipient: Option<&'a Address>,
    /// The id for a message that has none, without angle brackets (`QID@myhostname`).
    pub message_id: &'a str,
    /// The client is local (`local_header_rewrite_clients`), or `always_add_missing_headers` is set.
    pub add_missing_headers: bool,
}

/// The first headers of a message that the system itself writes (a notice): trace, date and message-id.
pub fn local_headers(settings: &CleanupSettings, queue_id: &str, date: &str) -> Vec<u8> {
    trace::local_headers(settings, queue_id, date)
}

/// A piece of the new beginning of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes of the content.
    Keep(Range<usize>),
    /// These bytes of ours, in wire form.
    Put(Vec<u8>),
}

/// What [`clean_head`] makes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanedHead {
    /// The new beginning, in order.
    pub pieces: Vec<Piece>,
    /// After the pieces comes the content from here on, as it is.
    pub rest_from: usize,
    /// The message-id for the log, with its angle brackets; empty when the message has none.
    pub message_id: String,
    /// Bytes that the message grew by (negative: shrank).
    pub grown_bytes: i64,
    /// The message says that its content has 8-bit text, though the transaction did not declare it.
    pub eight_bit: bool,
}

impl CleanedHead {
    /// The whole message put together: for tests and small tools; a store takes the pieces.
    pub fn assemble(&self, content: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(content.len() + 512);
        for piece in &self.pieces {
            match piece {
                Piece::Keep(range) => whole.extend_from_slice(&content[range.clone()]),
                Piece::Put(bytes) => whole.extend_from_slice(bytes),
            }
        }
        whole.extend_from_slice(&content[self.rest_from..]);
        whole
    }
}

/// The headers that matter for what is missing.
#[derive(Debug, Default)]
struct Seen {
    from: bool,
    date: bool,
    message_id: bool,
    resent: bool,
    resent_from: bool,
    resent_date: bool,
    resent_message_id: bool,
    /// To, Cc, or one of their Resent- kind.
    recipient: bool,
}

impl Seen {
    /// Takes a header that is neither Received nor Message-Id.
    fn see(&mut self, header: &Header<'_>) {
        if header.is("From") {
            self.from = true;
        } else if header.is("Date") {
            self.date = true;
        } else if header.is("To") || header.is("Cc") {
            self.recipient = true;
        } else if header.name.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"Resent-")) {
            self.resent |= RESENT.iter().any(|known| header.is(known));
            self.resent_from |= header.is("Resent-From");
            self.resent_date |= header.is("Resent-Date");
            self.resent_message_id |= header.is("Resent-Message-Id");
            self.recipient |= header.is("Resent-To") || header.is("Resent-Cc");
        }
    }
}

impl Facts<'_> {
    /// Whether headers may say that the content is 8BITMIME.
    fn wants_encoding(&self, settings: &CleanupSettings) -> bool {
        settings.detects_encoding && self.body == BodyKind::SevenBit
    }
}

/// Headers that say that a message was sent on by somebody.
const RESENT: [&str; 8] = [
    "Resent-Bcc",
    "Resent-Cc",
    "Resent-Date",
    "Resent-From",
    "Resent-Message-Id",
    "Resent-Reply-To",
    "Resent-Sender",
    "Resent-To",
];

/// Examines the beginning of a message's content. `whole` says that `head` is all of it. `None` for what takes a
/// [`Cleaner`]: a header block that does not end here, a header of which only a part may stay, parts that may say what the
/// message is encoded in.
///
/// # Errors
/// The reply that refuses the message, when it has travelled too far.
pub fn clean_head(
    settings: &CleanupSettings,
    facts: &Facts<'_>,
    head: &[u8],
    whole: bool,
) -> Result<Option<CleanedHead>, Reply> {
    let mut edit = Edit { pieces: Vec::with_capacity(4), kept_to: 0, grown: 0 };
    edit.put(trace::received(settings, facts));
    edit.protect_first_line(head);

    let mut seen = Seen::default();
    let mut hops = 1; // our own Received:
    let mut message_id = None;
    let mut encoding = encoding::Seen::default();
    let wants_encoding = facts.wants_encoding(settings);
    let mut cursor = edit.cursor(head, whole);
    for header in cursor.by_ref() {
        if header.range.len() > settings.header_bytes_max {
            return Ok(None);
        }
        if header.is("Received") {
            hops += 1;
        } else if header.is("Message-Id") {
            seen.message_id = true;
            message_id.get_or_insert_with(|| header.value_text(LOGGED_MESSAGE_ID_BYTES_MAX));
        } else {
            seen.see(&header);
        }
        if wants_encoding {
            encoding.see(&header);
        }
        if settings.message_drop_headers.iter().any(|name| header.is(name)) {
            edit.drop_range(header.range);
        }
    }
    if hops >= settings.hopcount_limit {
        return Err(TOO_MANY_HOPS);
    }
    let end = cursor.end();
    if !whole && matches!(end, BlockEnd::Input(_)) {
        return Ok(None);
    }
    if encoding.is_open() && (!whole || encoding::may_be_declared(&head[end.at()..])) {
        return Ok(None);
    }
    edit.keep_to(end.at());
    if facts.add_missing_headers {
        // A last header without line end cannot occur in wire form, but nothing may ever join two headers.
        if matches!(end, BlockEnd::Input(at) if at > 0 && !head[..at].ends_with(b"\r\n")) {
            edit.put(b"\r\n".to_vec());
        }
        let (text, new_id) = trace::missing_headers(&seen, facts);
        if !text.is_empty() {
            edit.put(text);
        }
        if let Some(new_id) = new_id.filter(|_| !seen.resent) {
            message_id.get_or_insert(new_id);
        }
    }
    if matches!(end, BlockEnd::Text(_)) {
        // The body begins without a blank line; without this one it would be read as header.
        edit.put(b"\r\n".to_vec());
    }
    Ok(Some(CleanedHead {
        rest_from: edit.kept_to,
        pieces: edit.pieces,
        message_id: message_id.unwrap_or_default(),
        grown_bytes: edit.grown,
        eight_bit: encoding.eight_bit,
    }))
}

/// The list under way. Invariant: `content[..kept_to]` is dealt with, by a `Keep` or by having been dropped.
struct Edit {
    pieces: Vec<Piece>,
    kept_to: usize,
    grown: i64,
}

impl Edit {
    fn put(&mut self, bytes: Vec<u8>) {
        self.grown += bytes.len() as i64;
        self.pieces.push(Piece::Put(bytes));
    }

    fn keep_to(&mut self, to: usize) {
        if to > self.kept_to {
            match self.pieces.last_mut() {
                Some(Piece::Keep(range)) if range.end == self.kept_to => range.end = to,
                _ => self.pieces.push(Piece::Keep(self.kept_to..to)),
            }
            self.kept_to = to;
        }
    }

    fn drop_range(&mut self, range: Range<usize>) {
        self.keep_to(range.start);
        self.grown -= range.len() as i64;
        self.kept_to = range.end;
    }

    /// A first line `From …` of a mailbox file becomes a header, as Postfix's smtpd does.
    fn protect_first_line(&mut self, head: &[u8]) {
        let quotes = head.iter().take_while(|byte| **byte == b'>').count();
        if head[quotes..].get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"From ")) {
            // `From : x` is an odd spelling of a header, not a mailbox separator.
            if !head[quotes + 5..].trim_ascii_start().starts_with(b":") {
                self.put(b"X-Mailbox-Line: ".to_vec());
                let line = memchr::memmem::find(head, b"\r\n").map_or(head.len(), |end| end + 2);
                self.keep_to(line);
            }
        }
    }

    /// The headers that follow what is dealt with; positions count from the start of `head`.
    fn cursor<'a>(&self, head: &'a [u8], whole: bool) -> HeaderCursor<'a> {
        HeaderCursor::starting_at(head, self.kept_to, whole)
    }
}

#[cfg(test)]
mod tests;
