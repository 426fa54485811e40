//! Cleaning of a message's content that is checked or rewritten, in one pass, while it arrives.
//!
//! - What it is: [`Cleaner`], fed with content in wire form, cut anywhere; the same content cut otherwise gives the same.
//! - Receives: content; what is known of the message ([`Inspection`]).
//! - Sends: pieces, as [`super::clean_head`] does: ranges of what it was fed with, or bytes of ours; lookups.
//! - Owns: one header at a time; the MIME structure; what checks have decided.
//! - Limits: `header_size_limit` bytes of a header; a line of `line_length_limit` bytes is looked at in parts.
//! - On failure: the message is read on, and refused at its end ([`Cleaned::refusal`]).
//! - Standards: Postfix's cleanup(8), header_checks(5); RFC 5322 §2.2 and §3.6.

mod header;

pub(crate) use header::{has_addresses, header_name, is_of_part, wire};

use std::ops::Range;

use memchr::memmem;

use super::characters::CharacterSet;
use super::checks::{Checks, Fate, Inspected, Origin};
use super::mapping::{MappingSettings, Trouble};
use super::mime::{Mime, MimeError, MimeSettings};
use super::note::CleanupNote;
use super::{CleanupSettings, Edit, Facts, Piece, Seen};
use crate::lookup::Tables;
use crate::maps::{Key, Maps};
use crate::message_actions::MessageActions;
use crate::reply::Reply;
use crate::resolve::ResolveSettings;
use crate::rewrite::Context;

/// What the administrator decided about content.
#[derive(Debug, Clone, Default)]
pub struct ContentSettings {
    /// `header_checks`.
    pub header_checks: Maps,
    /// `mime_header_checks`.
    pub mime_header_checks: Maps,
    /// `nested_header_checks`.
    pub nested_header_checks: Maps,
    /// `body_checks`.
    pub body_checks: Maps,
    /// `body_checks_size_limit`: bytes of each part that are checked; 0 for all.
    pub body_checks_bytes_max: u64,
    /// MIME.
    pub mime: MimeSettings,
    /// `header_address_token_limit`.
    pub header_tokens_max: usize,
    /// `line_length_limit`: longer lines are checked in parts.
    pub line_bytes_max: usize,
    /// `message_reject_characters`.
    pub reject_characters: CharacterSet,
    /// `message_strip_characters`.
    pub strip_characters: CharacterSet,
    /// `undisclosed_recipients_header`; empty for none.
    pub undisclosed_recipients_header: String,
}

impl ContentSettings {
    /// Whether any content is looked at for what is in it.
    pub fn checks_anything(&self) -> bool {
        let MimeSettings { strict_headers, strict_body, strict_encoding, .. } = self.mime;
        let maps =
            [&self.header_checks, &self.mime_header_checks, &self.nested_header_checks, &self.body_checks];
        maps.iter().any(|maps| !maps.is_empty())
            || strict_headers
            || strict_body
            || strict_encoding
            || !self.reject_characters.is_empty()
            || !self.strip_characters.is_empty()
    }
}

/// One message's inspection: what is configured, and what is known.
#[derive(Debug)]
pub struct Inspection<'a, T> {
    /// The header block's settings.
    pub head: &'a CleanupSettings,
    /// The checks.
    pub content: &'a ContentSettings,
    /// Mapping of addresses in headers.
    pub mapping: &'a MappingSettings,
    /// How addresses are completed.
    pub resolve: &'a ResolveSettings,
    /// The tables.
    pub tables: &'a T,
    /// What is known.
    pub facts: &'a Facts<'a>,
    /// For log lines.
    pub origin: Origin<'a>,
    /// Headers to stand before all others, without line ends.
    pub prepend: &'a [Box<str>],
    /// How addresses in headers are completed; `None`: they are left alone.
    pub context: Option<Context>,
    /// Tables map addresses in headers.
    pub by_tables: bool,
    /// Content is checked: not with `receive_override_options = no_header_body_checks`.
    pub checks: bool,
}

/// What [`Cleaner::feed`] made of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fed {
    /// What is to be stored, in order.
    pub pieces: Vec<Piece>,
    /// Bytes of the input that were dealt with; the others are to come again, with more behind them.
    pub consumed: usize,
    /// Nothing that follows needs to be looked at.
    pub passes: bool,
}

/// What became of a message.
#[derive(Debug)]
pub struct Cleaned {
    /// The reply that refuses the message.
    pub refusal: Option<Reply>,
    /// What is to be done with it.
    pub actions: MessageActions,
    /// The message-id for the log, with its angle brackets; empty when the message has none.
    pub message_id: String,
    /// Bytes that the message grew by (negative: shrank).
    pub grown_bytes: i64,
    /// The message says that its content has 8-bit text, though the transaction did not declare it.
    pub eight_bit: bool,
}

/// The header that is being read: its text with LF between lines and without dot-stuffing.
#[derive(Debug, Default)]
struct HeldHeader {
    text: Vec<u8>,
    /// Where it begins in what is being fed; `None` if that was before.
    from: Option<usize>,
    /// The text differs from what was read.
    changed: bool,
    under_way: bool,
}

/// The state between two feeds.
#[derive(Debug)]
pub struct Cleaner {
    mime: Mime,
    checks: Checks,
    seen: Seen,
    hops: usize,
    message_id: Option<String>,
    held: HeldHeader,
    /// A line has begun in what was fed before.
    within_line: bool,
    begun: bool,
    /// The MIME fault that refuses the message.
    mime_fault: Option<MimeError>,
    /// A table could not be asked.
    trouble: Option<Trouble>,
    grown_bytes: i64,
    eight_bit: bool,
}

/// A line, or a part of one that is long.
#[derive(Debug, Clone)]
struct Line {
    /// With its end.
    range: Range<usize>,
    /// Without its end and without dot-stuffing.
    text: Range<usize>,
    ends: bool,
}

impl Cleaner {
    /// A cleaner at the start of a message; `checks` as in [`Inspection`].
    pub fn new(checks: bool) -> Cleaner {
        Cleaner {
            mime: Mime::new(),
            checks: Checks::new(checks),
            seen: Seen::default(),
            hops: 0,
            message_id: None,
            held: HeldHeader::default(),
            within_line: false,
            begun: false,
            mime_fault: None,
            trouble: None,
            grown_bytes: 0,
            eight_bit: false,
        }
    }

    /// Lines for the log since the last call.
    pub fn take_notes(&mut self) -> Vec<CleanupNote> {
        std::mem::take(&mut self.checks.notes)
    }

    /// Takes content; `last` says that no more comes, and then all of it is dealt with.
    pub async fn feed<T: Tables>(&mut self, world: &Inspection<'_, T>, input: &[u8], last: bool) -> Fed {
        let mut edit = Edit { pieces: Vec::with_capacity(8), kept_to: 0, grown: 0 };
        let mut at = 0;
        if !self.begun {
            self.begun = true;
            self.own_headers(world, &mut edit).await;
            edit.protect_first_line(input);
            at = edit.kept_to;
        }
        let mut passes = false;
        loop {
            if self.mime.headers().is_none() {
                if !self.follows_body(world) {
                    at = input.len();
                    passes = true;
                    break;
                }
                if !self.reads_lines(world) {
                    at = self.skip(input, at);
                }
            }
            let part_bytes = world.content.line_bytes_max;
            let Some(next) = next_line(&input[at..], part_bytes, self.within_line, last) else { break };
            let line = Line {
                range: at..at + next.bytes,
                text: at + next.text.start..at + next.text.end,
                ends: next.ends,
            };
            at = line.range.end;
            match self.mime.headers() {
                Some(class) => self.line_of_headers(world, &mut edit, input, line, class).await,
                None => self.line_of_body(world, &mut edit, input, line).await,
            }
        }
        if last && self.mime.headers().is_some() {
            self.end_header(world, &mut edit, at).await;
            self.end_headers_by_input(world, &mut edit, input, at).await;
        } else if let Some(from) = self.held.from.take() {
            // It will be put whole, when it is whole.
            edit.drop_range(from..at);
        } else if self.held.under_way {
            edit.drop_range(edit.kept_to..at);
        }
        edit.keep_to(at);
        self.grown_bytes += edit.grown;
        Fed { pieces: edit.pieces, consumed: at, passes }
    }

    /// What became of the message, when all of it was fed.
    pub fn finish(self, settings: &CleanupSettings) -> Cleaned {
        let too_many_hops = self.hops >= settings.hopcount_limit;
        let refusal = match self.checks.refusal {
            Some(reply) if reply.code() < 500 => Some(reply),
            _ if too_many_hops => Some(super::TOO_MANY_HOPS),
            Some(reply) => Some(reply),
            None => self.trouble.map(Trouble::reply),
        };
        Cleaned {
            refusal,
            actions: self.checks.actions,
            message_id: self.message_id.unwrap_or_default(),
            grown_bytes: self.grown_bytes,
            eight_bit: self.eight_bit,
        }
    }

    /// Whether headers may still say that the content is 8-bit.
    fn wants_encoding<T>(&self, world: &Inspection<'_, T>) -> bool {
        !self.eight_bit && world.facts.wants_encoding(world.head)
    }

    /// Whether the body has to be followed from part to part.
    fn follows_body<T>(&self, world: &Inspection<'_, T>) -> bool {
        if !self.mime.is_flat() && self.wants_encoding(world) {
            return true;
        }
        if !self.checks.on {
            return false;
        }
        let content = world.content;
        let parts = !content.mime_header_checks.is_empty()
            || !content.nested_header_checks.is_empty()
            || !content.body_checks.is_empty()
            || content.mime.strict_headers
            || content.mime.strict_encoding;
        self.reads_lines(world) || (parts && !self.mime.is_flat())
    }

    /// Whether every line of the body matters, and not only those that may begin or end a part.
    fn reads_lines<T>(&self, world: &Inspection<'_, T>) -> bool {
        let content = world.content;
        self.checks.on
            && (!content.reject_characters.is_empty()
                || !content.strip_characters.is_empty()
                || content.mime.strict_body
                || self.checks_body_here(world))
    }

    /// Passes lines of the body that are no boundary: where the next one may begin, or the last line, whose end has not come.
    fn skip(&mut self, input: &[u8], at: usize) -> usize {
        let rest = &input[at..];
        let text = rest.strip_prefix(b".").unwrap_or(rest);
        if !self.within_line && (text.len() < 2 || text.starts_with(b"--")) {
            return at;
        }
        let begins_line = |found: &usize| {
            let before = &rest[..*found];
            before.strip_suffix(b".").unwrap_or(before).ends_with(b"\r\n")
        };
        let next = match memmem::find_iter(rest, b"--").find(begins_line) {
            Some(found) => found - usize::from(rest[found - 1] == b'.'),
            None => match memmem::rfind(rest, b"\r\n") {
                Some(found) => found + 2,
                None => return at,
            },
        };
        self.within_line = false;
        at + next
    }

    fn checks_body_here<T>(&self, world: &Inspection<'_, T>) -> bool {
        let limit = world.content.body_checks_bytes_max;
        !world.content.body_checks.is_empty() && (limit == 0 || self.mime.offset() < limit)
    }

    async fn line_of_body<T: Tables>(
        &mut self,
        world: &Inspection<'_, T>,
        edit: &mut Edit,
        input: &[u8],
        line: Line,
    ) {
        let begins = !self.within_line;
        self.within_line = !line.ends;
        let mut text = &input[line.text.clone()];
        let stripped;
        let mut new: Option<Vec<u8>> = None;
        if self.checks.on {
            if world.content.reject_characters.is_in(text) {
                self.checks.reject(
                    Inspected::Content,
                    text,
                    "disallowed character",
                    "character reject",
                    &world.origin,
                );
            } else if world.content.strip_characters.is_in(text) {
                stripped = world.content.strip_characters.without(text);
                new = Some(stripped.clone());
                text = &stripped;
            }
        }
        if let Some(error) = self.mime.body_line(&world.content.mime, text, begins) {
            self.mime_error(error, text, world);
        }
        let mut fate = Fate::Keep;
        if self.checks.on && !text.is_empty() && self.checks_body_here(world) {
            fate = self.check(world, Inspected::Body, "body_checks", &world.content.body_checks, text).await;
        }
        self.mime.passed(text.len() + usize::from(line.ends));
        match fate {
            Fate::Keep => {
                if let Some(new) = new {
                    edit.drop_range(line.range);
                    edit.put(stuffed(&new, begins, line.ends));
                }
            }
            Fate::Drop => edit.drop_range(line.range),
            Fate::Replace(text) => {
                edit.drop_range(line.range);
                edit.put(stuffed(text.as_bytes(), begins, line.ends));
            }
            Fate::Prepend(text) => {
                edit.keep_to(line.range.start);
                edit.put(stuffed(text.as_bytes(), begins, true));
                if let Some(new) = new {
                    edit.drop_range(line.range);
                    edit.put(stuffed(&new, begins, line.ends));
                }
            }
        }
    }

    /// Asks a table of checks about a line.
    async fn check<T: Tables>(
        &mut self,
        world: &Inspection<'_, T>,
        what: Inspected,
        parameter: &'static str,
        maps: &Maps,
        line: &[u8],
    ) -> Fate {
        let key = String::from_utf8_lossy(line);
        match maps.find(world.tables, &key, Key::Whole).await {
            Ok(None) => Fate::Keep,
            Ok(Some(value)) => self.checks.act(what, line, &value, parameter, &world.origin),
            Err(trouble) => {
                self.checks.warn(trouble.to_string());
                self.checks
                    .warn(format!("{parameter} map lookup problem -- message not accepted, try again later"));
                self.trouble = Some(Trouble::Table);
                Fate::Keep
            }
        }
    }

    fn mime_error<T>(&mut self, error: MimeError, line: &[u8], world: &Inspection<'_, T>) {
        if !self.checks.on {
            return;
        }
        let shown = String::from_utf8_lossy(&line[..line.len().min(100)]);
        let Origin { client, sender, recipient, .. } = world.origin;
        let text = error.text();
        self.checks.notes.push(CleanupNote::info(format!(
            "reject: mime-error {text}: {shown} from {client}; from=<{sender}> to=<{recipient}>"
        )));
        // Of several faults the client hears the gravest, as in Postfix.
        let is_first = self.checks.refusal.is_none();
        if is_first || self.mime_fault.is_some_and(|known| error < known) {
            self.mime_fault = Some(error);
            self.checks.refusal = Some(Reply::new(550, "5.6.0", text));
        }
    }
}

/// A line, or a part of one that is long, at the start of some content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextLine {
    /// How long it is, with its end.
    pub(crate) bytes: usize,
    /// Where its text is, without its end and without dot-stuffing.
    pub(crate) text: Range<usize>,
    pub(crate) ends: bool,
}

/// The line at the start of `content`, of which `part_bytes` are looked at together; `None` when its end, or the end of
/// such a part, is not there yet. `within`: the line began before. `last`: nothing more comes.
pub(crate) fn next_line(content: &[u8], part_bytes: usize, within: bool, last: bool) -> Option<NextLine> {
    let first = content.first()?;
    let part_bytes = part_bytes.max(1);
    let window = &content[..content.len().min(part_bytes + 2)];
    let (bytes, text_end, ends) = match memmem::find(window, b"\r\n") {
        Some(found) => (found + 2, found, true),
        None if window.len() == part_bytes + 2 => (part_bytes, part_bytes, false),
        None if last => (content.len(), content.len(), true),
        None => return None,
    };
    let stuffed = usize::from(!within && *first == b'.');
    Some(NextLine { bytes, text: stuffed..text_end.max(stuffed), ends })
}

/// A line in wire form.
pub(crate) fn stuffed(text: &[u8], begins: bool, ends: bool) -> Vec<u8> {
    let mut wire = Vec::with_capacity(text.len() + 3);
    if begins && text.first() == Some(&b'.') {
        wire.push(b'.');
    }
    wire.extend_from_slice(text);
    if ends {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

#[cfg(test)]
#[path = "content/tests.rs"]
mod tests;
