//! Varints and texts, and a cursor that cannot be led outside its bytes.

use super::TEXT_BYTES_MAX;

/// The bytes are not an envelope or note of ours: wrong version, cut short, or impossible values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("damaged envelope or note")
    }
}

impl std::error::Error for Damaged {}

/// Appends `value`, seven bits a byte, lowest first.
pub(crate) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a text, cut at a character boundary if it is longer than [`TEXT_BYTES_MAX`].
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..floor_char_boundary(text, TEXT_BYTES_MAX)];
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The largest character boundary of `text` that is not above `limit`.
pub(crate) fn floor_char_boundary(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    (0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// A place in bytes that are being decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let byte = *self.bytes.get(self.at).ok_or(Damaged)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let end = self.at.checked_add(count).ok_or(Damaged)?;
        let slice = self.bytes.get(self.at..end).ok_or(Damaged)?;
        self.at = end;
        Ok(slice)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Damaged);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// A number that may not exceed `most`.
    pub(crate) fn number_up_to(&mut self, most: u64) -> Result<u64, Damaged> {
        self.number().and_then(|value| if value <= most { Ok(value) } else { Err(Damaged) })
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = self.number_up_to(TEXT_BYTES_MAX as u64)? as usize;
        std::str::from_utf8(self.take(length)?).map_err(|_| Damaged)
    }
}
