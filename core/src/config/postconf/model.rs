//! Both files as read, and which names mean something in them.
//!
//! A name is known if it is in the table of parameters, made from the name of a service that delivers or spawns, or
//! the administrator's own and referred to somewhere. What is set and not known is told as unused.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::databases;
use super::entry::Entry;
use super::logical::{logical_lines, split_name_value};
use super::said::{Fatal, Said};
use crate::config::expand::{expand, references};
use crate::config::host::HostFacts;
use crate::config::main_cf::{Definition, Definitions};
use crate::config::parameter::Kind;
use crate::config::{Config, Place, parameters};

/// Why a name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is in the table.
    BuiltIn,
    /// It is in the table, and a service makes it, too.
    BuiltInForService,
    /// Made from a service's name; the parameter that it defaults to.
    Service(&'static str),
    /// Set and referred to by the administrator.
    User,
}

/// What is known of this process and its host.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The host.
    pub host: &'a HostFacts,
    /// `process_id`.
    pub process_id: u32,
    /// Reads a file that a table's name gives, in the form of [`super::text_of`]; the error is the reason.
    pub load: &'a dyn Fn(&str) -> Result<String, String>,
}

/// One of the two files.
#[derive(Debug, Clone, Copy)]
pub struct FileText<'a> {
    /// As messages name it.
    pub name: &'a str,
    /// What is in it ([`super::text_of`]), or why it cannot be read.
    pub text: Result<&'a str, &'a str>,
}

/// Names whose values are the process' own.
const READ_ONLY: [&str; 3] = ["process_id", "process_name", "service_name"];

/// Both files, read.
pub(super) struct Model<'a> {
    pub main_name: &'a str,
    pub master_name: &'a str,
    surroundings: Surroundings<'a>,
    config: Config,
    /// The names that `main.cf` and the command line set, in the order in which they first appear.
    defined: Vec<String>,
    pub known: BTreeMap<Cow<'static, str>, Origin>,
    pub entries: Vec<Entry>,
}

impl<'a> Model<'a> {
    /// Reads `main.cf` and what the command line sets; `None` for the defaults alone.
    pub fn read_main(
        main: FileText<'a>,
        master_name: &'a str,
        read: Option<(&str, &[String])>,
        surroundings: Surroundings<'a>,
        said: &mut Said,
    ) -> Result<Model<'a>, Fatal> {
        let mut known: BTreeMap<Cow<'static, str>, Origin> = BTreeMap::new();
        known.extend(parameters::table().map(|parameter| (parameter.name.into(), Origin::BuiltIn)));
        let mut set = Set { file: main.name, definitions: HashMap::new(), order: Vec::new() };
        if let Some((directory, overrides)) = read {
            if !directory.is_empty() {
                set.insert("config_directory", directory);
            }
            let text = main.text.map_err(|reason| format!("open {}: {reason}", main.name))?;
            set.read(text, said)?;
            for text in overrides {
                let (name, value) = split_name_value(text)
                    .map_err(|reason| format!("invalid parameter override: {text}: {reason}"))?;
                set.insert(name, value);
            }
        }
        let config = Config::unchecked(set.definitions, surroundings.host);
        let main_name = main.name;
        Ok(Model {
            main_name,
            master_name,
            surroundings,
            config,
            defined: set.order,
            known,
            entries: Vec::new(),
        })
    }

    /// Reads `master.cf`; where it is missing there are no services.
    pub fn read_master(&mut self, master: FileText<'_>, needed: bool, said: &mut Said) -> Result<(), Fatal> {
        let text = match master.text {
            Ok(text) => text,
            Err(reason) if needed => return Err(format!("open {}: {reason}", master.name)),
            Err(reason) => {
                said.warn(format!("open {}: {reason}", master.name));
                return Ok(());
            }
        };
        for line in logical_lines(master.name, text, said) {
            let entry = Entry::parse(&line.text, said).map_err(|error| {
                error
                    .unwrap_or_else(|| format!("file {}: line {}: bad field count", master.name, line.number))
            })?;
            self.entries.push(entry);
        }
        Ok(())
    }

    /// The names that services make.
    pub fn know_services(&mut self) {
        for entry in &self.entries {
            let delivers = ["smtp", "lmtp", "local", "pipe", "virtual", "error"];
            let command = entry.fields[super::entry::COMMAND].as_str();
            for &(suffix, general) in parameters::PER_TRANSPORT {
                let has = match suffix {
                    "_time_limit" => ["pipe", "spawn"].contains(&command),
                    _ => delivers.contains(&command),
                };
                if has {
                    let name = format!("{}{suffix}", entry.name());
                    let origin = self.known.entry(name.into()).or_insert(Origin::Service(general));
                    if *origin == Origin::BuiltIn {
                        *origin = Origin::BuiltInForService;
                    }
                }
            }
        }
    }

    /// Finds the administrator's own names, tells of references to nothing, and gives what is unused in `master.cf`.
    pub fn know_users(&mut self, said: &mut Said) -> Result<Vec<String>, Fatal> {
        let mut unused = Vec::new();
        let entries = core::mem::take(&mut self.entries);
        let mut told = Ok(());
        for entry in &entries {
            let scope = Scope { model: self, entry: Some(entry), local: HashSet::new() };
            match scope.scan(said) {
                Ok(local) => self.unused_of(entry, &local, &mut unused),
                Err(fatal) => {
                    told = Err(fatal);
                    break;
                }
            }
        }
        self.entries = entries;
        told?;
        Scope { model: self, entry: None, local: HashSet::new() }.scan(said)?;
        // What `main.cf` refers to is known by now, wherever it was set.
        unused.retain(|(name, _)| !self.known.contains_key(name.as_str()) || is_read_only(name));
        Ok(unused.into_iter().map(|(_, text)| text).collect())
    }

    fn unused_of(&self, entry: &Entry, local: &HashSet<String>, unused: &mut Vec<(String, String)>) {
        for (name, value) in entry.holding() {
            let what = if is_read_only(name) {
                "read-only parameter assignment"
            } else if !local.contains(name) && !self.known.contains_key(name) {
                "unused parameter"
            } else {
                continue;
            };
            unused.push((name.into(), format!("{}: {what}: {name}={value}", self.master_name)));
        }
    }

    /// What `main.cf` and the command line set to no purpose.
    pub fn unused_in_main(&self) -> Vec<String> {
        let tell = |name: &String| {
            let what = if is_read_only(name) {
                "read-only parameter assignment"
            } else if !self.known.contains_key(name.as_str()) {
                "unused parameter"
            } else {
                return None;
            };
            Some(format!("{}: {what}: {name}={}", self.main_name, self.set_in_main(name)?))
        };
        self.defined.iter().filter_map(tell).collect()
    }

    /// The value that `main.cf` or the command line gives.
    pub fn set_in_main(&self, name: &str) -> Option<&str> {
        self.config.definitions.get(name).map(|definition| definition.text.as_str())
    }

    /// As [`Model::set_in_main`], for those that take effect.
    pub fn effective_in_main(&self, name: &str) -> Option<&str> {
        self.set_in_main(name).filter(|_| !is_read_only(name))
    }

    /// The value that holds where none is set, not expanded unless it is computed.
    pub fn default(&self, name: &str) -> Option<Cow<'_, str>> {
        match *self.known.get(name)? {
            Origin::User => None,
            Origin::Service(general) => Some(format!("${general}").into()),
            Origin::BuiltIn | Origin::BuiltInForService => Some(match name {
                "process_id" => self.surroundings.process_id.to_string().into(),
                "process_name" => "postconf".into(),
                "service_name" => "".into(),
                // Computed once, for all services.
                "myhostname" => {
                    let text = self.config.view().default_text(name).unwrap_or_default();
                    let other = |other: &str| if other == name { None } else { self.text(None, other) };
                    expand(&text, other).unwrap_or(text.into_owned()).into()
                }
                _ => self.config.view().default_text(name).unwrap_or_default(),
            }),
        }
    }

    /// The text of a name where `entry` looks, not expanded.
    fn text<'m>(&'m self, entry: Option<&'m Entry>, name: &str) -> Option<Cow<'m, str>> {
        if let Some(entry) = entry {
            if let Some(value) = entry.setting(name).filter(|_| !is_read_only(name)) {
                return Some(value.into());
            }
            if name == "service_name" {
                return Some(entry.name().into());
            }
        }
        self.effective_in_main(name).map(Cow::from).or_else(|| self.default(name))
    }

    /// `text` with its references expanded as `entry` sees them.
    pub fn expanded(&self, entry: Option<&Entry>, text: &str, said: &mut Said) -> Result<String, Fatal> {
        expand(text, |name| self.text(entry, name)).map_err(|reason| {
            said.warn(reason);
            "macro processing error".into()
        })
    }

    /// Whether references in the value of this name are not parameters'.
    pub fn is_raw(&self, name: &str) -> bool {
        parameters::find(name).is_some_and(|parameter| parameter.kind == Kind::Raw && parameter.name == name)
    }
}

fn is_read_only(name: &str) -> bool {
    READ_ONLY.contains(&name)
}

/// What a `main.cf` sets.
struct Set<'a> {
    file: &'a str,
    definitions: Definitions,
    order: Vec<String>,
}

impl Set<'_> {
    fn read(&mut self, text: &str, said: &mut Said) -> Result<(), Fatal> {
        for line in logical_lines(self.file, text, said) {
            let place = format!("{}, line {}", self.file, line.number);
            let (name, value) = split_name_value(&line.text)
                .map_err(|reason| format!("{place}: {reason}: \"{}\"", line.text))?;
            if let Some(earlier) = self.insert(name, value) {
                said.warn(format!("{place}: overriding earlier entry: {name}={earlier}"));
            }
        }
        Ok(())
    }

    fn insert(&mut self, name: &str, value: &str) -> Option<String> {
        let definition = Definition { text: value.into(), place: Place::new(self.file, 0) };
        let earlier = self.definitions.insert(name.into(), definition);
        if earlier.is_none() {
            self.order.push(name.into());
        }
        earlier.map(|definition| definition.text)
    }
}

/// One place where names are looked for: an entry, or `main.cf`.
struct Scope<'m, 'a> {
    model: &'m mut Model<'a>,
    entry: Option<&'m Entry>,
    /// The entry's own names that something in it refers to.
    local: HashSet<String>,
}

impl Scope<'_, '_> {
    fn scan(mut self, said: &mut Said) -> Result<HashSet<String>, Fatal> {
        let values: Vec<(String, String)> = match self.entry {
            Some(entry) => {
                let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                entry.holding().into_iter().map(owned).collect()
            }
            None => {
                let value = |name: &String| Some((name.clone(), self.model.set_in_main(name)?.to_owned()));
                self.model.defined.iter().filter_map(value).collect()
            }
        };
        for (name, value) in &values {
            if name == "smtpd_restriction_classes" {
                let list = self.model.expanded(self.entry, value, said)?;
                for class in list.split([',', ' ', '\t', '\r', '\n']).filter(|class| !class.is_empty()) {
                    self.refer(class, said);
                }
            }
        }
        for (name, value) in &values {
            if self.model.is_raw(name) {
                continue;
            }
            let mut names = Vec::new();
            let outcome = references(value, &mut |name| names.push(name.to_owned()));
            for name in names {
                self.refer(&name, said);
            }
            outcome.unwrap_or_else(|reason| said.warn(reason));
            let expanded = match value.contains('$') {
                true => Cow::Owned(self.model.expanded(self.entry, value, said)?),
                false => Cow::Borrowed(value.as_str()),
            };
            if expanded.contains(':') {
                self.refer_to_databases(&expanded, said)?;
            }
        }
        Ok(self.local)
    }

    fn refer(&mut self, name: &str, said: &mut Said) {
        if !self.know(name) {
            let file = if self.entry.is_some() { self.model.master_name } else { self.model.main_name };
            said.warn(format!("{file}: undefined parameter: {name}"));
        }
    }

    /// Whether the name is known, now that something refers to it.
    fn know(&mut self, name: &str) -> bool {
        if self.model.known.contains_key(name) {
            return true;
        }
        if self.entry.is_some_and(|entry| entry.setting(name).is_some()) {
            self.local.insert(name.into());
            return true;
        }
        let defined = self.model.set_in_main(name).is_some();
        if defined {
            self.model.known.insert(name.to_owned().into(), Origin::User);
        }
        defined
    }

    /// Clients of databases have parameters of their own, in `main.cf` or in a file.
    fn refer_to_databases(&mut self, value: &str, said: &mut Said) -> Result<(), Fatal> {
        let mut tables = Vec::new();
        databases::tables(value, &mut |database, name| tables.push((database, name.to_owned())));
        for (database, name) in tables {
            if !name.starts_with(['/', '.']) {
                for suffix in database.suffixes {
                    self.know(&format!("{name}_{suffix}"));
                }
                continue;
            }
            let kind = database.kind;
            match (self.model.surroundings.load)(&name) {
                Err(reason) => said.warn(format!("open \"{kind}\" configuration \"{name}\": {reason}")),
                Ok(text) => {
                    let file = format!("{kind}:{name}");
                    let mut set = Set { file: &name, definitions: HashMap::new(), order: Vec::new() };
                    set.read(&text, said)?;
                    for other in set.order.iter().filter(|set| !database.suffixes.contains(&set.as_str())) {
                        let text = &set.definitions[other].text;
                        said.warn(format!("{file}: unused parameter: {other}={text}"));
                    }
                }
            }
        }
        Ok(())
    }
}
