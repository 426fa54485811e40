//! Logical lines of a file, as Postfix joins them.

use super::said::Said;

/// What a physical line is; each with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical<'t> {
    /// Begins a logical line.
    First(&'t str),
    /// Continues it.
    More(&'t str),
    /// A comment or an empty line.
    Other(&'t str),
}

/// The physical lines with their ends, and what each is. A continuation of nothing counts as a beginning.
pub(super) fn physical_lines(text: &str) -> impl Iterator<Item = Physical<'_>> {
    let mut open = false;
    text.split_inclusive('\n').map(move |line| {
        let content = line.trim_ascii_start();
        if content.is_empty() || content.starts_with('#') {
            Physical::Other(line)
        } else if open && line.starts_with(|c: char| c.is_ascii_whitespace()) {
            Physical::More(line)
        } else {
            open = true;
            Physical::First(line)
        }
    })
}

/// A logical line: the number of its first physical one, and its text up to a NUL, white space within as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logical {
    pub number: usize,
    pub text: String,
}

/// The logical lines of `text`, which `file` holds.
pub(super) fn logical_lines(file: &str, text: &str, said: &mut Said) -> Vec<Logical> {
    let mut lines: Vec<Logical> = Vec::new();
    for (index, line) in physical_lines(text).enumerate() {
        match line {
            Physical::Other(_) => {}
            Physical::First(line) => {
                lines.push(Logical { number: index + 1, text: without_end(line).into() })
            }
            Physical::More(line) => {
                if let Some(logical) = lines.last_mut() {
                    logical.text.push_str(without_end(line));
                }
            }
        }
    }
    for line in &mut lines {
        line.text.truncate(line.text.find('\0').unwrap_or(line.text.len()));
    }
    lines.retain(|line| {
        let sound = !line.text.starts_with([' ', '\t']);
        if !sound {
            let shown: String = line.text.chars().take(SHOWN_CHARACTERS_MAX).collect();
            let more = if shown.len() < line.text.len() { "..." } else { "" };
            said.warn(format!("{file}: logical line must not start with whitespace: \"{shown}{more}\""));
        }
        sound
    });
    lines
}

/// Of a line in a message.
const SHOWN_CHARACTERS_MAX: usize = 30;

fn without_end(line: &str) -> &str {
    line.strip_suffix('\n').unwrap_or(line)
}

/// `name = value`, both trimmed.
pub(super) fn split_name_value(text: &str) -> Result<(&str, &str), &'static str> {
    let text = text.trim_ascii();
    let end = text.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Err("missing attribute name");
    }
    let value = rest.trim_ascii_start().strip_prefix('=').ok_or("missing '=' after attribute name")?;
    Ok((name, value.trim_ascii()))
}
