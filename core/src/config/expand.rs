//! `$name` and its relatives: expansion of a value's references.
//!
//! Lazy and recursive, as Postfix 3.7 does it: `$name ${name} $(name)`, `${name?text}` and `${name:text}` with bare or
//! braced text, `${name?{a}:{b}}`, comparisons `${{x} == {y} ? {a} : {b}}` (numbers if both sides are digits only,
//! otherwise text; with the suffix `level` compatibility levels) and `$$` for a dollar sign.
//!
//! Limits: nesting, references and bytes per value, so that no configuration file, however cunning, costs more than
//! its length deserves.

use core::cmp::Ordering;

use super::error::quoted;

/// How deep references may nest, those inside braces included; deeper is taken for a loop.
pub const NESTING_MAX: usize = 100;
/// References looked up for one value, empty ones included: doubling chains stop here.
pub const REFERENCES_MAX: usize = 10_000;
/// The longest value after expansion, in bytes. Lists beyond this belong in files.
pub const EXPANSION_BYTES_MAX: usize = 4 << 20;

/// Text read for one value, in bytes, branches not taken included.
const READ_BYTES_MAX: usize = 8 * EXPANSION_BYTES_MAX;

/// Expands `text`; `lookup` gives a name's own unexpanded text, `None` where it is not defined.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn expand<'a>(
    text: &str,
    lookup: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>,
) -> Result<String, String> {
    let mut expansion = Expansion { lookup: &lookup, references: 0, bytes: 0, bytes_read: 0 };
    let mut out = String::new();
    expansion.append(text, 0, &mut out)?;
    Ok(out)
}

struct Expansion<'l, L> {
    lookup: &'l L,
    references: usize,
    bytes: usize,
    bytes_read: usize,
}

impl<'a, L: Fn(&str) -> Option<std::borrow::Cow<'a, str>>> Expansion<'_, L> {
    fn append(&mut self, text: &str, depth: usize, out: &mut String) -> Result<(), String> {
        if depth > NESTING_MAX {
            return Err(format!("references nest deeper than {NESTING_MAX}, or form a loop"));
        }
        self.bytes_read += text.len();
        if self.bytes_read > READ_BYTES_MAX {
            return Err(format!("the value's references read more than {READ_BYTES_MAX} bytes"));
        }
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            self.append_plain(&rest[..dollar], out)?;
            rest = &rest[dollar + 1..];
            match rest.as_bytes().first() {
                Some(b'$') => {
                    self.append_plain("$", out)?;
                    rest = &rest[1..];
                }
                Some(open @ (b'{' | b'(')) => {
                    let end = closing(rest, *open).ok_or_else(|| {
                        format!("a reference is not closed: {}", quoted(&format!("${rest}")))
                    })?;
                    let body = &rest[1..end];
                    rest = &rest[end + 1..];
                    self.append_reference(body, depth, out)?;
                }
                _ => {
                    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
                    if end == 0 {
                        return Err(format!("a '$' without a name: {}", quoted(&format!("${rest}"))));
                    }
                    self.append_value(&rest[..end], depth, out)?;
                    rest = &rest[end..];
                }
            }
        }
        self.append_plain(rest, out)
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
            Some(text) => self.append(&text, depth + 1, out),
            None => Ok(()),
        }
    }

    /// What stands between `${` and `}`.
    fn append_reference(&mut self, body: &str, depth: usize, out: &mut String) -> Result<(), String> {
        if depth > NESTING_MAX {
            return Err(format!("references nest deeper than {NESTING_MAX}, or form a loop"));
        }
        let body = body.trim_ascii_start();
        if body.starts_with('{') {
            let (truth, rest) = self.comparison(body, depth)?;
            if rest.is_empty() {
                return self.append_plain(if truth { "true" } else { "" }, out);
            }
            return self.append_choice(truth, rest, depth, out);
        }
        let end = body.find(|c: char| !is_name(c)).unwrap_or(body.len());
        let (name, rest) = (&body[..end], body[end..].trim_ascii());
        if name.is_empty() {
            return Err(format!("a reference without a name: {}", quoted(&format!("${{{body}}}"))));
        }
        match rest.as_bytes().first() {
            None => self.append_value(name, depth, out),
            Some(b'?' | b':') => {
                let mut value = String::new();
                self.append_value(name, depth, &mut value)?;
                self.append_choice(!value.is_empty(), rest, depth, out)
            }
            Some(_) => Err(format!("{} does not belong after the name {name}", quoted(rest))),
        }
    }

    /// `?text`, `?{a}`, `?{a}:{b}` or `:text`, `:{text}`.
    fn append_choice(
        &mut self,
        truth: bool,
        rest: &str,
        depth: usize,
        out: &mut String,
    ) -> Result<(), String> {
        let (when_true, when_false) = match rest.as_bytes().first() {
            Some(b'?') => {
                let (first, after) = branch(&rest[1..])?;
                match after.strip_prefix(':') {
                    Some(after) => {
                        let (second, after) = branch(after)?;
                        if !after.is_empty() {
                            return Err(format!("unexpected text {}", quoted(after)));
                        }
                        (first, second)
                    }
                    None if after.is_empty() => (first, ""),
                    None => return Err(format!("':' expected before {}", quoted(after))),
                }
            }
            Some(b':') => match branch(&rest[1..])? {
                (text, "") => ("", text),
                (_, after) => return Err(format!("unexpected text {}", quoted(after))),
            },
            _ => return Err(format!("'?' or ':' expected before {}", quoted(rest))),
        };
        self.append(if truth { when_true } else { when_false }, depth + 1, out)
    }

    /// `{x} op {y}`; returns the truth and what follows, trimmed.
    fn comparison<'t>(&mut self, body: &'t str, depth: usize) -> Result<(bool, &'t str), String> {
        let (left, rest) = braced(body)?;
        let end = rest.find(|c: char| c == '{' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let operator = &rest[..end];
        let (plain, level) = match operator.strip_suffix("level") {
            Some(plain) => (plain, true),
            None => (operator, false),
        };
        let holds: fn(Ordering) -> bool = match plain {
            "==" => Ordering::is_eq,
            "!=" => Ordering::is_ne,
            "<" => Ordering::is_lt,
            "<=" => Ordering::is_le,
            ">=" => Ordering::is_ge,
            ">" => Ordering::is_gt,
            _ => return Err(format!("==, !=, <, <=, >= or > expected at {}", quoted(rest))),
        };
        let (right, rest) = braced(rest[end..].trim_ascii_start())?;
        let (mut left_value, mut right_value) = (String::new(), String::new());
        self.append(left, depth + 1, &mut left_value)?;
        self.append(right, depth + 1, &mut right_value)?;
        let ordering = if level {
            parse_level(&left_value)?.cmp(&parse_level(&right_value)?)
        } else {
            compare(&left_value, &right_value)
        };
        Ok((holds(ordering), rest))
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
        return Err(format!("'{{' expected before {}", quoted(text)));
    }
    let end = closing(text, b'{').ok_or_else(|| format!("'}}' missing in {}", quoted(text)))?;
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
            _ => return Err(format!("{} is no compatibility level", quoted(text))),
        }
    }
    Ok(level)
}
