//! The keys that `postmap -q -` takes from a message on standard input: headers, each with its continuation lines, and
//! lines of the body; with MIME, headers of parts are headers.

use std::io::{self, BufRead};

/// What of the message is looked up.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Headers.
    pub header: bool,
    /// Lines of the body.
    pub body: bool,
    /// Headers of parts, and messages within messages, are headers.
    pub mime: bool,
}

/// A header longer than this is cut, as `header_size_limit` does.
const HEADER_BYTES_MAX: usize = 102_400;
/// Parts within parts; deeper ones are body (`mime_nesting_limit`).
const NESTING_MAX: usize = 100;

/// Where in the message the walk is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Headers,
    Body,
}

/// What the headers of the part that is being read say of its body.
#[derive(Default)]
struct Part {
    boundary: Option<String>,
    is_message: bool,
}

/// Calls `each` with every key.
pub fn walk(wanted: Wanted, each: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut walk =
        Walk { wanted, place: Place::Headers, header: None, part: Part::default(), boundaries: Vec::new() };
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return walk.end_header(each);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        walk.line(&String::from_utf8_lossy(text), each)?;
    }
}

struct Walk {
    wanted: Wanted,
    place: Place,
    header: Option<String>,
    part: Part,
    boundaries: Vec<String>,
}

type Each<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

impl Walk {
    fn line(&mut self, line: &str, each: Each<'_>) -> io::Result<()> {
        if self.place == Place::Body {
            return self.body_line(line, each);
        }
        if line.starts_with([' ', '\t'])
            && let Some(header) = &mut self.header
        {
            if header.len() + line.len() < HEADER_BYTES_MAX {
                header.push('\n');
                header.push_str(line);
            }
            return Ok(());
        }
        self.end_header(each)?;
        if is_header(line) {
            self.header = Some(line.to_owned());
            return Ok(());
        }
        self.end_headers();
        if !line.is_empty() {
            // As if the empty line were there.
            self.body_line("", each)?;
        }
        self.body_line(line, each)
    }

    fn end_header(&mut self, each: Each<'_>) -> io::Result<()> {
        let Some(header) = self.header.take() else { return Ok(()) };
        if self.wanted.mime {
            self.part.read(&header);
        }
        if self.wanted.header { each(&header) } else { Ok(()) }
    }

    fn end_headers(&mut self) {
        self.place = Place::Body;
        if self.boundaries.len() < NESTING_MAX
            && let Some(boundary) = self.part.boundary.take()
        {
            self.boundaries.push(boundary);
        }
        if self.part.is_message {
            // The line that ends these headers is body; the message's own headers follow it.
            self.place = Place::Headers;
        }
        self.part = Part::default();
    }

    fn body_line(&mut self, line: &str, each: Each<'_>) -> io::Result<()> {
        if self.wanted.body {
            each(line)?;
        }
        if let Some(rest) = line.strip_prefix("--").filter(|_| self.wanted.mime) {
            let level = self.boundaries.iter().rposition(|boundary| rest.starts_with(boundary.as_str()));
            if let Some(level) = level {
                let is_last = rest[self.boundaries[level].len()..].starts_with("--");
                self.boundaries.truncate(if is_last { level } else { level + 1 });
                self.part = Part::default();
                self.place = if is_last { Place::Body } else { Place::Headers };
            }
        }
        Ok(())
    }
}

impl Part {
    fn read(&mut self, header: &str) {
        let Some((name, value)) = header.split_once(':') else { return };
        if !name.trim_end().eq_ignore_ascii_case("content-type") {
            return;
        }
        let mut pieces = pieces(value).into_iter();
        let kind = pieces.next().unwrap_or_default().to_ascii_lowercase();
        self.is_message = matches!(kind.as_str(), "message/rfc822" | "message/partial" | "message/global");
        if kind.starts_with("multipart/") {
            let boundary = pieces.find_map(|piece| {
                let (name, value) = piece.split_once('=')?;
                name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().to_owned())
            });
            self.boundary = boundary.filter(|boundary| !boundary.is_empty());
        }
    }
}

/// The pieces of a structured value between its semicolons, quotes and comments taken out.
fn pieces(value: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let (mut quoted, mut depth) = (false, 0_usize);
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        let piece = pieces.last_mut().expect("there is always one");
        match character {
            '\\' if quoted => piece.extend(characters.next()),
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            ';' if !quoted && depth == 0 => pieces.push(String::new()),
            '\r' | '\n' => {}
            _ if depth == 0 => piece.push(character),
            _ => {}
        }
    }
    pieces.into_iter().map(|piece| piece.trim().to_owned()).collect()
}

/// A name of printable characters, then white space perhaps, then a colon.
fn is_header(line: &str) -> bool {
    let Some((name, _)) = line.split_once(':') else { return false };
    let name = name.trim_end_matches([' ', '\t']);
    !name.is_empty() && name.bytes().all(|byte| (33..=126).contains(&byte))
}
