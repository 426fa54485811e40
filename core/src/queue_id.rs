//! Queue ids: the printed name of a message, in Postfix's long shape.
//!
//! Shape: six or more base-52 digits of the arrival's seconds, exactly four of its microseconds, the separator `z`,
//! and a number that is unique while the message is queued (Postfix prints an inode there, we the spool's message id)
//! in base 51, so that it never contains the separator. Log parsers match `[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}z…`.
//!
//! A queue id is 25 bytes (24 of text and their count), inline; making, copying and printing one allocates nothing.

use core::fmt;

/// Digits without vowels, so that no id spells a word. Base 51 uses all but the last.
const ALPHABET: &[u8; 52] = b"0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
const SEPARATOR: u8 = b'z';
const SECONDS_DIGITS_MIN: usize = 6;
const MICROS_DIGITS: usize = 4;
const UNIQUE_BASE: u64 = 51;
/// 7 + 4 + 1 + 12 digits: the longest id that [`QueueId::new`] can make.
const TEXT_BYTES: usize = 24;
/// The largest second that still fits seven digits (some 32,000 years from 1970).
const SECONDS_MAX: u64 = 52_u64.pow(7) - 1;

/// A queue id in the long shape, e.g. `4SVLCh0sf8z7Qhl`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueueId {
    text: [u8; TEXT_BYTES],
    length: u8,
}

/// What a queue id says: when the message arrived and its unique number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueIdParts {
    /// Arrival, whole seconds since 1970.
    pub seconds: u64,
    /// Arrival, microseconds within the second (0–999,999).
    pub micros: u32,
    /// The spool's message id.
    pub unique: u64,
}

impl QueueId {
    /// The id of a message that arrived `arrival_us` microseconds after 1970 and bears `unique` in the spool.
    ///
    /// Seconds beyond 52⁷ − 1 are printed as that; the unique number alone keeps ids apart.
    pub fn new(arrival_us: u64, unique: u64) -> Self {
        let seconds = (arrival_us / 1_000_000).min(SECONDS_MAX);
        let micros = arrival_us % 1_000_000;
        let mut text = [0; TEXT_BYTES];
        let mut length = 0;
        length += put_digits(&mut text[length..], seconds, 52, SECONDS_DIGITS_MIN);
        length += put_digits(&mut text[length..], micros, 52, MICROS_DIGITS);
        text[length] = SEPARATOR;
        length += 1;
        length += put_digits(&mut text[length..], unique, UNIQUE_BASE, 1);
        Self { text, length: length as u8 }
    }

    /// Reads an id back. `None` if `text` is not in the long shape or its numbers overflow.
    pub fn parse(text: &[u8]) -> Option<(Self, QueueIdParts)> {
        // The unique part never contains the separator, so the last one divides; the time part may contain it.
        let separator = memchr::memrchr(SEPARATOR, text)?;
        let (time, unique) = (&text[..separator], &text[separator + 1..]);
        if time.len() < SECONDS_DIGITS_MIN + MICROS_DIGITS || unique.is_empty() {
            return None;
        }
        let (seconds, micros) = time.split_at(time.len() - MICROS_DIGITS);
        let seconds = digits(seconds, 52)?;
        let micros = u32::try_from(digits(micros, 52)?).ok().filter(|&micros| micros < 1_000_000)?;
        let unique = digits(unique, UNIQUE_BASE)?;
        let arrival_us = seconds.checked_mul(1_000_000)?.checked_add(u64::from(micros))?;
        let id = Self::new(arrival_us, unique);
        // Padding and leading zeros have one right form; anything else is a different text for the same message.
        (id.as_bytes() == text).then_some((id, QueueIdParts { seconds, micros, unique }))
    }

    /// The printed id.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).expect("the alphabet is ASCII")
    }

    /// The printed id as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Writes `number` with at least `digits_min` digits; returns how many.
fn put_digits(out: &mut [u8], mut number: u64, base: u64, digits_min: usize) -> usize {
    let mut reversed = [ALPHABET[0]; 12];
    let mut count = 0;
    while number > 0 {
        reversed[count] = ALPHABET[(number % base) as usize];
        number /= base;
        count += 1;
    }
    let count = count.max(digits_min);
    for (place, digit) in out.iter_mut().zip(reversed[..count].iter().rev()) {
        *place = *digit;
    }
    count
}

fn digits(text: &[u8], base: u64) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = ALPHABET.iter().position(|symbol| symbol == byte)? as u64;
        if digit >= base {
            return None;
        }
        number.checked_mul(base)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vector_of_the_long_shape() {
        assert_eq!(QueueId::new(1_700_000_000_123_456, 987_654).as_str(), "4SVLCh0sf8z7Qhl");
    }

    #[test]
    fn zero_is_padded_as_log_parsers_expect() {
        assert_eq!(QueueId::new(0, 0).as_str(), "0000000000z0");
    }

    #[test]
    fn the_longest_id_fits() {
        assert_eq!(QueueId::new(u64::MAX, u64::MAX).as_bytes().len(), TEXT_BYTES);
    }

    #[test]
    fn other_shapes_are_not_taken_for_ids() {
        for text in
            ["", "z", "1E240F1206", "4SVLCh0sf8z", "4SVLCh0sf8zA", "4SVLCh0sfz7Qhl", "004SVLCh0sf8z7Qhl"]
        {
            assert_eq!(QueueId::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(QueueId::parse(b"4SVLCh0sf8z07Qhl"), None, "a leading zero");
    }

    proptest! {
        #[test]
        fn an_id_reads_back(seconds in 0..=SECONDS_MAX, micros in 0..1_000_000_u64, unique: u64) {
            let id = QueueId::new(seconds * 1_000_000 + micros, unique);
            let parts = QueueIdParts { seconds, micros: micros as u32, unique };
            prop_assert_eq!(QueueId::parse(id.as_bytes()), Some((id, parts)));
        }

        #[test]
        fn arbitrary_text_never_panics(text: Vec<u8>) {
            let _ = QueueId::parse(&text);
        }
    }
}
