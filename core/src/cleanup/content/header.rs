//! Headers: put together from their lines, checked, counted, rewritten, dropped; those that are missing added.

use super::{Cleaner, Inspection, Line, stuffed};
use crate::cleanup::address_list::{AddressList, folded};
use crate::cleanup::checks::{Fate, Inspected, is_header};
use crate::cleanup::encoding::declares_eight_bit;
use crate::cleanup::mapping::{Mapper, Use};
use crate::cleanup::mime::HeaderClass;
use crate::cleanup::{Edit, LOGGED_MESSAGE_ID_BYTES_MAX, trace};
use crate::header::Header;
use crate::lookup::Tables;
use crate::maps::Maps;
use crate::rewrite::Context;

/// Headers whose addresses are senders, and those whose addresses are recipients.
const SENDERS: [&str; 10] = [
    "From",
    "Sender",
    "Reply-To",
    "Return-Path",
    "Errors-To",
    "Return-Receipt-To",
    "Disposition-Notification-To",
    "Mail-Followup-To",
    "Resent-From",
    "Resent-Sender",
];
const RECIPIENTS: [&str; 8] =
    ["To", "Cc", "Bcc", "Apparently-To", "Resent-To", "Resent-Cc", "Resent-Bcc", "Resent-Reply-To"];

/// Headers that describe parts, wherever they stand.
const OF_PARTS: [&str; 6] = [
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Content-Description",
    "Content-ID",
    "MIME-Version",
];

impl Cleaner {
    /// Headers that stand before the client's: they are checked like those.
    pub(super) async fn own_headers<T: Tables>(&mut self, world: &Inspection<'_, T>, edit: &mut Edit) {
        for line in world.prepend {
            self.made_header(world, edit, line.as_bytes().to_vec()).await;
        }
        let received = trace::received(world.head, world.facts);
        let text = received.strip_suffix(b"\r\n").unwrap_or(&received);
        let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
        self.made_header(world, edit, text.into_bytes()).await;
    }

    async fn made_header<T: Tables>(&mut self, world: &Inspection<'_, T>, edit: &mut Edit, text: Vec<u8>) {
        self.held.text = text;
        self.held.from = None;
        self.held.changed = true;
        self.held.under_way = true;
        self.end_header(world, edit, 0).await;
    }

    /// Takes a line, or a part of one, where headers are.
    pub(super) async fn line_of_headers<T: Tables>(
        &mut self,
        world: &Inspection<'_, T>,
        edit: &mut Edit,
        input: &[u8],
        line: Line,
        class: HeaderClass,
    ) {
        let text = &input[line.text.clone()];
        let begins = !self.within_line;
        if self.held.under_way && (!begins || matches!(text.first(), Some(b' ' | b'\t'))) {
            self.within_line = !line.ends;
            return self.hold(world, text, begins);
        }
        self.end_header(world, edit, line.range.start).await;
        if let Some((name_bytes, gap)) = header_name(text) {
            self.within_line = !line.ends;
            self.held.under_way = true;
            self.held.from = Some(line.range.start);
            self.held.changed = gap > 0;
            self.held.text.clear();
            self.held.text.extend_from_slice(&text[..name_bytes]);
            self.held.text.extend_from_slice(&text[name_bytes + gap..]);
            return;
        }
        // The headers end here; this line belongs to the body, or is the blank one before it.
        let blank = text.is_empty() && line.ends;
        if class == HeaderClass::Primary {
            edit.keep_to(line.range.start);
            self.add_missing(world, edit);
            if !blank {
                edit.put(b"\r\n".to_vec());
            }
        }
        if let Some((error, about)) = self.mime.end_of_headers(&world.content.mime, blank) {
            self.mime_error(error, about.as_bytes(), world);
        }
        match self.mime.headers() {
            // The blank line before an attached message's headers.
            Some(_) => self.within_line = false,
            None => self.line_of_body(world, edit, input, line).await,
        }
    }

    /// Adds to the header that is being read, as long as it is not too long.
    fn hold<T>(&mut self, world: &Inspection<'_, T>, text: &[u8], begins: bool) {
        if self.held.text.len() >= world.head.header_bytes_max {
            self.held.changed = true;
            return;
        }
        if begins {
            self.held.text.push(b'\n');
        }
        self.held.text.extend_from_slice(text);
    }

    /// The message ends within a block of headers.
    pub(super) async fn end_headers_by_input<T: Tables>(
        &mut self,
        world: &Inspection<'_, T>,
        edit: &mut Edit,
        input: &[u8],
        at: usize,
    ) {
        if self.mime.headers() != Some(HeaderClass::Primary) {
            return;
        }
        edit.keep_to(at);
        // A last header without line end cannot occur in wire form, but nothing may ever join two headers.
        if at > 0 && !input[..at].ends_with(b"\r\n") {
            edit.put(b"\r\n".to_vec());
        }
        self.add_missing(world, edit);
    }

    fn add_missing<T>(&mut self, world: &Inspection<'_, T>, edit: &mut Edit) {
        if !world.facts.add_missing_headers {
            return;
        }
        let (mut text, new_id) = trace::missing_headers(&self.seen, world.facts);
        if let Some(new_id) = new_id.filter(|_| !self.seen.resent) {
            self.message_id.get_or_insert(new_id);
        }
        let undisclosed = &world.content.undisclosed_recipients_header;
        if !self.seen.recipient && !undisclosed.is_empty() {
            match is_header(undisclosed) {
                true => text.extend_from_slice(&wire(undisclosed.as_bytes())),
                false => self.checks.warn(format!(
                    "bad undisclosed_recipients_header header text \"{undisclosed}\" -- need \"headername: headervalue\""
                )),
            }
        }
        if !text.is_empty() {
            edit.put(text);
        }
    }

    /// The header that is being read is whole; what follows it begins at `end`.
    pub(super) async fn end_header<T: Tables>(
        &mut self,
        world: &Inspection<'_, T>,
        edit: &mut Edit,
        end: usize,
    ) {
        if !std::mem::take(&mut self.held.under_way) {
            return;
        }
        let mut text = std::mem::take(&mut self.held.text);
        let from = self.held.from.take();
        let mut changed = std::mem::take(&mut self.held.changed) || from.is_none();
        let mut before = Vec::new();
        let kept = self.examine(world, &mut text, &mut changed, &mut before).await;
        edit.keep_to(from.unwrap_or(edit.kept_to));
        if !before.is_empty() {
            edit.put(before);
        }
        if !kept || changed {
            edit.drop_range(edit.kept_to..end.max(edit.kept_to));
        }
        if kept && changed {
            edit.put(wire(&text));
        }
        text.clear();
        self.held.text = text;
    }

    /// What becomes of a header: whether it stays, its text and whether that was changed, what stands before it.
    async fn examine<T: Tables>(
        &mut self,
        world: &Inspection<'_, T>,
        text: &mut Vec<u8>,
        changed: &mut bool,
        before: &mut Vec<u8>,
    ) -> bool {
        let class = self.mime.headers().unwrap_or(HeaderClass::Primary);
        if self.checks.on {
            if world.content.reject_characters.is_in(text) {
                let (what, why) = (Inspected::Content, "disallowed character");
                self.checks.reject(what, text, why, "character reject", &world.origin);
            } else if world.content.strip_characters.is_in(text) {
                *text = world.content.strip_characters.without(text);
                *changed = true;
            }
        }
        if let Some(colon) = text.iter().position(|byte| *byte == b':') {
            let (name, value) = (&text[..colon], &text[colon + 1..]);
            if let Some(error) = self.mime.header(&world.content.mime, name, value) {
                self.mime_error(error, text, world);
            }
        }
        if self.checks.on {
            let (parameter, maps) = tables_for(world, class, text);
            if !maps.is_empty() {
                match self.check(world, Inspected::Header, parameter, maps, text).await {
                    Fate::Keep => {}
                    Fate::Drop => return false,
                    Fate::Replace(new) => {
                        *text = new.into_bytes();
                        *changed = true;
                    }
                    Fate::Prepend(line) => *before = wire(line.as_bytes()),
                }
            }
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return true };
        if self.wants_encoding(world) {
            self.eight_bit = declares_eight_bit(&text[..colon], &text[colon + 1..]);
        }
        if class != HeaderClass::Primary {
            return true;
        }
        let name = text[..colon].to_ascii_lowercase();
        let header = Header { name: &name, value: &text[colon + 1..], range: 0..0 };
        self.count(&header);
        let one = use_of(&header);
        if world.head.message_drop_headers.iter().any(|dropped| header.is(dropped)) {
            return false;
        }
        if let (Some(one), Some(context)) = (one, world.context)
            && let Some(value) = self.rewritten(world, header.value, colon, one, context).await
        {
            text.truncate(colon);
            text.extend_from_slice(b": ");
            text.extend_from_slice(&value);
            *changed = true;
        }
        true
    }

    fn count(&mut self, header: &Header<'_>) {
        let seen = &mut self.seen;
        if header.is("Received") {
            self.hops += 1;
        } else if header.is("Message-Id") {
            seen.message_id = true;
            self.message_id.get_or_insert_with(|| header.value_text(LOGGED_MESSAGE_ID_BYTES_MAX));
        } else {
            seen.see(header);
        }
    }

    /// A header's addresses, if any of them changes.
    async fn rewritten<T: Tables>(
        &mut self,
        world: &Inspection<'_, T>,
        value: &[u8],
        name_bytes: usize,
        one: Use,
        context: Context,
    ) -> Option<Vec<u8>> {
        let mut list = AddressList::parse(value, world.content.header_tokens_max);
        let mut mapper = Mapper {
            settings: world.mapping,
            resolve: world.resolve,
            tables: world.tables,
            notes: &mut self.checks.notes,
        };
        let mut changed = false;
        for place in list.places() {
            let address = list.at(place);
            match mapper.in_place(address, one, context, world.by_tables).await {
                Ok(new) if new == address => {}
                Ok(new) => {
                    let new = new.into_owned();
                    list.exchange(place, new);
                    changed = true;
                }
                Err(trouble) => {
                    self.trouble = Some(trouble);
                    return None;
                }
            }
        }
        changed.then(|| {
            let lines = folded(&list.print(), name_bytes + 2);
            lines.into_iter().filter(|byte| *byte != b'\r').collect()
        })
    }
}

/// Whether a header's value is a list of addresses.
pub(crate) fn has_addresses(header: &Header<'_>) -> bool {
    use_of(header).is_some()
}

fn use_of(header: &Header<'_>) -> Option<Use> {
    if SENDERS.iter().any(|known| header.is(known)) {
        return Some(Use::HeaderSender);
    }
    RECIPIENTS.iter().any(|known| header.is(known)).then_some(Use::HeaderRecipient)
}

/// The tables for a header, and which parameter names them.
fn tables_for<'a, T>(world: &Inspection<'a, T>, class: HeaderClass, text: &[u8]) -> (&'static str, &'a Maps) {
    let name = text.split(|byte| *byte == b':').next().unwrap_or_default();
    match class {
        _ if is_of_part(name) => ("mime_header_checks", &world.content.mime_header_checks),
        HeaderClass::Primary => ("header_checks", &world.content.header_checks),
        HeaderClass::Multipart => ("mime_header_checks", &world.content.mime_header_checks),
        HeaderClass::Nested => ("nested_header_checks", &world.content.nested_header_checks),
    }
}

/// Whether a header of this name describes a part, wherever it stands.
pub(crate) fn is_of_part(name: &[u8]) -> bool {
    OF_PARTS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Bytes of the name that a line begins with if it is a header, and of the white space between it and the colon.
pub(crate) fn header_name(line: &[u8]) -> Option<(usize, usize)> {
    let name = line.iter().position(|byte| *byte == b':' || !byte.is_ascii_graphic())?;
    let gap = line[name..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (name > 0 && line.get(name + gap) == Some(&b':')).then_some((name, gap))
}

/// A header's text in wire form. A line that begins neither the header nor with white space gets a tab.
pub(crate) fn wire(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if index > 0 && !matches!(line.first(), Some(b' ' | b'\t')) {
            out.push(b'\t');
        }
        out.extend_from_slice(&stuffed(line, index == 0, true));
    }
    out
}
