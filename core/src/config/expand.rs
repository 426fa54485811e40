//! `$name` and its relatives: expansion of a value's references.
//!
//! Lazy and recursive, as Postfix 3.7 does it: `$name ${name} $(name)`, `${name?text}` and `${name:text}` with bare or
//! braced text, `${name?{a}:{b}}`, comparisons `${{x} == {y} ? {a} : {b}}` (numbers if both sides are digits only,
//! otherwise text; with the suffix `level` compatibility levels) and `$$` for a dollar sign. What is wrong is told in
//! Postfix's words.
//!
//! Limits: nesting, references and bytes per value, so that no configuration file, however cunning, costs more than
//! its length deserves.

use core::cmp::Ordering;
use std::borrow::Cow;

/// How deep references may nest, those inside braces included; deeper is taken for a loop.
pub const NESTING_MAX: usize = 100;
/// References looked up for one value, empty ones included: doubling chains stop here.
pub const REFERENCES_MAX: usize = 10_000;
/// The longest value after expansion, in bytes. Lists beyond this belong in files.
pub const EXPANSION_BYTES_MAX: usize = 4 << 20;

/// Text read for one value, in bytes, branches not taken included.
const READ_BYTES_MAX: usize = 8 * EXPANSION_BYTES_MAX;

/// How much of what follows a mistake is repeated.
const CONTEXT_CHARACTERS_MAX: usize = 20;

/// Expands `text`; `lookup` gives a name's own unexpanded text, `None` where it is not defined.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<String, String> {
    let mut expansion = Expansion { lookup: &lookup, references: 0, bytes: 0, bytes_read: 0 };
    let mut out = String::new();
    expansion.append(text, "", 0, &mut out)?;
    Ok(out)
}

/// Gives every name that `text` refers to, in branches not taken and on both sides of comparisons too, but not what the
/// values of those names refer to.
///
/// # Errors
/// As [`expand`]; the names before the mistake have been given.
pub fn references(text: &str, each: &mut dyn FnMut(&str)) -> Result<(), String> {
    references_within(text, 0, each)
}

fn references_within(text: &str, depth: usize, each: &mut dyn FnMut(&str)) -> Result<(), String> {
    if depth > NESTING_MAX {
        return Err(too_deep(text));
    }
    let mut pieces = Pieces::of(text);
    while let Some(piece) = pieces.next()? {
        let Piece::Reference(reference) = piece else { continue };
        match reference.subject {
            Subject::Name(name) => each(name),
            Subject::Comparison { left, right, .. } => {
                references_within(left, depth + 1, each)?;
                references_within(right, depth + 1, each)?;
            }
        }
        for branch in [reference.when_true, reference.when_false] {
            references_within(branch, depth + 1, each)?;
        }
    }
    Ok(())
}

fn too_deep(what: &str) -> String {
    format!("unreasonable macro call nesting: {}", told(what))
}

/// A text as a message repeats it.
fn told(text: &str) -> String {
    let end = text.char_indices().nth(QUOTED_CHARACTERS_MAX).map_or(text.len(), |(index, _)| index);
    format!("\"{}\"", &text[..end])
}

/// More of a value is not repeated in a message.
const QUOTED_CHARACTERS_MAX: usize = 1_000;

/// A piece of a value.
enum Piece<'t> {
    Plain(&'t str),
    Reference(Reference<'t>),
}

/// What stands between `${` and `}`, or a bare name.
struct Reference<'t> {
    subject: Subject<'t>,
    /// Whether there is a `?` or `:` part; without one the subject itself is the result.
    chooses: bool,
    when_true: &'t str,
    when_false: &'t str,
}

enum Subject<'t> {
    Name(&'t str),
    Comparison { left: &'t str, holds: fn(Ordering) -> bool, level: bool, right: &'t str },
}

/// Reads the pieces of a text one after the other.
struct Pieces<'t> {
    whole: &'t str,
    rest: &'t str,
}

impl<'t> Pieces<'t> {
    fn of(text: &'t str) -> Self {
        Pieces { whole: text, rest: text }
    }

    fn next(&mut self) -> Result<Option<Piece<'t>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let plain = self.rest.find('$').unwrap_or(self.rest.len());
        if plain > 0 {
            let (before, after) = self.rest.split_at(plain);
            self.rest = after;
            return Ok(Some(Piece::Plain(before)));
        }
        let after = &self.rest[1..];
        let piece = match after.as_bytes().first() {
            Some(b'$') => {
                self.rest = &after[1..];
                Piece::Plain("$")
            }
            Some(open @ (b'{' | b'(')) => {
                let end = closing(after, *open)
                    .ok_or_else(|| format!("truncated macro reference: {}", told(self.whole)))?;
                self.rest = &after[end + 1..];
                Piece::Reference(self.reference(&after[1..end])?)
            }
            _ => {
                let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
                self.rest = &after[end..];
                Piece::Reference(Reference {
                    subject: Subject::Name(self.named(&after[..end])?),
                    chooses: false,
                    when_true: "",
                    when_false: "",
                })
            }
        };
        Ok(Some(piece))
    }

    fn named(&self, name: &'t str) -> Result<&'t str, String> {
        match name {
            "" => Err(format!("empty macro name: {}", told(self.whole))),
            name => Ok(name),
        }
    }

    fn reference(&self, body: &'t str) -> Result<Reference<'t>, String> {
        let body = body.trim_ascii_start();
        let (subject, rest) = if body.starts_with('{') {
            let (comparison, rest) = comparison(body)?;
            if !matches!(rest.as_bytes().first(), None | Some(b'?' | b':')) {
                return Err(expected("\"?\" or \":\" expected", "}", rest));
            }
            (comparison, rest)
        } else {
            let end = body.find(|c: char| !is_name(c)).unwrap_or(body.len());
            let name = self.named(&body[..end])?;
            let rest = body[end..].trim_ascii();
            if !matches!(rest.as_bytes().first(), None | Some(b'?' | b':')) {
                return Err(expected("attribute name syntax error", name, &body[end..]));
            }
            // What follows the mark is taken with its white space, unless it is braced.
            (Subject::Name(name), body[end..].trim_ascii_start())
        };
        let (when_true, when_false) = choice(rest)?;
        Ok(Reference { subject, chooses: !rest.is_empty(), when_true, when_false })
    }
}

/// `?text`, `?{a}`, `?{a}:{b}` or `:text`, `:{text}`.
fn choice(rest: &str) -> Result<(&str, &str), String> {
    match rest.as_bytes().first() {
        None => Ok(("", "")),
        Some(b'?') => {
            let (first, after) = branch(&rest[1..])?;
            match after.strip_prefix(':') {
                Some(after) => {
                    let (second, after) = branch(after)?;
                    if !after.is_empty() {
                        return Err(expected("unexpected input", &format!("{second}}}"), after));
                    }
                    Ok((first, second))
                }
                None if after.is_empty() => Ok((first, "")),
                None => Err(expected("\":\" expected", &format!("{first}}}"), after)),
            }
        }
        Some(_) => match branch(&rest[1..])? {
            (text, "") => Ok(("", text)),
            (text, after) => Err(expected("unexpected input", &format!("{text}}}"), after)),
        },
    }
}

/// `{x} op {y}` and what follows, trimmed.
fn comparison(body: &str) -> Result<(Subject<'_>, &str), String> {
    let (left, rest) = braced(body)?;
    let end = rest.find(|c: char| !"=!<>".contains(c)).unwrap_or(rest.len());
    let (operator, after) = rest.split_at(end);
    let holds: fn(Ordering) -> bool = match operator {
        "==" => Ordering::is_eq,
        "!=" => Ordering::is_ne,
        "<" => Ordering::is_lt,
        "<=" => Ordering::is_le,
        ">=" => Ordering::is_ge,
        ">" => Ordering::is_gt,
        _ => {
            // Postfix's own quotation marks.
            let what = "\"==\" or \"!=\"\" or \"<\"\" or \"<=\"\" or \">=\"\" or \">\" expected";
            return Err(expected(what, &format!("{left}}}"), rest));
        }
    };
    let (level, after) = match after.strip_prefix("level") {
        Some(after) => (true, after),
        None => (false, after),
    };
    if !after.is_empty() && !after.starts_with(|c: char| c == '{' || c.is_ascii_whitespace()) {
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        return Err(expected("bad operator suffix", operator, &after[..end]));
    }
    if !after.trim_ascii_start().starts_with('{') {
        let read = &body[..body.len() - after.len()];
        return Err(expected("\"{expression}\" expected", read, after));
    }
    let (right, rest) = braced(after.trim_ascii_start())?;
    Ok((Subject::Comparison { left, holds, level, right }, rest))
}

/// The error at a place: what was read, and what comes there.
fn expected(what: &str, read: &str, comes: &str) -> String {
    let end = comes.char_indices().nth(CONTEXT_CHARACTERS_MAX).map_or(comes.len(), |(index, _)| index);
    format!("{what} at: \"...{read}>>>{}\"", &comes[..end])
}

struct Expansion<'l, L> {
    lookup: &'l L,
    references: usize,
    bytes: usize,
    bytes_read: usize,
}

impl<'a, L: Fn(&str) -> Option<Cow<'a, str>>> Expansion<'_, L> {
    /// `of` is the name whose value this is.
    fn append(&mut self, text: &str, of: &str, depth: usize, out: &mut String) -> Result<(), String> {
        if depth > NESTING_MAX {
            return Err(too_deep(of));
        }
        self.bytes_read += text.len();
        if self.bytes_read > READ_BYTES_MAX {
            return Err(format!("the value's references read more than {READ_BYTES_MAX} bytes"));
        }
        let mut pieces = Pieces::of(text);
        while let Some(piece) = pieces.next()? {
            match piece {
                Piece::Plain(plain) => self.append_plain(plain, out)?,
                Piece::Reference(reference) => self.append_reference(&reference, of, depth, out)?,
            }
        }
        Ok(())
    }

    fn append_plain(&mut self, text: &str, out: &mut String) -> Result<(), String> {
        self.bytes += text.len();
        if self.bytes > EXPANSION_BYTES_MAX {
            return Err(format!("the value expands to more than {EXPANSION_BYTES_MAX} bytes"));
        }
        out.push_str(text);
        Ok(())
    }

    fn append_value(&mut self, name: &str, depth: usize, out: &mut String) -> Result<(), String> {
        self.references += 1;
        if self.references > REFERENCES_MAX {
            return Err(format!("the value needs more than {REFERENCES_MAX} references"));
        }
        match (self.lookup)(name) {
            Some(text) => self.append(&text, name, depth + 1, out),
            None => Ok(()),
        }
    }

    fn append_reference(
        &mut self,
        reference: &Reference<'_>,
        of: &str,
        depth: usize,
        out: &mut String,
    ) -> Result<(), String> {
        let truth = match reference.subject {
            Subject::Name(name) if !reference.chooses => return self.append_value(name, depth, out),
            Subject::Name(name) => {
                let mut value = String::new();
                self.append_value(name, depth, &mut value)?;
                !value.is_empty()
            }
            Subject::Comparison { left, holds, level, right } => {
                let (mut left_value, mut right_value) = (String::new(), String::new());
                self.append(left, of, depth + 1, &mut left_value)?;
                self.append(right, of, depth + 1, &mut right_value)?;
                let ordering = if level {
                    parse_level(&left_value)?.cmp(&parse_level(&right_value)?)
                } else {
                    compare(&left_value, &right_value)
                };
                holds(ordering)
            }
        };
        if !reference.chooses {
            return self.append_plain(if truth { "true" } else { "" }, out);
        }
        self.append(if truth { reference.when_true } else { reference.when_false }, of, depth + 1, out)
    }
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// The index of the bracket that closes the one at index 0; only brackets of the same kind nest.
pub(super) fn closing(text: &str, open: u8) -> Option<usize> {
    let close = if open == b'{' { b'}' } else { b')' };
    let mut depth = 0_usize;
    for (index, byte) in text.bytes().enumerate() {
        if byte == open {
            depth += 1;
        } else if byte == close {
            depth -= 1;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

/// `{text}` and what follows, trimmed.
fn braced(text: &str) -> Result<(&str, &str), String> {
    if !text.starts_with('{') {
        return Err(expected("\"{expression}\" expected", "", text));
    }
    let end = closing(text, b'{').ok_or_else(|| format!("missing '}}' in {}", told(text)))?;
    Ok((&text[1..end], text[end + 1..].trim_ascii()))
}

/// A braced text and what follows, or everything.
fn branch(text: &str) -> Result<(&str, &str), String> {
    let trimmed = text.trim_ascii_start();
    if trimmed.starts_with('{') { braced(trimmed) } else { Ok((text, "")) }
}

fn compare(left: &str, right: &str) -> Ordering {
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if numeric(left) && numeric(right) {
        // As long as need be: without leading zeros, the longer number is the greater.
        let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
        left.len().cmp(&right.len()).then_with(|| left.cmp(right))
    } else {
        left.cmp(right)
    }
}

/// A compatibility level `major[.minor[.patch]]`.
pub(super) fn parse_level(text: &str) -> Result<[u32; 3], String> {
    let mut level = [0; 3];
    for (index, part) in text.trim_ascii().split('.').enumerate() {
        let place = level.get_mut(index);
        let number = part.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
        match (place, number) {
            (Some(place), Some(number)) => *place = number,
            _ => return Err(format!("malformed compatibility level syntax: {}", told(text))),
        }
    }
    Ok(level)
}
