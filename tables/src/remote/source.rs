//! source: what a table's `.cf` file says, and what all that have such a file do alike with keys and values.
//!
//! Receives: the file that the table's name stands for. Gives: its settings, typed; which keys are asked for; values,
//! formed and joined. Owns: the rules of `domain`, `result_format` and `expansion_limit`.
//! Limits:   [`FILE_BYTES_MAX`], [`ANSWER_BYTES_MAX`].
//! On failure: the table is not opened; a sentence that says why, which names settings but never their content.
//! Standards: the parts that Postfix's mysql_table(5), pgsql_table(5), sqlite_table(5), ldap_table(5) and
//!           memcache_table(5) have in common.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::config::{Source, read_main_cf, split_list};
use ringpost_core::domain_list::DomainList;
use ringpost_core::lookup::{
    Found, LookupTrouble, TableId, TableRegistry, TableSpec, TableType, Tables, at_once,
};

use super::template::{Template, domain_of};
use crate::notes::Notes;
use crate::open::{self, Opened};
use crate::options::TableOptions;
use crate::table::Table;

/// Nobody writes this much about one table; a file that is longer was named by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// All that a lookup may give. A mailing list of 10,000 addresses is a third of it.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The settings of a table. Not to be printed: they hold passwords.
pub struct Settings {
    file: String,
    values: HashMap<String, String>,
}

impl Settings {
    /// Reads the file that the name of `spec` stands for. Settings that are not `known` are ignored, which `notes` tells,
    /// as are those named in `without_effect`, which it does not.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn read(
        spec: &TableSpec,
        known: &[&[&str]],
        without_effect: &[&str],
        notes: &Notes,
    ) -> Result<Settings, String> {
        let file = spec.name.as_str();
        if !file.starts_with(['/', '.']) {
            return Err(format!(
                "parameters {file}_… in main.cf are not served; put them into a file, and write {}:/path/of/the/file",
                spec.kind.word()
            ));
        }
        let text = read_bounded(Path::new(file))?;
        let source = Source { name: file, text: &text };
        let definitions = read_main_cf(&source).map_err(|errors| {
            // Only where: the line itself may hold a password.
            errors.first().map_or_else(String::new, |error| {
                format!("{}, line {}: not a setting", error.place.file, error.place.line)
            })
        })?;
        let values: HashMap<String, String> =
            definitions.into_iter().map(|(name, definition)| (name, definition.text)).collect();
        let mut names: Vec<&str> = values.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.retain(|name| !known.iter().any(|list| list.contains(name)) && !without_effect.contains(name));
        for name in names {
            notes.warn(format!("{file}: unknown setting {name} is ignored"));
        }
        Ok(Settings { file: file.to_owned(), values })
    }

    /// Refuses settings that ask for protection which is not served; those that are set to nothing, `no` or `none` ask
    /// for none.
    ///
    /// # Errors
    /// One of them is set.
    pub fn refuse(&self, names: &[&str]) -> Result<(), String> {
        for name in names {
            let text = self.text_or(name, "").to_ascii_lowercase();
            if !matches!(text.as_str(), "" | "no" | "none") {
                return Err(format!("{}: {name} is not served", self.file));
            }
        }
        Ok(())
    }

    /// A setting, if it is there.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A setting, or its default.
    pub fn text_or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.text(name).unwrap_or(default)
    }

    /// A list.
    pub fn list(&self, name: &str, default: &str) -> Vec<String> {
        split_list(self.text_or(name, default)).into_iter().map(str::to_owned).collect()
    }

    /// A number of a range.
    ///
    /// # Errors
    /// It is none.
    pub fn number(
        &self,
        name: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, String> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| self.wrong(name, &format!("a number from {} to {}", range.start(), range.end())))
    }

    /// Seconds, at least one.
    ///
    /// # Errors
    /// It is no such time.
    pub fn seconds(&self, name: &str, default: u64) -> Result<Duration, String> {
        let text = self.text(name).map(|text| text.strip_suffix('s').unwrap_or(text));
        let seconds = text.map_or(Some(default), |text| text.parse().ok());
        let seconds = seconds.filter(|seconds| (1..=3600).contains(seconds));
        seconds.map(Duration::from_secs).ok_or_else(|| self.wrong(name, "a time from 1 to 3600 seconds"))
    }

    /// A flag.
    ///
    /// # Errors
    /// It is neither yes nor no.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(_) => Err(self.wrong(name, "yes or no")),
        }
    }

    /// A template.
    ///
    /// # Errors
    /// It is none.
    pub fn template(&self, name: &str, default: &str) -> Result<Template, String> {
        Template::parse(self.text_or(name, default)).map_err(|reason| self.about(name, &reason))
    }

    /// Something about a setting, with the place where it stands.
    pub fn about(&self, name: &str, reason: &str) -> String {
        format!("{}: {name}: {reason}", self.file)
    }

    /// What is wrong with a setting.
    pub fn wrong(&self, name: &str, need: &str) -> String {
        format!("{}: bad setting {name}: need {need}", self.file)
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let failed = |error: std::io::Error| {
        let text = error.to_string();
        format!("open {}: {}", path.display(), text.split(" (os error").next().unwrap_or_default())
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display())),
        false => Ok(text),
    }
}

/// Keys that are asked for at all (`domain`): every key, or full addresses of these domains only.
#[derive(Debug)]
pub struct Domains(Option<(DomainList, LocalTables)>);

/// Tables that a list of domains names; they are in memory or in files.
#[derive(Debug, Default)]
struct LocalTables(HashMap<TableId, Arc<dyn Table>>);

impl Tables for LocalTables {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        match self.0.get(&table) {
            Some(table) => table.find(key),
            None => Err(LookupTrouble { table: "domain".into(), reason: "the table is not open".into() }),
        }
    }
}

impl Domains {
    /// No restriction.
    pub fn all() -> Domains {
        Domains(None)
    }

    /// As the setting `domain` says.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn of(settings: &Settings, options: &TableOptions) -> Result<Domains, String> {
        let text = settings.text_or("domain", "");
        if split_list(text).is_empty() {
            return Ok(Domains::all());
        }
        let load = |path: &str| {
            let content = read_bounded(Path::new(path))?;
            String::from_utf8(content).map_err(|_| format!("{path}: the text is not UTF-8"))
        };
        let registry = std::cell::RefCell::new(TableRegistry::default());
        let tables = std::cell::RefCell::new(LocalTables::default());
        let ids = |spec: TableSpec| {
            let table = open_local(&spec, options)?;
            let id = registry.borrow_mut().register(spec);
            tables.borrow_mut().0.insert(id, table);
            Ok(id)
        };
        let list = DomainList::parse_with_tables(text, false, &load, &ids)?.of_whole_names();
        Ok(Domains(Some((list, tables.into_inner()))))
    }

    /// Whether `key` is asked for.
    ///
    /// # Errors
    /// A table of the list is in trouble.
    pub fn admit(&self, key: &str) -> Result<bool, String> {
        let Some((list, tables)) = &self.0 else { return Ok(true) };
        let Some(domain) = domain_of(key).filter(|_| !key.starts_with('@')) else { return Ok(false) };
        at_once(list.matches(tables, domain))
            .expect("tables in memory answer at once")
            .map_err(|trouble| trouble.to_string())
    }
}

/// A table within a `.cf` file must not lead to a server: it might be this one.
fn open_local(spec: &TableSpec, options: &TableOptions) -> Result<Arc<dyn Table>, String> {
    let refused = || format!("{spec}: only tables in files may stand in a list of domains");
    match spec.kind {
        TableType::Hash
        | TableType::Btree
        | TableType::Cdb
        | TableType::Lmdb
        | TableType::Texthash
        | TableType::Inline
        | TableType::Static
        | TableType::Regexp
        | TableType::Pcre
        | TableType::Cidr => {}
        _ => return Err(refused()),
    }
    let notes = Notes::default();
    match open::open(spec, options, &notes) {
        Opened::Local(table) => Ok(table),
        _ => Err(refused()),
    }
}

/// What is done with keys before they are asked for, and with what is found.
#[derive(Debug)]
pub struct Frame {
    /// Keys are asked for in lower case.
    fold: bool,
    domains: Domains,
    result_format: Template,
    /// The most values of one lookup; 0 for any number.
    expansion_limit: u64,
}

impl Frame {
    /// The settings of [`Frame::of`].
    pub const SETTINGS: &'static [&'static str] = &["domain", "result_format", "expansion_limit"];

    /// As a `.cf` file says.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn of(settings: &Settings, options: &TableOptions) -> Result<Frame, String> {
        Ok(Frame {
            fold: options.fold,
            domains: Domains::of(settings, options)?,
            result_format: settings.template("result_format", "%s")?,
            expansion_limit: settings.number("expansion_limit", 0, 0..=u64::from(u32::MAX))?,
        })
    }

    /// The key as it is asked for; `None` if it is not.
    ///
    /// # Errors
    /// The list of domains is in trouble.
    pub fn key(&self, key: &str) -> Result<Option<String>, String> {
        let key = if self.fold { crate::fold::lower(key).into_owned() } else { key.to_owned() };
        Ok(self.domains.admit(&key)?.then_some(key))
    }

    /// To put what is found for `key` together.
    pub fn values<'a>(&'a self, key: &'a str) -> Values<'a> {
        Values { frame: self, key, joined: String::new(), count: 0 }
    }
}

/// Values as they are found.
#[derive(Debug)]
pub struct Values<'a> {
    frame: &'a Frame,
    key: &'a str,
    joined: String,
    count: u64,
}

impl Values<'_> {
    /// Takes a value; an empty one, or one that the format has no use for, counts for nothing.
    ///
    /// # Errors
    /// There are too many.
    pub fn take(&mut self, value: &str) -> Result<(), String> {
        let Some(formed) = self.frame.result_format.result(value, self.key) else { return Ok(()) };
        self.count += 1;
        if self.frame.expansion_limit > 0 && self.count > self.frame.expansion_limit {
            return Err(format!("more than {} values (expansion_limit)", self.frame.expansion_limit));
        }
        if self.joined.len() + formed.len() >= ANSWER_BYTES_MAX {
            return Err(format!("more than {ANSWER_BYTES_MAX} bytes of values"));
        }
        if !self.joined.is_empty() {
            self.joined.push(',');
        }
        self.joined += &formed;
        Ok(())
    }

    /// All of them, with commas between; `None` if there was none.
    pub fn end(self) -> Option<Box<str>> {
        if self.joined.is_empty() { None } else { Some(self.joined.into()) }
    }
}

/// The bytes of a value as text.
///
/// # Errors
/// They are none, or have a NUL among them, which would end them early elsewhere.
pub fn text_of(bytes: Vec<u8>) -> Result<Box<str>, String> {
    if bytes.contains(&0) {
        return Err("a NUL byte in the value".to_owned());
    }
    String::from_utf8(bytes).map(Into::into).map_err(|_| "the value is not UTF-8".to_owned())
}

/// Whether a table is one of `kind`, or has one within.
pub fn reaches(spec: &TableSpec, kind: TableType) -> bool {
    match spec.kind {
        TableType::Proxy => {
            TableSpec::parse(&spec.name, TableType::Hash).is_ok_and(|inner| reaches(&inner, kind))
        }
        TableType::Unionmap | TableType::Pipemap => spec.members().iter().any(|member| reaches(member, kind)),
        own => own == kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::Scratch;

    fn frame(content: &str) -> Result<Frame, String> {
        let file = Scratch::file("frame.cf", content);
        let settings =
            Settings::read(&file.spec(TableType::Sqlite), &[Frame::SETTINGS], &[], &Notes::default())?;
        Frame::of(&settings, &TableOptions::default())
    }

    #[test]
    fn only_full_addresses_of_listed_domains_are_asked_for() {
        let frame = frame("domain = example.com, !inline:{other.test=x}, static:any\n").unwrap();
        let key = |key| frame.key(key).unwrap();
        assert_eq!(key("User@Example.com").as_deref(), Some("user@example.com"));
        assert_eq!(key("user@else.test").as_deref(), Some("user@else.test"));
        for unasked in ["user@other.test", "user", "@example.com", "user@", "example.com"] {
            assert_eq!(key(unasked), None, "{unasked}");
        }
    }

    #[test]
    fn values_are_formed_joined_and_counted() {
        let frame = frame("result_format = <%s>\nexpansion_limit = 2\n").unwrap();
        let mut values = frame.values("k");
        for value in ["a", "", "b"] {
            values.take(value).unwrap();
        }
        assert!(values.take("c").is_err());
        assert_eq!(values.end().as_deref(), Some("<a>,<b>"));
        let endless = "x".repeat(ANSWER_BYTES_MAX);
        assert!(frame.values("k").take(&endless).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_without_its_secrets() {
        for (content, expect) in [
            ("expansion_limit = many\n", "expansion_limit"),
            ("result_format = %x\n", "result_format"),
            ("secret secret\n", "line 1"),
            ("domain = mysql:/etc/x.cf\n", "only tables in files"),
        ] {
            let reason = frame(content).unwrap_err();
            assert!(reason.contains(expect) && !reason.contains("secret"), "{content}: {reason}");
        }
        let read = |name: &str| {
            let spec = TableSpec { kind: TableType::Ldap, name: name.into() };
            Settings::read(&spec, &[], &[], &Notes::default()).map(|_| ()).unwrap_err()
        };
        assert!(read("/nowhere.cf").contains("No such file"));
        assert!(read("source").contains("source_"));
    }

    #[test]
    fn unknown_settings_are_told_and_unserved_protection_is_refused() {
        let file = Scratch::file("unknown.cf", "tls_key = /k\nold = 1\ntypo = secret\nstart_tls = no\n");
        let notes = Notes::default();
        let known: &[&[&str]] = &[&["tls_key", "start_tls"]];
        let settings = Settings::read(&file.spec(TableType::Ldap), known, &["old"], &notes).unwrap();
        let told = notes.take();
        assert!(
            matches!(&told[..], [crate::Note::Warning(text)] if text.ends_with("unknown setting typo is ignored"))
        );
        assert!(settings.refuse(&["start_tls", "tls_none"]).is_ok());
        assert!(settings.refuse(&["tls_key"]).is_err_and(|reason| reason.contains("tls_key")));
    }

    #[test]
    fn tables_within_tables_are_seen() {
        let reaches = |text| reaches(&TableSpec::parse(text, TableType::Hash).unwrap(), TableType::Memcache);
        assert!(reaches("unionmap:{static:x, proxy:memcache:/a}"));
        assert!(!reaches("unionmap:{static:memcache, hash:/a}"));
    }
}
