//! Logical lines: what `main.cf` and `master.cf` have in common.
//!
//! A line that begins with white space continues the previous one; empty lines and lines whose first other character
//! is `#` are skipped, also between continuation lines. Pieces are joined by one space. A carriage return before the
//! line feed is white space like any other.

use super::Source;
use super::error::{ConfigError, Place};

/// One logical line, white space trimmed at both ends, never empty.
pub(super) struct LogicalLine {
    pub place: Place,
    pub text: String,
}

/// The logical lines of a file, or every line that cannot be read.
pub(super) fn logical_lines(source: &Source<'_>) -> Result<Vec<LogicalLine>, Vec<ConfigError>> {
    let file: std::sync::Arc<str> = source.name.into();
    let mut lines: Vec<LogicalLine> = Vec::new();
    let mut errors = Vec::new();
    // Whether a line that starts with white space has something to continue.
    let mut open = false;
    let bytes = source.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source.text);
    for (index, raw) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let trimmed = raw.trim_ascii();
        if trimmed.is_empty() || trimmed[0] == b'#' {
            continue;
        }
        let place = Place { file: file.clone(), line: u32::try_from(index + 1).unwrap_or(u32::MAX) };
        let continues = raw[0].is_ascii_whitespace();
        if trimmed.contains(&0) {
            errors.push(ConfigError::new(&place, "a NUL byte in the text"));
            continue;
        }
        let Ok(text) = core::str::from_utf8(trimmed) else {
            errors.push(ConfigError::new(&place, "the text is not UTF-8"));
            open = true;
            continue;
        };
        if !continues {
            lines.push(LogicalLine { place, text: text.into() });
            open = true;
        } else if !open {
            errors.push(ConfigError::new(
                &place,
                "the first line begins with white space, but there is none to continue",
            ));
        } else if let Some(line) = lines.last_mut() {
            line.text.push(' ');
            line.text.push_str(text);
        }
    }
    if errors.is_empty() { Ok(lines) } else { Err(errors) }
}
