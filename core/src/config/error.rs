//! What is wrong with a configuration, and where.

use core::fmt;
use std::sync::Arc;

/// The place of a definition: a file (or `-o` for the command line) and a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file as the caller named it.
    pub file: Arc<str>,
    /// The line on which the logical line begins, from 1; 0 where lines mean nothing (command line, defaults).
    pub line: u32,
}

impl Place {
    /// Line `line` of `file`.
    pub fn new(file: &str, line: u32) -> Self {
        Self { file: file.into(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}", self.file),
            line => write!(formatter, "{}:{line}", self.file),
        }
    }
}

/// One error, printed as `main.cf:12: what is wrong`. A configuration with errors is not loaded (EX_CONFIG, 78).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What, in one sentence without a full stop.
    pub text: String,
}

impl ConfigError {
    pub(super) fn new(place: &Place, text: impl Into<String>) -> Self {
        Self { place: place.clone(), text: text.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.text)
    }
}

impl core::error::Error for ConfigError {}

/// At most this much of a wrong value is repeated in an error.
const QUOTED_CHARACTERS_MAX: usize = 80;

/// `text` fit to be quoted in an error: control characters escaped, cut when long.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for (index, character) in text.chars().enumerate() {
        if index == QUOTED_CHARACTERS_MAX {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out.push('"');
    out
}
