//! POSIX expressions with GNU's additions, as glibc reads them, in words that both engines understand.
//!
//! Whether an expression matches does not depend on the engine. Which part of the key a group takes does: POSIX wants the
//! longest of the leftmost matches, the `regex` crate takes the first that it comes to (`(a?)(ab)?` on `ab`). So the
//! expression is kept a second time, to be tried on longer parts of the key; glibc, too, then takes the first way of
//! its alternatives.

use super::class::{self, ByteSet};
use super::matcher::{BackTrackingFlags, Matcher};

/// Bounds of a repetition, as glibc has it.
const REPEAT_MAX: u32 = 32_767;
const UNMATCHED_BRACKET: &str = "Unmatched [, [^, [:, [., or [=";
/// Groups within groups.
const NESTING_MAX: usize = 200;

/// Reads an expression and its flags.
pub(super) fn matcher(pattern: &str, flags: &str) -> Result<Matcher, String> {
    let (mut caseless, mut lines, mut extended) = (true, false, true);
    for flag in flags.chars() {
        let flag = match flag {
            'i' => &mut caseless,
            'm' => &mut lines,
            'x' => &mut extended,
            other => return Err(format!("unknown regexp option \"{other}\": skipping this rule")),
        };
        *flag = !*flag;
    }
    let mut translation = Translation {
        rest: pattern.as_bytes(),
        extended,
        lines,
        groups: 0,
        needs_back_tracking: false,
        looks_around: false,
    };
    let text = translation.alternatives(0)?;
    if !translation.rest.is_empty() {
        return Err("Unmatched ) or \\)".to_owned());
    }
    if translation.needs_back_tracking {
        let flags = BackTrackingFlags { caseless, dot_all: true, ..BackTrackingFlags::default() };
        return Matcher::back_tracking(&text, flags, None);
    }
    let case = if caseless { "i" } else { "" };
    let text = format!("(?{case}s-u:{text})");
    // Where the key ends matters to these: a part of the key is not a key to them.
    let longest = !translation.looks_around && translation.groups > 0;
    Matcher::automaton(text, longest)
}

struct Translation<'a> {
    rest: &'a [u8],
    extended: bool,
    /// `m`: `^` and `$` match at lines, `.` and `[^…]` not at their ends.
    lines: bool,
    groups: usize,
    needs_back_tracking: bool,
    /// It asks what stands before or after.
    looks_around: bool,
}

enum Token {
    Byte(u8),
    Open,
    Close,
    Bar,
    Repeat(u8),
    Interval,
    Any,
    Start,
    End,
    Bracket,
    /// What GNU writes with a backslash.
    Special(u8),
}

impl Translation<'_> {
    fn peek(&self) -> Option<(Token, usize)> {
        let (&byte, after) = self.rest.split_first()?;
        let plain = |token| Some((token, 1));
        if byte == b'\\' {
            let &escaped = after.first()?;
            let token = match (escaped, self.extended) {
                (b'(', false) => Token::Open,
                (b')', false) => Token::Close,
                (b'|', false) => Token::Bar,
                (b'{', false) => Token::Interval,
                (b'+' | b'?', false) => Token::Repeat(escaped),
                (b'w' | b'W' | b's' | b'S' | b'b' | b'B' | b'<' | b'>' | b'`' | b'\'' | b'1'..=b'9', _) => {
                    Token::Special(escaped)
                }
                _ => Token::Byte(escaped),
            };
            return Some((token, 2));
        }
        match (byte, self.extended) {
            (b'(', true) => plain(Token::Open),
            (b')', true) => plain(Token::Close),
            (b'|', true) => plain(Token::Bar),
            (b'{', true) => plain(Token::Interval),
            (b'+' | b'?', true) | (b'*', _) => plain(Token::Repeat(byte)),
            (b'.', _) => plain(Token::Any),
            (b'[', _) => plain(Token::Bracket),
            (b'^', true) => plain(Token::Start),
            (b'$', true) => plain(Token::End),
            // Basic expressions know them at the ends only.
            (b'$', false) if matches!(after, [] | [b'\\', b')' | b'|', ..]) => plain(Token::End),
            _ => plain(Token::Byte(byte)),
        }
    }

    fn alternatives(&mut self, depth: usize) -> Result<String, String> {
        if depth > NESTING_MAX {
            return Err("too many groups within each other".to_owned());
        }
        let mut text = self.sequence(depth)?;
        while let Some((Token::Bar, length)) = self.peek() {
            self.rest = &self.rest[length..];
            text.push('|');
            text.push_str(&self.sequence(depth)?);
        }
        Ok(text)
    }

    fn sequence(&mut self, depth: usize) -> Result<String, String> {
        let mut text = String::new();
        if !self.extended && self.rest.first() == Some(&b'^') {
            self.rest = &self.rest[1..];
            text.push_str(self.start());
        }
        let mut is_first = true;
        loop {
            if self.rest == b"\\" {
                return Err("Trailing backslash".to_owned());
            }
            let Some((mut token, length)) = self.peek() else { return Ok(text) };
            if depth == 0 && self.extended && matches!(token, Token::Close) {
                // One that closes nothing is itself.
                token = Token::Byte(b')');
            }
            if matches!(token, Token::Bar | Token::Close) {
                return Ok(text);
            }
            self.rest = &self.rest[length..];
            self.looks_around |= matches!(token, Token::End | Token::Special(b'b' | b'B' | b'\''))
                || (matches!(token, Token::Start) && (self.lines || !text.is_empty() || depth > 0));
            let atom = match token {
                Token::Byte(byte) => class::literal(byte),
                Token::Any if self.lines => "[^\\x0a]".to_owned(),
                Token::Any => "[\\x00-\\xff]".to_owned(),
                Token::Start => self.start().to_owned(),
                Token::End => (if self.lines { "(?m:$)" } else { "\\z" }).to_owned(),
                Token::Bracket => self.bracket()?,
                Token::Special(letter) => self.special(letter)?,
                Token::Open => {
                    self.groups += 1;
                    let inside = self.alternatives(depth + 1)?;
                    match self.peek() {
                        Some((Token::Close, length)) => self.rest = &self.rest[length..],
                        _ => return Err("Unmatched ( or \\(".to_owned()),
                    }
                    format!("({inside})")
                }
                // With nothing to repeat, `*` is itself in a basic expression.
                Token::Repeat(b'*') if is_first && !self.extended => "\\x2a".to_owned(),
                Token::Repeat(_) | Token::Interval => {
                    return Err("Invalid preceding regular expression".to_owned());
                }
                Token::Bar | Token::Close => String::new(),
            };
            is_first = false;
            text.push_str(&self.repeated(atom)?);
        }
    }

    fn start(&self) -> &'static str {
        if self.lines { "(?m:^)" } else { "\\A" }
    }

    /// An atom with the repetitions that follow it.
    fn repeated(&mut self, mut atom: String) -> Result<String, String> {
        loop {
            match self.peek() {
                Some((Token::Repeat(sign), length)) => {
                    self.rest = &self.rest[length..];
                    atom = format!("(?:{atom}{})", char::from(sign));
                }
                Some((Token::Interval, length)) => {
                    self.rest = &self.rest[length..];
                    atom = format!("(?:{atom}{})", self.interval()?);
                }
                _ => return Ok(atom),
            }
        }
    }

    fn interval(&mut self) -> Result<String, String> {
        let close: &[u8] = if self.extended { b"}" } else { b"\\}" };
        let end = self.rest.windows(close.len()).position(|window| window == close);
        let end = end.ok_or_else(|| "Unmatched \\{".to_owned())?;
        let inside = std::str::from_utf8(&self.rest[..end]).unwrap_or("");
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= REPEAT_MAX);
        let invalid = || "Invalid content of \\{\\}".to_owned();
        let bounds = match inside.split_once(',') {
            None => number(inside).map(|count| format!("{{{count}}}")),
            Some((least, "")) => number(least).map(|least| format!("{{{least},}}")),
            Some(("", most)) => number(most).map(|most| format!("{{0,{most}}}")),
            Some((least, most)) => number(least)
                .zip(number(most))
                .filter(|(least, most)| least <= most)
                .map(|(least, most)| format!("{{{least},{most}}}")),
        };
        self.rest = &self.rest[end + close.len()..];
        bounds.ok_or_else(invalid)
    }

    fn special(&mut self, letter: u8) -> Result<String, String> {
        Ok(match letter {
            b'w' | b'W' | b's' | b'S' => {
                let (set, negated) = class::of_letter(letter).expect("these letters are known");
                set.written(negated)
            }
            b'b' => "\\b".to_owned(),
            b'B' => "\\B".to_owned(),
            b'`' => "\\A".to_owned(),
            b'\'' => "\\z".to_owned(),
            b'<' | b'>' => {
                // The `regex` crate has no word for them that PCRE2 shares.
                self.needs_back_tracking = true;
                (if letter == b'<' { "\\b(?=[0-9A-Za-z_])" } else { "\\b(?<=[0-9A-Za-z_])" }).to_owned()
            }
            digit => {
                if usize::from(digit - b'0') > self.groups {
                    return Err("Invalid back reference".to_owned());
                }
                self.needs_back_tracking = true;
                format!("\\g{{{}}}", char::from(digit))
            }
        })
    }

    /// A bracket expression, from after its `[`.
    fn bracket(&mut self) -> Result<String, String> {
        let unmatched = || UNMATCHED_BRACKET.to_owned();
        let negated = self.rest.first() == Some(&b'^');
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut set = ByteSet::new();
        let mut is_first = true;
        loop {
            let &byte = self.rest.first().ok_or_else(unmatched)?;
            if byte == b']' && !is_first {
                self.rest = &self.rest[1..];
                break;
            }
            is_first = false;
            if byte == b'['
                && let Some(kind @ (b':' | b'=' | b'.')) = self.rest.get(1).copied()
            {
                let inside = &self.rest[2..];
                let end =
                    inside.windows(2).position(|window| window == [kind, b']']).ok_or_else(unmatched)?;
                let name = std::str::from_utf8(&inside[..end]).unwrap_or("");
                self.rest = &inside[end + 2..];
                match (kind, name.as_bytes()) {
                    (b':', _) => {
                        let known = class::named(name).filter(|_| !matches!(name, "word" | "ascii"));
                        set.add_all(&known.ok_or("Invalid character class name")?);
                        continue;
                    }
                    (_, &[byte]) => {
                        self.range_or_byte(byte, &mut set)?;
                        continue;
                    }
                    _ => return Err("Invalid collation character".to_owned()),
                }
            }
            self.rest = &self.rest[1..];
            self.range_or_byte(byte, &mut set)?;
        }
        if negated && self.lines {
            set.add(b'\n');
        }
        Ok(set.written(negated))
    }

    fn range_or_byte(&mut self, first: u8, set: &mut ByteSet) -> Result<(), String> {
        match self.rest {
            [b'-', last, ..] if *last != b']' => {
                let last = match self.rest {
                    [b'-', b'[', b'.' | b'=', last, b'.' | b'=', b']', ..] => {
                        self.rest = &self.rest[6..];
                        *last
                    }
                    _ => {
                        self.rest = &self.rest[2..];
                        *last
                    }
                };
                if last < first {
                    return Err("Invalid range end".to_owned());
                }
                set.add_range(first, last);
            }
            _ => set.add(first),
        }
        Ok(())
    }
}
