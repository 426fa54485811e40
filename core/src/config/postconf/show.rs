//! Showing both files.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::entry::{Argument, COMMAND, Entry, FIELDS};
use super::layout::{put_command, put_entry, put_parameter};
use super::model::{FileText, Model, Origin, Surroundings};
use super::networks;
use super::options::{Options, Subject, Values};
use super::pattern::Pattern;
use super::said::{Fatal, Said};

/// The files of a configuration directory.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// The directory, as it was named; empty for the built-in files.
    pub directory: &'a str,
    /// `main.cf`.
    pub main: FileText<'a>,
    /// `master.cf`.
    pub master: FileText<'a>,
}

/// Shows what `options` ask for: one of the subjects that are in the two files.
///
/// # Errors
/// What is fatal.
pub fn show(
    options: &Options,
    files: Files<'_>,
    surroundings: Surroundings<'_>,
    said: &mut Said,
) -> Result<(), Fatal> {
    let patterns: Vec<Pattern> = match options.subject {
        Subject::Main => Vec::new(),
        subject => {
            options.words.iter().map(|word| Pattern::shown(subject, word)).collect::<Result<_, _>>()?
        }
    };
    let defaults = options.values == Values::Defaults;
    let read = (!defaults).then_some((files.directory, &options.overrides[..]));
    let mut model = Model::read_main(files.main, files.master.name, read, surroundings, said)?;
    if !defaults {
        networks::check(&model, surroundings.host, said)?;
    }
    model.read_master(files.master, options.subject != Subject::Main, said)?;
    model.know_services();
    let unused = if defaults { Vec::new() } else { model.know_users(said)? };
    let mut show = Show { options, model: &model, said };
    match options.subject {
        Subject::Main => show.parameters()?,
        _ => show.entries(&patterns)?,
    }
    if !defaults {
        if options.subject == Subject::Main {
            said.warnings.extend(model.unused_in_main());
        }
        said.warnings.extend(unused);
    }
    Ok(())
}

struct Show<'s, 'm> {
    options: &'s Options,
    model: &'s Model<'m>,
    said: &'s mut Said,
}

impl Show<'_, '_> {
    fn parameters(&mut self) -> Result<(), Fatal> {
        let model = self.model;
        if self.options.words.is_empty() {
            let classes = self.options.classes;
            for (name, origin) in &model.known {
                let wanted = match origin {
                    Origin::BuiltIn => classes.builtin,
                    Origin::BuiltInForService => classes.builtin || classes.service,
                    Origin::Service(_) => classes.service,
                    Origin::User => classes.user,
                };
                if wanted {
                    self.parameter(name)?;
                }
            }
        }
        for name in &self.options.words {
            match model.known.contains_key(name.as_str()) {
                true => self.parameter(name)?,
                false => self.said.warn(format!("{name}: unknown parameter")),
            }
        }
        Ok(())
    }

    fn parameter(&mut self, name: &str) -> Result<(), Fatal> {
        let set = self.model.effective_in_main(name).map(str::to_owned);
        let value = match (set, self.options.values) {
            (None, Values::Set) => return Ok(()),
            (None, _) => self.model.default(name).map(Cow::into_owned),
            (set, _) => set,
        };
        let value = match value {
            Some(text) if self.options.expand && !self.model.is_raw(name) => {
                self.model.expanded(None, &text, self.said)?
            }
            text => text.unwrap_or_default(),
        };
        self.put(name, &value);
        Ok(())
    }

    fn put(&mut self, name: &str, value: &str) {
        let name = self.options.with_names.then_some(name);
        let value = self.options.with_values.then_some(value);
        put_parameter(&mut self.said.out, name, value, self.options.fold);
    }

    fn entries(&mut self, patterns: &[Pattern]) -> Result<(), Fatal> {
        let model = self.model;
        let mut matched = BTreeSet::new();
        for entry in &model.entries {
            if patterns.is_empty() {
                self.entry(entry, None)?;
            }
            for (index, pattern) in patterns.iter().enumerate() {
                if pattern.matches(entry.name(), entry.kind()) && self.entry(entry, pattern.third())? {
                    matched.insert(index);
                }
            }
        }
        for (index, word) in self.options.words.iter().enumerate() {
            if !matched.contains(&index) {
                self.said.warn(format!("unmatched request: \"{word}\""));
            }
        }
        Ok(())
    }

    /// Shows what is wanted of an entry, all if `third` is `None`. Whether there was anything.
    fn entry(&mut self, entry: &Entry, third: Option<&str>) -> Result<bool, Fatal> {
        match self.options.subject {
            Subject::Settings => return self.settings(entry, third),
            Subject::Fields => {
                let entry = self.expanded(entry)?;
                let wanted =
                    FIELDS.iter().enumerate().filter(|(_, name)| third.is_none_or(|third| third == **name));
                for (index, name) in wanted {
                    self.field(&entry, index, name);
                }
            }
            _ => {
                let entry = self.expanded(entry)?;
                put_entry(&mut self.said.out, &entry, self.options.fold);
            }
        }
        Ok(true)
    }

    fn field(&mut self, entry: &Entry, index: usize, name: &str) {
        let label = format!("{}/{}/{name}", entry.name(), entry.kind());
        if index == COMMAND && self.options.with_values {
            let label = self.options.with_names.then_some(label.as_str());
            put_command(&mut self.said.out, label, entry, self.options.fold);
        } else {
            self.put(&label, &entry.fields[index]);
        }
    }

    fn settings(&mut self, entry: &Entry, third: Option<&str>) -> Result<bool, Fatal> {
        let mut any = false;
        for (name, value) in entry.holding() {
            let read_only = ["process_id", "process_name", "service_name"].contains(&name);
            if read_only || third.is_some_and(|third| third != name) {
                continue;
            }
            any = true;
            let label = format!("{}/{}/{name}", entry.name(), entry.kind());
            let value = self.value(entry, name, value)?;
            self.put(&label, &value);
        }
        Ok(any)
    }

    fn expanded(&mut self, entry: &Entry) -> Result<Entry, Fatal> {
        let mut shown = entry.clone();
        for argument in &mut shown.arguments {
            if let Argument::Setting { name, value } = argument {
                *value = self.value(entry, name, value)?;
            }
        }
        Ok(shown)
    }

    fn value(&mut self, entry: &Entry, name: &str, value: &str) -> Result<String, Fatal> {
        match self.options.expand && !self.model.is_raw(name) {
            true => self.model.expanded(Some(entry), value, self.said),
            false => Ok(value.to_owned()),
        }
    }
}
