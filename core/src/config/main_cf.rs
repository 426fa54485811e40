//! `main.cf`: names and the text of their values, not yet expanded.

use std::collections::HashMap;

use super::Source;
use super::error::{ConfigError, Place, quoted};
use super::lines::logical_lines;

/// A value as written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The text after `=`, trimmed; references are not expanded.
    pub text: String,
    /// The place of the line that counts (the last one that defines this name).
    pub place: Place,
}

/// Names with their definitions.
pub type Definitions = HashMap<String, Definition>;

/// Reads a `main.cf`. The last definition of a name wins; unknown names are legal.
///
/// # Errors
/// Every line that is no definition.
pub fn read(source: &Source<'_>) -> Result<Definitions, Vec<ConfigError>> {
    let mut definitions = Definitions::new();
    let mut errors = Vec::new();
    for line in logical_lines(source)? {
        match split_definition(&line.text) {
            Ok((name, text)) => {
                let definition = Definition { text: text.into(), place: line.place };
                definitions.insert(name.into(), definition);
            }
            Err(text) => errors.push(ConfigError::new(&line.place, text)),
        }
    }
    if errors.is_empty() { Ok(definitions) } else { Err(errors) }
}

/// The definitions of a `main.cf` without the lines that are none, and without those that are no text.
pub(super) fn read_sound_lines(source: &Source<'_>) -> Definitions {
    let mut text = Vec::new();
    let lines = source.text.split(|&byte| byte == b'\n');
    let is_text = |line: &&[u8]| !line.contains(&0) && core::str::from_utf8(line).is_ok();
    for line in lines.filter(is_text) {
        // What continues nothing is none.
        if !text.is_empty() || !line.first().is_some_and(u8::is_ascii_whitespace) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }
    let lines = logical_lines(&Source { name: source.name, text: &text }).unwrap_or_default();
    let sound = lines.iter().filter_map(|line| {
        let (name, text) = split_definition(&line.text).ok()?;
        Some((name.to_owned(), Definition { text: text.to_owned(), place: line.place.clone() }))
    });
    sound.collect()
}

/// `name = value` in its two parts, trimmed.
pub(super) fn split_definition(line: &str) -> Result<(&str, &str), String> {
    let Some((name, text)) = line.split_once('=') else {
        return Err(format!("missing '=' after the parameter name: {}", quoted(line)));
    };
    let name = name.trim_ascii();
    if name.is_empty() {
        return Err(format!("missing parameter name: {}", quoted(line)));
    }
    if name.contains(|character: char| character.is_ascii_whitespace()) {
        return Err(format!("missing '=' after the parameter name: {}", quoted(line)));
    }
    Ok((name, text.trim_ascii()))
}
