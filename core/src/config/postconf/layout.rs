//! How values and entries are laid out on lines.

use super::entry::{Argument, COMMAND, Entry};

/// The longest folded line of a parameter, in bytes.
const LINE_MAX: usize = 80;
/// The longest folded line of an entry of `master.cf`.
const ENTRY_LINE_MAX: usize = 79;

const INDENT: &str = "    ";

/// Where the fields of an entry begin.
const COLUMNS: [usize; 8] = [0, 11, 17, 25, 33, 41, 49, 57];

/// Puts words one after the other, on new lines where they do not fit.
struct Words<'o> {
    out: &'o mut String,
    column: usize,
    limit: Option<usize>,
}

impl Words<'_> {
    fn put(&mut self, word: &str) {
        let fits = self.limit.is_none_or(|limit| self.column + 1 + word.len() <= limit);
        match self.column {
            0 => self.column = word.len(),
            _ if fits => {
                self.out.push(' ');
                self.column += 1 + word.len();
            }
            _ => return self.put_on_new_line(word),
        }
        self.out.push_str(word);
    }

    fn put_on_new_line(&mut self, word: &str) {
        self.out.push('\n');
        self.out.push_str(INDENT);
        self.out.push_str(word);
        self.column = INDENT.len() + word.len();
    }
}

/// `name = value`, or the name or the value alone; white space within the value becomes single blanks.
pub(super) fn put_parameter(out: &mut String, name: Option<&str>, value: Option<&str>, fold: bool) {
    let start = out.len();
    if let Some(name) = name {
        out.push_str(name);
        if value.is_some() {
            out.push_str(" =");
        }
    }
    let column = out.len() - start;
    let mut words = Words { out, column, limit: fold.then_some(LINE_MAX) };
    for word in value.unwrap_or_default().split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
        words.put(word);
    }
    out.push('\n');
}

/// An entry, its fields in columns.
pub(super) fn put_entry(out: &mut String, entry: &Entry, fold: bool) {
    let mut line = String::new();
    for (field, column) in entry.fields.iter().zip(COLUMNS) {
        if !line.is_empty() {
            line.push(' ');
        }
        while line.len() < column {
            line.push(' ');
        }
        line.push_str(field);
    }
    out.push_str(&line);
    put_arguments(out, entry, line.len(), fold);
}

/// The command with its arguments, after a label.
pub(super) fn put_command(out: &mut String, label: Option<&str>, entry: &Entry, fold: bool) {
    let start = out.len();
    if let Some(label) = label {
        out.push_str(label);
        out.push_str(" = ");
    }
    out.push_str(&entry.fields[COMMAND]);
    let column = out.len() - start;
    put_arguments(out, entry, column, fold);
}

fn put_arguments(out: &mut String, entry: &Entry, column: usize, fold: bool) {
    let mut words = Words { out, column, limit: fold.then_some(ENTRY_LINE_MAX) };
    // A setting stands on a line of its own.
    let mut alone = false;
    for argument in &entry.arguments {
        match argument {
            Argument::Setting { .. } | Argument::NoSetting(_) => {
                let option = option(argument);
                if fold {
                    words.put_on_new_line(&option);
                    alone = true;
                } else {
                    words.put(&option);
                }
            }
            Argument::Word(word) if alone => {
                words.put_on_new_line(word);
                alone = false;
            }
            Argument::Word(word) => words.put(word),
        }
    }
    out.push('\n');
}

fn option(argument: &Argument) -> String {
    let text = match argument {
        Argument::Setting { name, value } => format!("{name}={value}"),
        Argument::NoSetting(text) | Argument::Word(text) => text.clone(),
    };
    match text.contains([' ', '\t', '\r', '\n']) {
        true => format!("-o {{{text}}}"),
        false => format!("-o {text}"),
    }
}
