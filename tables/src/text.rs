//! text: tables that are written as `key white-space value`, one a line.

mod lines;

use std::collections::HashMap;
use std::path::Path;

use ringpost_core::lookup::{Found, TableSpec};

use crate::fold::lower;
use crate::notes::Notes;
use crate::table::Table;

pub use self::lines::LogicalLines;

/// A text file larger than this wants to be an indexed table: it would be held in memory whole.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// One line of a table, split. The key keeps its quotes, as Postfix leaves it.
///
/// # Errors
/// What is wrong with the line, as Postfix says it.
pub fn key_and_value(line: &str) -> Result<(&str, &str), String> {
    let mut in_quotes = false;
    let mut bytes = line.bytes().enumerate();
    let mut end = line.len();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => in_quotes = !in_quotes,
            byte if is_space(byte) && !in_quotes => {
                end = index;
                break;
            }
            _ => {}
        }
    }
    if in_quotes {
        return Err(format!("unbalanced '\"' in '{line}' -- ignoring this line"));
    }
    let value = line[end..].trim_matches(|c: char| c.is_ascii() && is_space(c as u8));
    match (&line[..end], value) {
        ("", _) | (_, "") => Err("expected format: key whitespace value".to_owned()),
        pair => Ok(pair),
    }
}

/// White space as C's `isspace` knows it.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The text of a table's file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |error: std::io::Error| match error.raw_os_error() {
        Some(_) => format!("open {}: {}", path.display(), reason_of(&error)),
        None => format!("open {}: {error}", path.display()),
    };
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > TEXT_BYTES_MAX {
        return Err(format!("{}: the file has {length} bytes, {TEXT_BYTES_MAX} at most", path.display()));
    }
    std::fs::read(path).map_err(fail)
}

/// An error of the system in its own words, without Rust's number after them.
pub fn reason_of(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// `texthash:`: the file itself, in memory.
#[derive(Debug)]
pub(crate) struct Texthash(HashMap<Box<str>, Box<str>>);

/// Reads the file. Lines that are no entries are told and left out.
pub(crate) fn open_texthash(spec: &TableSpec, notes: &Notes) -> Result<Texthash, String> {
    let text = read(Path::new(&spec.name))?;
    let mut entries = HashMap::new();
    for line in LogicalLines::of(&text) {
        let entry = line.text().and_then(|text| {
            let (key, value) = key_and_value(text)?;
            Ok((lower(key).into_owned(), value.to_owned()))
        });
        match entry {
            Ok((key, value)) => {
                if entries.contains_key(key.as_str()) {
                    notes.warn(format!("{}: duplicate entry: \"{key}\"", spec.name));
                    continue;
                }
                entries.insert(key.into(), value.into());
            }
            Err(reason) => notes.warn(format!("{}, line {}: {reason}", spec.name, line.last)),
        }
    }
    Ok(Texthash(entries))
}

impl Table for Texthash {
    fn find(&self, key: &str) -> Found {
        Ok(self.0.get(&*lower(key)).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_at_the_first_white_space_outside_quotes() {
        assert_eq!(key_and_value("a  b c "), Ok(("a", "b c")));
        assert_eq!(key_and_value("\"a b\"@c\tv"), Ok(("\"a b\"@c", "v")));
        assert_eq!(key_and_value("a\\ b v"), Ok(("a\\ b", "v")));
        assert!(key_and_value("\"a b").unwrap_err().contains("unbalanced"));
        assert!(key_and_value("a").is_err());
    }
}
