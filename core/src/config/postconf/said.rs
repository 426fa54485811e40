//! What postconf says, and how bytes become text and text bytes again.
//!
//! A configuration is bytes to Postfix. Here each byte is one character of its own number (Latin-1), so that text is
//! handled as text and nothing of a file is lost.

/// Of bytes.
pub fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Back again. A character that is not of [`text_of`] is written as UTF-8.
pub fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// As messages are printed: what is not printable ASCII becomes a question mark.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// What a run prints.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Said {
    /// For standard output.
    pub out: String,
    /// For standard error, each a `warning:`.
    pub warnings: Vec<String>,
}

impl Said {
    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }
}

/// Ends a run: a `fatal:`, exit code 1. What was to go to standard output is not printed.
pub type Fatal = String;
