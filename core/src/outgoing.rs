//! outgoing: what a message becomes on its way to one next server.
//!
//! - What it is: [`Converter`], fed with stored content in wire form, cut anywhere; [`generic_address`] for the envelope.
//! - Receives: content; whether the server takes 8-bit content; tables.
//! - Sends: content in wire form; lines for the log.
//! - Owns: one header and one line at a time; the MIME structure.
//! - Limits: `header_size_limit` bytes of a header are looked at together; a line of `line_length_limit` bytes in parts.
//! - On failure: [`Unsent`]; the connection has been told half a message then, and is to be given up.
//! - Standards: Postfix's smtp(8), generic(5), header_checks(5); RFC 6152 §3 (what a server without 8BITMIME may be
//!   sent); RFC 2045 §6.7 (quoted-printable).
//!
//! A message for which nothing is configured, to a server that takes it as it is, never comes here.

mod checks;
mod quoted_printable;

use crate::cleanup::{
    AddressList, CleanupNote, Fate, HeaderClass, Inspected, Mapper, MappingSettings, Mime, MimeSettings,
    folded, has_addresses, header_name, is_of_part, next_line, stuffed, wire,
};
use crate::header::Header;
use crate::lookup::Tables;
use crate::maps::{Key, Maps};
use crate::resolve::ResolveSettings;

/// What the administrator decided about mail that leaves.
#[derive(Debug, Clone, Default)]
pub struct OutgoingSettings {
    /// `smtp_generic_maps`.
    pub generic: Maps,
    /// `propagate_unmatched_extensions` has `generic`.
    pub extends_generic: bool,
    /// `smtp_header_checks`.
    pub header_checks: Maps,
    /// `smtp_mime_header_checks`.
    pub mime_header_checks: Maps,
    /// `smtp_nested_header_checks`.
    pub nested_header_checks: Maps,
    /// `smtp_body_checks`.
    pub body_checks: Maps,
    /// Not `disable_mime_output_conversion`: 8-bit content is converted for servers without 8BITMIME.
    pub converts: bool,
    /// Limits of MIME.
    pub mime: MimeSettings,
    /// `header_size_limit`, bytes.
    pub header_bytes_max: usize,
    /// `header_address_token_limit`.
    pub header_tokens_max: usize,
    /// `line_length_limit`, bytes.
    pub line_bytes_max: usize,
}

impl OutgoingSettings {
    /// Whether content leaves as it is stored. `to_seven_bit`: the server does not offer 8BITMIME.
    pub fn leaves_as_is(&self, to_seven_bit: bool) -> bool {
        let maps = [
            &self.generic,
            &self.header_checks,
            &self.mime_header_checks,
            &self.nested_header_checks,
            &self.body_checks,
        ];
        !(to_seven_bit && self.converts) && maps.iter().all(|maps| maps.is_empty())
    }
}

/// What one message's conversion may ask.
#[derive(Debug)]
pub struct Outgoing<'a, T> {
    /// What is configured.
    pub settings: &'a OutgoingSettings,
    /// How addresses of tables are completed; names of this system.
    pub resolve: &'a ResolveSettings,
    /// The tables.
    pub tables: &'a T,
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// A table could not be asked: it is tried again later.
    Table,
    /// The MIME structure is beyond the limits, in Postfix's words: it is returned.
    Mime(&'static str),
}

/// What [`Converter::feed`] did with its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// All of it was dealt with, or is kept.
    All,
    /// From this byte on, this piece and all that follow leave as they are.
    PassesFrom(usize),
}

/// The state between two feeds.
#[derive(Debug)]
pub struct Converter {
    mime: Mime,
    mime_settings: MimeSettings,
    to_seven_bit: bool,
    /// The body of this part is written as quoted-printable.
    encodes: bool,
    /// What has come of a line whose end has not.
    carry: Vec<u8>,
    header: HeldHeader,
    within_line: bool,
    encoder: quoted_printable::Encoder,
    notes: Vec<CleanupNote>,
}

/// The header that is being read: LF between its lines, no dot-stuffing.
#[derive(Debug, Default)]
struct HeldHeader {
    text: Vec<u8>,
    under_way: bool,
    /// It was too long and has left already; its other lines follow as they are.
    overflown: bool,
}

impl Converter {
    /// A converter at the start of a message. `to_seven_bit`: the server does not offer 8BITMIME.
    pub fn new(settings: &OutgoingSettings, to_seven_bit: bool) -> Converter {
        let to_seven_bit = to_seven_bit && settings.converts;
        Converter {
            mime: Mime::new(),
            mime_settings: MimeSettings { reports_nesting: to_seven_bit, ..settings.mime.clone() },
            to_seven_bit,
            encodes: false,
            carry: Vec::new(),
            header: HeldHeader::default(),
            within_line: false,
            encoder: quoted_printable::Encoder::default(),
            notes: Vec::new(),
        }
    }

    /// Lines for the log since the last call.
    pub fn take_notes(&mut self) -> Vec<CleanupNote> {
        std::mem::take(&mut self.notes)
    }

    /// Takes content and appends to `out` what is to be sent; `last` says that no more comes.
    ///
    /// # Errors
    /// Any [`Unsent`].
    pub async fn feed<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<Fed, Unsent> {
        let carried = self.carry.len();
        let joined = match carried {
            0 => None,
            _ => {
                let mut joined = std::mem::take(&mut self.carry);
                joined.extend_from_slice(input);
                Some(joined)
            }
        };
        let input = joined.as_deref().unwrap_or(input);
        let mut at = 0;
        while at < input.len() {
            if self.passes(world.settings) {
                // A line that was carried over is behind us: nothing is kept of a body that passes.
                return Ok(Fed::PassesFrom(at.saturating_sub(carried)));
            }
            let part_bytes = world.settings.line_bytes_max;
            let Some(line) = next_line(&input[at..], part_bytes, self.within_line, last) else { break };
            let text = &input[at..][line.text];
            match self.mime.headers() {
                Some(class) => self.line_of_headers(world, class, text, line.ends, out).await?,
                None => self.line_of_body(world, text, line.ends, out).await?,
            }
            at += line.bytes;
        }
        if last {
            self.end_header(world, out).await?;
            if self.mime.headers().is_some() {
                self.add_encoding(out);
            }
        } else {
            self.carry.extend_from_slice(&input[at..]);
        }
        Ok(Fed::All)
    }

    /// Whether nothing that follows is looked at or changed.
    fn passes(&self, settings: &OutgoingSettings) -> bool {
        let parts = self.to_seven_bit
            || !settings.mime_header_checks.is_empty()
            || !settings.nested_header_checks.is_empty();
        self.mime.headers().is_none()
            && !self.encodes
            && settings.body_checks.is_empty()
            && (!parts || self.mime.is_flat())
    }

    async fn line_of_headers<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        class: HeaderClass,
        text: &[u8],
        ends: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        let begins = !self.within_line;
        if self.header.under_way && (!begins || matches!(text.first(), Some(b' ' | b'\t'))) {
            self.within_line = !ends;
            return self.hold(world, class, text, (begins, ends), out).await;
        }
        self.end_header(world, out).await?;
        if let Some((name_bytes, gap)) = header_name(text) {
            self.within_line = !ends;
            self.header.under_way = true;
            self.header.text.extend_from_slice(&text[..name_bytes]);
            self.header.text.extend_from_slice(&text[name_bytes + gap..]);
            return Ok(());
        }
        let blank = text.is_empty() && ends;
        self.add_encoding(out);
        if let Some((error, _)) = self.mime.end_of_headers(&self.mime_settings, blank) {
            return Err(Unsent::Mime(error.text()));
        }
        if self.encodes && !blank {
            out.extend_from_slice(b"\r\n");
        }
        if self.mime.headers().is_some() {
            // The blank line before an attached message's headers.
            self.within_line = false;
            out.extend_from_slice(b"\r\n");
            return Ok(());
        }
        self.line_of_body(world, text, ends, out).await
    }

    /// Adds to the header that is being read, or sends it before it grows too long.
    async fn hold<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        class: HeaderClass,
        text: &[u8],
        (begins, ends): (bool, bool),
        out: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        if self.header.overflown {
            out.extend_from_slice(&stuffed(text, begins, ends));
            return Ok(());
        }
        if self.header.text.len() + text.len() < world.settings.header_bytes_max {
            if begins {
                self.header.text.push(b'\n');
            }
            self.header.text.extend_from_slice(text);
            return Ok(());
        }
        self.examine(world, class, out).await?;
        self.header.overflown = true;
        if !begins {
            // What has left ended its line.
            out.push(b'\t');
        }
        out.extend_from_slice(&stuffed(text, begins, ends));
        Ok(())
    }

    /// The header that is being read is whole.
    async fn end_header<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        let under_way = std::mem::take(&mut self.header.under_way);
        let overflown = std::mem::take(&mut self.header.overflown);
        if !under_way || overflown {
            return Ok(());
        }
        let class = self.mime.headers().unwrap_or(HeaderClass::Primary);
        self.examine(world, class, out).await
    }

    /// Checks, rewrites and sends the header that is held.
    async fn examine<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        class: HeaderClass,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        let mut text = std::mem::take(&mut self.header.text);
        let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let (name, value) = text.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        if let Some(error) = self.mime.header(&self.mime_settings, name, value) {
            return Err(Unsent::Mime(error.text()));
        }
        let says_encoding = name.eq_ignore_ascii_case(b"Content-Transfer-Encoding");
        if says_encoding && self.to_seven_bit && self.mime.seven_bit_encoding().is_some() {
            return Ok(());
        }
        let (parameter, maps) = self.checks_for(world.settings, class, name);
        match self.check(world, Inspected::Header, (parameter, maps), &text).await? {
            Fate::Keep => {}
            Fate::Drop => return Ok(()),
            Fate::Replace(new) => text = new.into_bytes(),
            Fate::Prepend(line) => out.extend_from_slice(&wire(line.as_bytes())),
        }
        if class == HeaderClass::Primary && !world.settings.generic.is_empty() {
            self.rewrite(world, &mut text).await?;
        }
        out.extend_from_slice(&wire(&text));
        text.clear();
        self.header.text = text;
        Ok(())
    }

    fn checks_for<'a>(
        &self,
        settings: &'a OutgoingSettings,
        class: HeaderClass,
        name: &[u8],
    ) -> (&'static str, &'a Maps) {
        match class {
            _ if is_of_part(name) => ("smtp_mime_header_checks", &settings.mime_header_checks),
            HeaderClass::Primary => ("smtp_header_checks", &settings.header_checks),
            HeaderClass::Multipart => ("smtp_mime_header_checks", &settings.mime_header_checks),
            HeaderClass::Nested => ("smtp_nested_header_checks", &settings.nested_header_checks),
        }
    }

    /// Puts the addresses of `smtp_generic_maps` in the place of a header's own.
    async fn rewrite<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        text: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let header = Header { name: &text[..colon], value: &text[colon + 1..], range: 0..0 };
        if !has_addresses(&header) {
            return Ok(());
        }
        let mut list = AddressList::parse(header.value, world.settings.header_tokens_max);
        let mut changed = false;
        for place in list.places() {
            let mapped = generic_address(world, list.at(place), &mut self.notes).await?;
            if let Some(new) = mapped {
                list.exchange(place, new);
                changed = true;
            }
        }
        if changed {
            let lines = folded(&list.print(), colon + 2);
            text.truncate(colon);
            text.extend_from_slice(b": ");
            text.extend(lines.into_iter().filter(|byte| *byte != b'\r'));
        }
        Ok(())
    }

    /// The headers of a message or part are over: says how its body is encoded from now on, if that changes.
    fn add_encoding(&mut self, out: &mut Vec<u8>) {
        self.encodes = false;
        if !self.to_seven_bit {
            return;
        }
        if let Some(word) = self.mime.seven_bit_encoding() {
            self.encodes = word == quoted_printable::WORD;
            out.extend_from_slice(b"Content-Transfer-Encoding: ");
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    async fn line_of_body<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        text: &[u8],
        ends: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        let begins = !self.within_line;
        self.within_line = !ends;
        let is_boundary = begins && self.mime.is_boundary(text);
        self.mime.body_line(&self.mime_settings, text, begins);
        if is_boundary {
            self.encodes = false;
        }
        if !self.encodes {
            return self.send_line(world, text, (begins, ends), out).await;
        }
        let mut encoded = Vec::with_capacity(text.len() + text.len() / 8 + 8);
        self.encoder.encode(text, ends, &mut encoded);
        for line in encoded.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.send_line(world, line, (true, true), out).await?;
        }
        Ok(())
    }

    async fn send_line<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        text: &[u8],
        (begins, ends): (bool, bool),
        out: &mut Vec<u8>,
    ) -> Result<(), Unsent> {
        let checks = ("smtp_body_checks", &world.settings.body_checks);
        match self.check(world, Inspected::Body, checks, text).await? {
            Fate::Keep => {}
            Fate::Drop => return Ok(()),
            Fate::Replace(new) => {
                out.extend_from_slice(&stuffed(new.as_bytes(), begins, ends));
                return Ok(());
            }
            Fate::Prepend(line) => out.extend_from_slice(&stuffed(line.as_bytes(), begins, true)),
        }
        if begins && text.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(text);
        if ends {
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    async fn check<T: Tables>(
        &mut self,
        world: &Outgoing<'_, T>,
        what: Inspected,
        (parameter, maps): (&'static str, &Maps),
        line: &[u8],
    ) -> Result<Fate, Unsent> {
        if maps.is_empty() || line.is_empty() {
            return Ok(Fate::Keep);
        }
        let key = String::from_utf8_lossy(line);
        match maps.find(world.tables, &key, Key::Whole).await {
            Ok(None) => Ok(Fate::Keep),
            Ok(Some(value)) => Ok(checks::act(what, line, &value, parameter, &mut self.notes)),
            Err(trouble) => {
                self.notes.push(CleanupNote::warning(trouble.to_string()));
                self.notes.push(CleanupNote::warning(format!("{parameter} lookup error")));
                Err(Unsent::Table)
            }
        }
    }
}

/// The address that `smtp_generic_maps` has for one, looked up once; `None`: it stays.
///
/// # Errors
/// [`Unsent::Table`]; `notes` tells of it.
pub async fn generic_address<T: Tables>(
    world: &Outgoing<'_, T>,
    address: &str,
    notes: &mut Vec<CleanupNote>,
) -> Result<Option<String>, Unsent> {
    const PARAMETER: &str = "smtp_generic_maps";
    let Outgoing { settings, resolve, tables } = world;
    if settings.generic.is_empty() || address.is_empty() {
        return Ok(None);
    }
    let mapping = MappingSettings::default();
    let mut mapper = Mapper { settings: &mapping, resolve, tables: *tables, notes };
    match mapper.lookup(PARAMETER, &settings.generic, address, settings.extends_generic).await {
        Ok(None) => Ok(None),
        Ok(Some(mut found)) => {
            if found.len() > 1 {
                let text = format!("multi-valued {PARAMETER} entry for {address}");
                notes.push(CleanupNote::warning(text));
            }
            Ok(Some(found.swap_remove(0)).filter(|new| new != address))
        }
        Err(_) => Err(Unsent::Table),
    }
}

#[cfg(test)]
mod tests;
