//! Values: what the text of a parameter means by its kind.

use core::time::Duration;

use super::error::quoted;

/// The unit of a time without a suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// `s`
    Seconds,
    /// `m`
    Minutes,
    /// `h`
    Hours,
    /// `d`
    Days,
    /// `w`
    Weeks,
}

impl TimeUnit {
    /// The suffix.
    pub fn suffix(self) -> char {
        match self {
            TimeUnit::Seconds => 's',
            TimeUnit::Minutes => 'm',
            TimeUnit::Hours => 'h',
            TimeUnit::Days => 'd',
            TimeUnit::Weeks => 'w',
        }
    }

    fn seconds(self) -> u64 {
        match self {
            TimeUnit::Seconds => 1,
            TimeUnit::Minutes => 60,
            TimeUnit::Hours => 3_600,
            TimeUnit::Days => 86_400,
            TimeUnit::Weeks => 604_800,
        }
    }
}

/// The longest time that a parameter may name: what fits 31 bits of seconds, as in Postfix.
pub const TIME_SECONDS_MAX: u64 = i32::MAX as u64;

/// `yes` or `no`.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        _ if text.eq_ignore_ascii_case("yes") => Ok(true),
        _ if text.eq_ignore_ascii_case("no") => Ok(false),
        _ => Err(format!("{} is neither yes nor no", quoted(text))),
    }
}

/// A whole number within limits.
pub(crate) fn parse_integer(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = if digits { text.parse().ok() } else { None };
    match number {
        Some(number) if number < min => Err(format!("{} is less than {min}", quoted(text))),
        Some(number) if number <= max => Ok(number),
        _ if digits => Err(format!("{} is more than {max}", quoted(text))),
        _ => Err(format!("{} is no whole number", quoted(text))),
    }
}

/// A whole number of some unit, with one suffix `s m h d w` or none.
pub(crate) fn parse_time(text: &str, unit: TimeUnit) -> Result<Duration, String> {
    let wrong = || format!("{} is no time: a number and one of s, m, h, d, w", quoted(text));
    let last = text.chars().next_back().ok_or_else(wrong)?;
    let (number, unit) = match last.to_ascii_lowercase() {
        's' => (&text[..text.len() - 1], TimeUnit::Seconds),
        'm' => (&text[..text.len() - 1], TimeUnit::Minutes),
        'h' => (&text[..text.len() - 1], TimeUnit::Hours),
        'd' => (&text[..text.len() - 1], TimeUnit::Days),
        'w' => (&text[..text.len() - 1], TimeUnit::Weeks),
        _ => (text, unit),
    };
    let number = parse_integer(number, 0, u64::MAX).map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit.seconds()).filter(|&seconds| seconds <= TIME_SECONDS_MAX);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{} is too long a time", quoted(text)))
}

/// The elements of a list: separated by commas and white space; braces keep what they hold together, and the outermost
/// pair of an element that is braced as a whole is taken off.
pub fn split_list(text: &str) -> Vec<&str> {
    split_whole(text).into_iter().map(unbraced).collect()
}

/// As [`split_list`], but the braces of an element stay.
pub fn split_whole(text: &str) -> Vec<&str> {
    split_outside_braces(text, |byte| byte == b',' || byte.is_ascii_whitespace())
}

/// What stands between separators that are not within braces, without empty pieces.
pub(super) fn split_outside_braces(text: &str, separates: impl Fn(u8) -> bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut depth = 0_usize;
    let mut start = None;
    for (index, byte) in text.bytes().enumerate() {
        let separator = depth == 0 && separates(byte);
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (separator, start) {
            (true, Some(from)) => {
                pieces.push(&text[from..index]);
                start = None;
            }
            (false, None) => start = Some(index),
            _ => {}
        }
    }
    pieces.extend(start.map(|from| &text[from..]));
    pieces
}

/// The words of a `master.cf` line: separated by white space; a word that begins with a brace ends with its partner,
/// and is given without them.
pub(super) fn split_arguments(text: &str) -> Result<Vec<&str>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let end = if rest.starts_with('{') {
            let end = super::expand::closing(rest, b'{')
                .ok_or_else(|| format!("'}}' missing in {}", quoted(rest)))?;
            if !rest[end + 1..].starts_with(|after: char| after.is_ascii_whitespace()) && rest.len() > end + 1
            {
                return Err(format!("white space expected after '}}' in {}", quoted(rest)));
            }
            words.push(rest[1..end].trim_ascii());
            end + 1
        } else {
            let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
            words.push(&rest[..end]);
            end
        };
        rest = rest[end..].trim_ascii_start();
    }
    Ok(words)
}

fn unbraced(element: &str) -> &str {
    match element.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        Some(inner) if super::expand::closing(element, b'{') == Some(element.len() - 1) => inner.trim_ascii(),
        _ => element,
    }
}
