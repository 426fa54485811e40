//! What header_checks(5) may do to mail that leaves: a line is changed, taken away or told of, and nothing else.

use crate::cleanup::{CleanupNote, Fate, Inspected, LOGGED_BYTES_MAX, LineEdit};

/// Carries out `value`, which the table of `parameter` has for `line`.
pub(super) fn act(
    what: Inspected,
    line: &[u8],
    value: &str,
    parameter: &str,
    notes: &mut Vec<CleanupNote>,
) -> Fate {
    let word_end = value.find([' ', '\t']).unwrap_or(value.len());
    let (word, text) = (&value[..word_end], value[word_end..].trim_start_matches([' ', '\t']));
    let (fate, told_as) = match word.to_ascii_uppercase().as_str() {
        "WARN" => (Fate::Keep, Some("warning")),
        "INFO" => (Fate::Keep, Some("info")),
        verb => match LineEdit::named(verb, what, text, parameter) {
            Some(Ok(edit)) => (edit.fate, edit.told_as),
            Some(Err(wrong)) => {
                notes.push(CleanupNote::warning(wrong));
                return Fate::Keep;
            }
            None => {
                let wrong = format!("unsupported command in {parameter} map: {value}");
                notes.push(CleanupNote::warning(wrong));
                return Fate::Keep;
            }
        },
    };
    if let Some(verb) = told_as {
        let shown = String::from_utf8_lossy(&line[..line.len().min(LOGGED_BYTES_MAX)]);
        let mut told = format!("{verb}: {} {shown}", what.word());
        if !text.is_empty() {
            told.push_str(&format!(": {text}"));
        }
        notes.push(CleanupNote::info(told));
    }
    fate
}
