//! What header_checks(5) may do to mail that leaves: a line is changed, taken away or told of, and nothing else.

use crate::cleanup::{CleanupNote, is_header};

/// Bytes of a header or line that the log shows.
const LOGGED_BYTES_MAX: usize = 200;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Body,
}

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    Drop,
    Replace(String),
    /// It stays, and this stands before it.
    Prepend(String),
}

/// Carries out `value`, which the table of `parameter` has for `line`.
pub(super) fn act(
    part: Part,
    line: &[u8],
    value: &str,
    parameter: &str,
    notes: &mut Vec<CleanupNote>,
) -> Action {
    let word_end = value.find([' ', '\t']).unwrap_or(value.len());
    let (word, text) = (&value[..word_end], value[word_end..].trim_start_matches([' ', '\t']));
    let verb = word.to_ascii_lowercase();
    let where_found = match part {
        Part::Header => "header",
        Part::Body => "body",
    };
    let told = || {
        let shown = String::from_utf8_lossy(&line[..line.len().min(LOGGED_BYTES_MAX)]);
        let verb = if verb == "warn" { "warning" } else { &verb };
        match text.is_empty() {
            true => CleanupNote::info(format!("{verb}: {where_found} {shown}")),
            false => CleanupNote::info(format!("{verb}: {where_found} {shown}: {text}")),
        }
    };
    match verb.as_str() {
        "warn" | "info" => notes.push(told()),
        "replace" | "prepend" if text.is_empty() => {
            let upper = word.to_ascii_uppercase();
            notes.push(CleanupNote::warning(format!("{upper} action without text in {parameter} map")));
        }
        "replace" | "prepend" if part == Part::Header && !is_header(text) => {
            let upper = word.to_ascii_uppercase();
            notes.push(CleanupNote::warning(format!(
                "bad {upper} header text \"{text}\" in {parameter} map -- need \"headername: headervalue\""
            )));
        }
        "replace" => {
            notes.push(told());
            return Action::Replace(text.to_owned());
        }
        "prepend" => {
            notes.push(told());
            return Action::Prepend(text.to_owned());
        }
        "strip" => {
            notes.push(told());
            return Action::Drop;
        }
        "ignore" => return Action::Drop,
        "dunno" | "ok" => {}
        _ => notes.push(CleanupNote::warning(format!("unsupported command in {parameter} map: {value}"))),
    }
    Action::Keep
}
