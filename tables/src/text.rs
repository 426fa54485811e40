//! text: tables that are written as `key white-space value`, one a line.

mod lines;

use std::collections::HashMap;
use std::path::Path;

use ringpost_core::config::split_whole;
use ringpost_core::lookup::{Found, TableSpec};

use crate::file_values;
use crate::fold::lower;
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::{Listing, Table, Unlisted};

pub use self::lines::{LogicalLine, LogicalLines};

/// A text file larger than this wants to be an indexed table: it would be held in memory whole.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// One line of a table, split. The key keeps its quotes, as Postfix leaves it.
///
/// # Errors
/// What is wrong with the line, as Postfix says it.
pub fn key_and_value(line: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let mut in_quotes = false;
    let mut bytes = line.iter().enumerate();
    let mut end = line.len();
    while let Some((index, &byte)) = bytes.next() {
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
        let line = String::from_utf8_lossy(line);
        return Err(format!("unbalanced '\"' in '{line}' -- ignoring this line"));
    }
    match (&line[..end], trim(&line[end..])) {
        (b"", _) | (_, b"") => Err(NO_VALUE.to_owned()),
        pair => Ok(pair),
    }
}

/// What is said of a line without a key or a value.
pub const NO_VALUE: &str = "expected format: key whitespace value";

/// `bytes` without the white space around it.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&byte| !is_space(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// What is said of an entry that looks like one of an alias file.
pub const ALIAS_FILE: &str = "record is in \"key: value\" format; is this an alias file?";

/// White space as C's `isspace` knows it.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The text of a table's file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |error: std::io::Error| format!("{}: {}", path.display(), reason_of(&error));
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > TEXT_BYTES_MAX {
        return Err(format!("{}: the file has {length} bytes, {TEXT_BYTES_MAX} at most", path.display()));
    }
    std::fs::read(path).map_err(fail)
}

/// Whether a table of rules has them in its own name: `cidr:{ {192.0.2.0/24 REJECT} … }`.
pub(crate) fn holds_rules(name: &str) -> bool {
    name.starts_with('{')
}

/// The rules of a table: the text of its file, or what its name holds, each rule in braces of its own there.
pub(crate) fn rules(spec: &TableSpec) -> Result<Vec<u8>, String> {
    if !holds_rules(&spec.name) {
        return read(Path::new(&spec.name)).map_err(|error| format!("open {error}"));
    }
    let wrong = |what: &str, text: &str| format!("{} map: {what} \"{text}\"", spec.kind.word());
    let inside = |text: &str| {
        let text = text.trim();
        let rest = text.strip_prefix('{').ok_or_else(|| wrong("missing '{' in text", text))?;
        let rest = rest.strip_suffix('}').ok_or_else(|| wrong("missing '}' in text", text))?;
        Ok::<_, String>(rest.trim().to_owned())
    };
    let mut lines = Vec::new();
    for rule in split_whole(&inside(&spec.name)?) {
        lines.extend_from_slice(inside(rule)?.as_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
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
pub(crate) struct Texthash {
    entries: HashMap<Box<str>, Box<str>>,
    fold: bool,
}

/// Reads the file. Lines that are no entries are told and left out.
pub(crate) fn open_texthash(
    spec: &TableSpec,
    options: &TableOptions,
    notes: &Notes,
) -> Result<Texthash, String> {
    let text = read(Path::new(&spec.name)).map_err(|error| format!("open database {error}"))?;
    let mut entries: HashMap<Box<str>, Box<str>> = HashMap::new();
    for line in LogicalLines::of(&text) {
        let say = |reason: &str| notes.warn(format!("{}, line {}: {reason}", spec.name, line.first));
        match entry(&line, options, &say) {
            Err(reason) => say(&reason),
            Ok((key, value)) => {
                let folded = if options.fold { lower(&key) } else { (*key).into() };
                if entries.contains_key(&*folded) {
                    say(&format!("duplicate entry: \"{key}\""));
                } else {
                    entries.insert(folded.into(), value);
                }
            }
        }
    }
    Ok(Texthash { entries, fold: options.fold })
}

fn entry(
    line: &LogicalLine<'_>,
    options: &TableOptions,
    say: &dyn Fn(&str),
) -> Result<(Box<str>, Box<str>), String> {
    let text = line.text()?;
    let (key, value) = key_and_value(text.as_bytes()).map_err(|reason| match reason.as_str() {
        NO_VALUE => format!("{NO_VALUE} -- ignoring this line"),
        _ => reason,
    })?;
    let text = |bytes| std::str::from_utf8(bytes).expect("white space does not cut a character");
    let (key, value) = (text(key), text(value));
    if key.ends_with(':') {
        say(ALIAS_FILE);
    }
    let value = match options.values_are_files {
        true => {
            file_values::encoded(value).map_err(|reason| format!("{reason}: skipping this entry"))?.into()
        }
        false => value.into(),
    };
    Ok((key.into(), value))
}

impl Table for Texthash {
    fn find(&self, key: &str) -> Found {
        let key = if self.fold { lower(key) } else { key.into() };
        Ok(self.entries.get(&*key).cloned())
    }

    fn list(&self, each: Listing<'_>) -> Result<(), Unlisted> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable();
        entries.into_iter().try_for_each(|(key, value)| each(key, value)).map_err(Unlisted::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use ringpost_core::lookup::TableType;

    use super::*;

    #[test]
    fn rules_in_braces_are_lines() {
        let rules = |spec: &str| {
            rules(&TableSpec::parse(spec, TableType::Hash).expect("a table"))
                .map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        assert_eq!(
            rules("cidr:{ {192.0.2.0/24 REJECT go}, { ::/0   OK } }").unwrap(),
            "192.0.2.0/24 REJECT go\n::/0   OK\n"
        );
        assert_eq!(rules("regexp:{{/^a{2}, b$/ x}}").unwrap(), "/^a{2}, b$/ x\n");
        assert!(rules("cidr:{ 192.0.2.0/24 }").unwrap_err().contains("missing '{'"));
    }

    #[test]
    fn the_key_ends_at_the_first_white_space_outside_quotes() {
        let split = |line: &'static str| key_and_value(line.as_bytes());
        assert_eq!(split("a  b c "), Ok((&b"a"[..], &b"b c"[..])));
        assert_eq!(split("\"a b\"@c\tv"), Ok((&b"\"a b\"@c"[..], &b"v"[..])));
        assert_eq!(split("a\\ b v"), Ok((&b"a\\ b"[..], &b"v"[..])));
        assert!(split("\"a b").unwrap_err().contains("unbalanced"));
        assert!(split("a").is_err());
    }
}
