//! One entry of `master.cf` as text: its fields are kept as written, only their form is checked.

use std::collections::BTreeMap;

use super::logical::split_name_value;
use super::said::{Fatal, Said, printable};
use crate::config::expand::closing;
use crate::config::value::split_outside_braces;

/// The names of the fields, as `-F` calls them.
pub(super) const FIELDS: [&str; 8] =
    ["service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"];

/// The place of the command; all that follows is its arguments.
pub(super) const COMMAND: usize = 7;

/// An argument of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// As written, without outer braces.
    Word(String),
    /// `-o name=value`, among the options that stand before the first other argument.
    Setting { name: String, value: String },
    /// `-o` with something else, among them.
    NoSetting(String),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The fields of [`FIELDS`].
    pub fields: [String; 8],
    /// What follows the command.
    pub arguments: Vec<Argument>,
}

impl Entry {
    pub fn name(&self) -> &str {
        &self.fields[0]
    }

    pub fn kind(&self) -> &str {
        &self.fields[1]
    }

    fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::Setting { name, value } => Some((name.as_str(), value.as_str())),
            Argument::Word(_) | Argument::NoSetting(_) => None,
        })
    }

    /// The settings that hold, by name: the last of each.
    pub fn holding(&self) -> BTreeMap<&str, &str> {
        self.settings().collect()
    }

    /// The setting of a name that holds.
    pub fn setting(&self, wanted: &str) -> Option<&str> {
        self.settings().filter(|(name, _)| *name == wanted).last().map(|(_, value)| value)
    }

    /// Reads a logical line. The error is that of a wrong count (`None`) or of a wrong field.
    pub fn parse(line: &str, said: &mut Said) -> Result<Entry, Option<Fatal>> {
        let words = words(line);
        if words.len() < FIELDS.len() {
            return Err(None);
        }
        let mut fields: [String; 8] = Default::default();
        for (field, word) in fields.iter_mut().zip(&words) {
            field.push_str(word);
        }
        for (index, field) in fields.iter().enumerate().take(COMMAND).skip(1) {
            check_field(index, field, line)?;
        }
        Ok(Entry { fields, arguments: arguments(&words[FIELDS.len()..], said) })
    }

    /// Sets a field; the command's value is the command with its arguments.
    pub fn set_field(&mut self, index: usize, value: &str, said: &mut Said) -> Result<(), Fatal> {
        if index != COMMAND {
            check_field(index, value, value)?;
            value.clone_into(&mut self.fields[index]);
            return Ok(());
        }
        let words = words(value);
        let command = words.first().ok_or("the command field cannot be empty")?;
        (*command).clone_into(&mut self.fields[COMMAND]);
        self.arguments = arguments(&words[1..], said);
        Ok(())
    }

    /// Replaces the settings of `name`, or puts one after the others.
    pub fn set(&mut self, wanted: &str, new: &str) {
        let mut found = false;
        let mut after_settings = 0;
        for (index, argument) in self.arguments.iter_mut().enumerate() {
            let Argument::Setting { name, value } = argument else { continue };
            after_settings = index + 1;
            if name == wanted {
                found = true;
                new.clone_into(value);
            }
        }
        if !found {
            let setting = Argument::Setting { name: wanted.into(), value: new.into() };
            self.arguments.insert(after_settings, setting);
        }
    }

    /// Removes the settings of `name`.
    pub fn remove(&mut self, wanted: &str) {
        self.arguments
            .retain(|argument| !matches!(argument, Argument::Setting { name, .. } if name == wanted));
    }
}

/// Words are separated by white space, but not within braces.
fn words(text: &str) -> Vec<&str> {
    split_outside_braces(text, |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

fn arguments(words: &[&str], said: &mut Said) -> Vec<Argument> {
    let mut arguments = Vec::with_capacity(words.len());
    let mut options = true;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = unbraced(word, said);
        options &= word.starts_with('-') && word.len() > 1 && word != "--";
        let setting = match word.strip_prefix("-o").filter(|_| options) {
            Some("") => words.next().map(|word| unbraced(word, said)),
            Some(attached) => Some(attached),
            None => {
                arguments.push(Argument::Word(word.into()));
                continue;
            }
        };
        match setting.map(|setting| (setting, split_name_value(setting))) {
            Some((_, Ok((name, value)))) => {
                arguments.push(Argument::Setting { name: name.into(), value: value.into() });
            }
            Some((setting, Err(_))) => arguments.push(Argument::NoSetting(setting.into())),
            None => arguments.push(Argument::Word("-o".into())),
        }
    }
    arguments
}

fn unbraced<'t>(word: &'t str, said: &mut Said) -> &'t str {
    if !word.starts_with('{') {
        return word;
    }
    let shown = printable(word);
    match closing(word, b'{') {
        None => {
            said.warn(format!("master.cf: missing '}}' in \"{shown}\""));
            word[1..].trim_ascii()
        }
        Some(end) => {
            if end + 1 < word.len() {
                said.warn(format!("master.cf: syntax error after '}}' in \"{shown}\""));
            }
            word[1..end].trim_ascii()
        }
    }
}

fn check_field(index: usize, value: &str, context: &str) -> Result<(), Fatal> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let sound = match FIELDS[index] {
        "type" => ["inet", "unix", "fifo", "pass", "unix-dgram"].contains(&value),
        "private" | "unprivileged" | "chroot" => ["y", "n", "-"].contains(&value),
        "wakeup" => !value.is_empty() && (value == "-" || digits(value.strip_suffix('?').unwrap_or(value))),
        "process_limit" => !value.is_empty() && (value == "-" || digits(value)),
        _ => !value.is_empty(),
    };
    if sound {
        return Ok(());
    }
    Err(format!("invalid {} field \"{}\" in \"{}\"", FIELDS[index], printable(value), printable(context)))
}
