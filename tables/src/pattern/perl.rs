//! Perl-compatible expressions: PCRE2 matches them; those that are written in the common part of its language and the
//! `regex` crate's are translated for the common automaton, too.
//!
//! Keys are UTF-8. Translated are: plain ASCII characters, `.`, classes, groups, alternatives, repetitions, anchors, word
//! boundaries. Everything else (look-around, back-references, inline options, …) is left to PCRE2. A translation
//! matches exactly the keys that the original does, unless the key ends with a line end, where `$` may match before it.

use super::class::{self, ByteSet};
use super::matcher::{BackTrackingFlags, Matcher};

/// Reads an expression and its flags.
pub(super) fn matcher(pattern: &str, flags: &str) -> Result<Matcher, String> {
    let mut options = Options {
        flags: BackTrackingFlags { caseless: true, dot_all: true, utf: true, ..BackTrackingFlags::default() },
        ..Options::default()
    };
    for flag in flags.chars() {
        let flag = match flag {
            'i' => &mut options.flags.caseless,
            'm' => &mut options.flags.multi_line,
            's' => &mut options.flags.dot_all,
            'x' => &mut options.flags.extended,
            'A' => &mut options.anchored,
            'E' => &mut options.dollar_end_only,
            'U' => &mut options.ungreedy,
            // Unknown escapes are errors in PCRE2 anyway.
            'X' => continue,
            other => return Err(format!("unknown regexp option \"{other}\": skipping this rule")),
        };
        *flag = !*flag;
    }
    let portable = translate(pattern, &options);
    let mut text = pattern.to_owned();
    if options.dollar_end_only && !options.flags.multi_line {
        text = dollars_at_the_very_end(&text);
    }
    if options.anchored {
        // A comment of an extended expression ends with its line.
        let end = if options.flags.extended { "\n)" } else { ")" };
        text = format!("\\A(?:{text}{end}");
    }
    if options.ungreedy {
        text = format!("(?U){text}");
    }
    Matcher::back_tracking(&text, options.flags, portable)
}

#[derive(Debug, Clone, Copy, Default)]
struct Options {
    flags: BackTrackingFlags,
    anchored: bool,
    dollar_end_only: bool,
    ungreedy: bool,
}

/// The same with `\z` for each `$`.
fn dollars_at_the_very_end(pattern: &str) -> String {
    let mut text = String::new();
    let mut in_class = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                text.push('\\');
                text.extend(characters.next());
                continue;
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '$' if !in_class => {
                text.push_str("\\z");
                continue;
            }
            _ => {}
        }
        text.push(character);
    }
    text
}

/// The expression in the words of the `regex` crate; `None` if it is not sure to mean the same.
fn translate(pattern: &str, options: &Options) -> Option<String> {
    if !pattern.is_ascii() {
        return None;
    }
    let mut translation = Translation { rest: pattern.as_bytes(), flags: options.flags, text: String::new() };
    let mut depth = 0_usize;
    let mut may_repeat = false;
    while let Some((&byte, after)) = translation.rest.split_first() {
        translation.rest = after;
        let repeatable = match byte {
            b'(' => {
                depth += 1;
                match after {
                    [b'?', b':', ..] => translation.rest = &after[2..],
                    [b'?' | b'*', ..] => return None,
                    _ => {}
                }
                translation.text.push_str("(?:");
                false
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                translation.text.push(')');
                true
            }
            b'|' => {
                translation.text.push('|');
                false
            }
            b'*' | b'+' | b'?' | b'{' => {
                match translation.repetition(byte) {
                    Repetition::Is(_) if !may_repeat => return None,
                    Repetition::Is(sign) => translation.text.push_str(&sign),
                    Repetition::Plain => {
                        translation.text.push_str("\\x7b");
                        may_repeat = true;
                        continue;
                    }
                }
                match translation.rest.first() {
                    // Lazy: takes less, but matches the same keys.
                    Some(b'?') => translation.rest = &translation.rest[1..],
                    // Possessive, or white space of an extended expression between the two.
                    Some(b'+' | b'*' | b'{') => return None,
                    Some(b' ' | b'\t' | b'\n' | b'#') if translation.flags.extended => return None,
                    _ => {}
                }
                false
            }
            b'^' => {
                translation.text.push_str(if translation.flags.multi_line { "(?m:^)" } else { "\\A" });
                false
            }
            b'$' => {
                translation.text.push_str(if translation.flags.multi_line { "(?m:$)" } else { "\\z" });
                false
            }
            b'.' => {
                translation.text.push_str(if translation.flags.dot_all { "(?s:.)" } else { "(?-s:.)" });
                true
            }
            b'[' => translation.class()?,
            b'\\' => translation.escape()?,
            b' ' | b'\t'..=b'\r' if translation.flags.extended => continue,
            b'#' if translation.flags.extended => {
                let end = after.iter().position(|&byte| byte == b'\n').map_or(after.len(), |end| end + 1);
                translation.rest = &after[end..];
                continue;
            }
            byte => {
                translation.text.push_str(&class::literal(byte));
                true
            }
        };
        may_repeat = repeatable;
    }
    if depth != 0 {
        return None;
    }
    let case = if options.flags.caseless { "(?i:" } else { "(?:" };
    let start = if options.anchored { "\\A" } else { "" };
    Some(format!("{start}{case}{})", translation.text))
}

struct Translation<'a> {
    rest: &'a [u8],
    flags: BackTrackingFlags,
    text: String,
}

enum Repetition {
    Is(String),
    /// A brace that begins no repetition stands for itself.
    Plain,
}

impl Translation<'_> {
    fn repetition(&mut self, sign: u8) -> Repetition {
        if sign != b'{' {
            return Repetition::Is(char::from(sign).to_string());
        }
        let Some(end) = self.rest.iter().position(|&byte| byte == b'}') else { return Repetition::Plain };
        let inside = &self.rest[..end];
        let digits = |text: &[u8]| (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        let mut parts = inside.splitn(2, |&byte| byte == b',');
        let (least, most) = (parts.next().unwrap_or_default(), parts.next());
        if !digits(least) || !most.is_none_or(|most| most.is_empty() || digits(most)) {
            return Repetition::Plain;
        }
        self.rest = &self.rest[end + 1..];
        Repetition::Is(format!("{{{}}}", String::from_utf8_lossy(inside)))
    }

    /// After a backslash: whether what it gives may be repeated.
    fn escape(&mut self) -> Option<bool> {
        let (&byte, after) = self.rest.split_first()?;
        self.rest = after;
        let (text, repeatable) = match byte {
            b'b' => ("(?-u:\\b)".to_owned(), false),
            b'B' => ("(?-u:\\B)".to_owned(), false),
            b'A' => ("\\A".to_owned(), false),
            b'z' | b'Z' => ("\\z".to_owned(), false),
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' => {
                let (set, negated) = class::of_letter(byte)?;
                (format!("(?-i:{})", ascii(&set, negated)), true)
            }
            byte => (class::literal(self.escaped_byte(byte)?), true),
        };
        self.text.push_str(&text);
        Some(repeatable)
    }

    /// The one character that an escape stands for.
    fn escaped_byte(&mut self, byte: u8) -> Option<u8> {
        Some(match byte {
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'f' => 12,
            b'e' => 27,
            b'a' => 7,
            b'x' => {
                let [high, low, ..] = self.rest else { return None };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let value = digit(high)? * 16 + digit(low)?;
                self.rest = &self.rest[2..];
                u8::try_from(value).ok().filter(u8::is_ascii)?
            }
            byte if byte.is_ascii_alphanumeric() => return None,
            byte => byte,
        })
    }

    /// A class, from after its `[`.
    fn class(&mut self) -> Option<bool> {
        let negated = self.rest.first() == Some(&b'^');
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut set = ByteSet::new();
        let mut is_first = true;
        loop {
            let (&byte, after) = self.rest.split_first()?;
            self.rest = after;
            if byte == b']' && !is_first {
                break;
            }
            is_first = false;
            let first = match byte {
                b'[' if matches!(after.first(), Some(b':' | b'.' | b'=')) => {
                    let end = after.windows(2).position(|window| window == b":]")?;
                    let name = std::str::from_utf8(after.get(1..end)?).ok()?;
                    set.add_all(&class::named(name)?);
                    self.rest = &after[end + 2..];
                    continue;
                }
                b'\\' => {
                    let (&letter, after) = self.rest.split_first()?;
                    self.rest = after;
                    match letter {
                        b'd' | b'w' | b's' => {
                            set.add_all(&class::of_letter(letter)?.0);
                            continue;
                        }
                        b'b' => 8,
                        letter => self.escaped_byte(letter)?,
                    }
                }
                byte => byte,
            };
            match self.rest {
                [b'-', b']', ..] => set.add(first),
                [b'-', b'\\' | b'[', ..] => return None,
                [b'-', last, ..] => {
                    let last = *last;
                    self.rest = &self.rest[2..];
                    if last < first {
                        return None;
                    }
                    set.add_range(first, last);
                }
                _ => set.add(first),
            }
        }
        self.text.push_str(&ascii(&set, negated));
        Some(true)
    }
}

/// A set of ASCII characters; its opposite holds every other character of Unicode.
fn ascii(set: &ByteSet, negated: bool) -> String {
    set.written(negated)
}
