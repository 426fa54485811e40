//! Changing `master.cf` in its place.

use super::edit_main::end_line;
use super::entry::Entry;
use super::layout::put_entry;
use super::logical::{Physical, physical_lines, split_name_value};
use super::options::{Action, Subject};
use super::pattern::{Pattern, field_index};
use super::said::{Fatal, Said, printable};

/// The new text of `master.cf`, which `file` holds.
///
/// # Errors
/// What is fatal; nothing is changed then.
pub fn edit_master(
    subject: Subject,
    action: Action,
    words: &[String],
    file: &str,
    text: &str,
    said: &mut Said,
) -> Result<String, Fatal> {
    let mut requests: Vec<Request<'_>> = Vec::with_capacity(words.len());
    for word in words {
        requests.push(Request::read(subject, action, word, said)?);
    }
    let mut out = String::with_capacity(text.len() + 256);
    for block in blocks(text) {
        let Some(first) = block.first else {
            block.lines.iter().for_each(|(_, line)| out.push_str(line));
            continue;
        };
        let name_and_type = first.split_ascii_whitespace().take(2).collect::<Vec<&str>>();
        let [name, kind] = name_and_type[..] else {
            let what = "specify service name and type on the same line";
            return Err(format!("file {file}: line {}: {what}", block.number));
        };
        let matching: Vec<usize> =
            (0..requests.len()).filter(|index| requests[*index].pattern.matches(name, kind)).collect();
        let first_time = matching.iter().any(|index| !requests[*index].matched);
        for index in &matching {
            requests[*index].matched = true;
        }
        match (matching.last(), subject, action) {
            (None, ..) => block.lines.iter().for_each(|(_, line)| out.push_str(line)),
            (Some(last), Subject::Entries, _) => {
                if let Some(entry) = requests[*last].entry.as_ref().filter(|_| first_time) {
                    end_line(&mut out);
                    put_entry(&mut out, entry, true);
                }
                for (own, line) in &block.lines {
                    match (own, action) {
                        (true, Action::CommentOut) => out.extend(["#", *line]),
                        (true, _) => {}
                        (false, _) => out.push_str(line),
                    }
                }
            }
            _ => {
                let mut entry = block.entry(file, said)?;
                for index in matching {
                    requests[index].apply(&mut entry, said)?;
                }
                block.lines.iter().filter(|(own, _)| !own).for_each(|(_, line)| out.push_str(line));
                end_line(&mut out);
                put_entry(&mut out, &entry, true);
            }
        }
    }
    for request in requests.iter().filter(|request| !request.matched) {
        match &request.entry {
            Some(entry) => {
                end_line(&mut out);
                put_entry(&mut out, entry, true);
            }
            None if subject != Subject::Entries => {
                said.warn(format!("unmatched service_name/type: \"{}\"", request.word));
            }
            None => {}
        }
    }
    Ok(out)
}

/// A logical line with the comments in and after it; or the comments before the first.
#[derive(Default)]
struct Block<'t> {
    first: Option<&'t str>,
    number: usize,
    /// Whether a line is the logical line's own, and the line.
    lines: Vec<(bool, &'t str)>,
}

impl Block<'_> {
    fn entry(&self, file: &str, said: &mut Said) -> Result<Entry, Fatal> {
        let own = self.lines.iter().filter(|(own, _)| *own);
        let mut text = String::new();
        for (_, line) in own {
            text.push_str(line.strip_suffix('\n').unwrap_or(line));
            text.push(' ');
        }
        Entry::parse(&text, said).map_err(|error| {
            error.unwrap_or_else(|| format!("file {file}: line {}: bad field count", self.number))
        })
    }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = vec![Block::default()];
    for (index, line) in physical_lines(text).enumerate() {
        let (own, line) = match line {
            Physical::First(line) => {
                blocks.push(Block { first: Some(line), number: index + 1, lines: Vec::new() });
                (true, line)
            }
            Physical::More(line) => (true, line),
            Physical::Other(line) => (false, line),
        };
        if let Some(block) = blocks.last_mut() {
            block.lines.push((own, line));
        }
    }
    blocks
}

struct Request<'w> {
    word: &'w str,
    pattern: Pattern,
    change: Change,
    /// For `-Me`.
    entry: Option<Entry>,
    matched: bool,
}

enum Change {
    /// Nothing but what the action itself says.
    Whole,
    Field {
        index: usize,
        value: String,
    },
    Set {
        name: String,
        value: String,
    },
    Remove {
        name: String,
    },
}

impl<'w> Request<'w> {
    fn read(subject: Subject, action: Action, word: &'w str, said: &mut Said) -> Result<Self, Fatal> {
        if word.contains('\n') {
            return Err("-Me, -Fe, -Pe, -X, or -# accept no multi-line input".into());
        }
        if word.trim_ascii_start().starts_with('#') {
            return Err("-Me, -Fe, -Pe, -X, or -# accept no comment input".into());
        }
        let (name, value) = match action {
            Action::Edit => split_name_value(word).map_err(|reason| format!("{reason}: \"{word}\""))?,
            _ if word.contains('=') => return Err("-X or -# requires names without value".into()),
            _ => (word, ""),
        };
        let pattern = Pattern::edited(subject, name)?;
        let spaced = value.contains(|c: char| c.is_ascii_whitespace());
        let third = pattern.third().unwrap_or_default().to_owned();
        let mut entry = None;
        let change = match (subject, action) {
            (Subject::Entries, Action::Edit) => {
                let parsed = Entry::parse(value, said);
                let count = || format!("bad field count: \"{}\"", printable(word));
                entry = Some(parsed.map_err(|error| error.unwrap_or_else(count))?);
                Change::Whole
            }
            (Subject::Entries, _) => Change::Whole,
            (Subject::Fields, _) => {
                let index = field_index(&third)?;
                if spaced && index != super::entry::COMMAND {
                    return Err("-Fe does not accept whitespace in non-command field".into());
                }
                Change::Field { index, value: value.to_owned() }
            }
            (_, Action::Edit) if spaced => {
                return Err("-Pe does not accept whitespace in parameter value".into());
            }
            (_, Action::Edit) => Change::Set { name: third, value: value.to_owned() },
            _ => Change::Remove { name: third },
        };
        Ok(Request { word, pattern, change, entry, matched: false })
    }

    fn apply(&self, entry: &mut Entry, said: &mut Said) -> Result<(), Fatal> {
        match &self.change {
            Change::Whole => {}
            Change::Field { index, value } => entry.set_field(*index, value, said)?,
            Change::Set { name, value } => entry.set(name, value),
            Change::Remove { name } => entry.remove(name),
        }
        Ok(())
    }
}
