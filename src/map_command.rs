//! map_command: what postmap and postalias share: building, changing, asking and listing lookup tables.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lexopt::{Arg, Parser};
use ringpost_core::lookup::{LookupTrouble, TableSpec, TableType};
use ringpost_shards::failure::Failure;
use ringpost_tables::indexed::{
    self, Added, ENTRY_BYTES_MAX, Entries, Form, OwnersRights, Ownership, SourceFacts, Storing, WriteLock,
};
use ringpost_tables::open::Direct;
use ringpost_tables::text::{LogicalLines, reason_of};
use ringpost_tables::{Note, Notes, TableOptions, Unlisted, file_values, lower};

use crate::configuration::ConfigurationArguments;
use crate::host;
use crate::queue_command::{FATAL, Options, say};

/// A source that is not read from a file (standard input) is bounded by this.
const INPUT_BYTES_MAX: u64 = 8 << 30;

/// Key and value of a logical line, or why it has none; what else is to be said of the line is put into the second
/// argument.
pub type Split = fn(&[u8], &mut Vec<&'static str>) -> Result<Entry, String>;

/// Key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// What one of the two commands has of its own.
pub struct MapCommand {
    /// Its name, before what it says.
    pub name: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// Letters without a value.
    pub plain: &'static str,
    /// How a line is read.
    pub split: Split,
    /// Between key and value in a listing.
    pub separator: &'static str,
    /// Built tables say that they are whole and when they were made (what sendmail and NIS look for).
    pub is_signed: bool,
}

/// The command as it was called.
pub struct Call<'a> {
    command: &'a MapCommand,
    /// Its options.
    pub options: Options,
    tables: TableOptions,
    may_be_latin: bool,
}

/// What is asked for besides building.
enum Deed<'a> {
    Build,
    List,
    Query(&'a str),
    Delete(&'a str),
}

fn fatal(text: impl Into<String>) -> Failure {
    Failure::new(FATAL, text)
}

/// The end of a command that found nothing: its exit code says so, and no words.
fn nothing_found() -> Failure {
    fatal("")
}

impl MapCommand {
    /// Reads options and configuration.
    pub fn call(&self, words: Vec<OsString>) -> Result<Call<'_>, Failure> {
        let options = Options::read(words.clone(), self.plain, "dq", self.usage);
        let options = options.inspect_err(|_| self.complain(words))?;
        let config = ConfigurationArguments::of(options.configuration.clone()).load();
        let config = config.map_err(|failure| fatal(failure.message))?;
        let mut tables = TableOptions::of(&config.view());
        tables.fold = !options.has('f');
        tables.values_are_files = options.has('F');
        Ok(Call { command: self, may_be_latin: options.has('u'), options, tables })
    }

    /// Tells which option is wrong, as getopt does.
    fn complain(&self, words: Vec<OsString>) {
        let mut parser = Parser::from_args(words);
        while let Ok(Some(argument)) = parser.next() {
            match argument {
                Arg::Short('v') => {}
                Arg::Short(letter) if self.plain.contains(letter) => {}
                Arg::Short(letter @ ('c' | 'd' | 'q')) => {
                    if parser.value().is_err() {
                        return say(self.name, &format!("option requires an argument -- '{letter}'"));
                    }
                }
                Arg::Short(letter) => return say(self.name, &format!("invalid option -- '{letter}'")),
                Arg::Value(_) => {}
                Arg::Long(_) => return say(self.name, "invalid option -- '-'"),
            }
        }
    }

    fn warn(&self, text: &str) {
        say(self.name, &format!("warning: {text}"));
    }

    fn usage(&self) -> Failure {
        fatal(format!("usage: {}", self.usage))
    }
}

impl Call<'_> {
    fn deed(&self) -> Result<Deed<'_>, Failure> {
        let mut deed = Deed::Build;
        for (letter, value) in &self.options.letters {
            let wanted = match letter {
                's' => Deed::List,
                'q' => Deed::Query(value),
                'd' => Deed::Delete(value),
                _ => continue,
            };
            if !matches!(deed, Deed::Build) {
                return Err(fatal("specify only one of -s -q or -d"));
            }
            deed = wanted;
        }
        Ok(deed)
    }

    /// Whether the keys are read from standard input.
    pub fn queries_input(&self) -> bool {
        matches!(self.deed(), Ok(Deed::Query("-")))
    }

    /// Does what is asked for; `keys` are what `-q -` looks up, by default the lines of the input.
    pub fn run(
        &self,
        keys: impl FnOnce(&mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let deed = self.deed()?;
        if self.options.words.is_empty() {
            return match deed {
                Deed::List => Err(nothing_found()),
                _ => Err(self.command.usage()),
            };
        }
        match deed {
            Deed::Build => self.options.words.iter().try_for_each(|word| self.build(word)),
            Deed::List => self.list(&self.options.words[0]),
            Deed::Query("-") => self.query_each(keys),
            Deed::Query(key) => self.query(key),
            Deed::Delete("-") => self.delete_each(),
            Deed::Delete(key) => self.delete(&[key.to_owned()]),
        }
    }

    fn spec(&self, word: &str) -> Result<TableSpec, Failure> {
        if word.starts_with(':')
            || word.split_once(':').is_some_and(|(kind, name)| name.is_empty() && kind != "hash")
        {
            let text = format!("open dictionary: expecting \"type:name\" form instead of \"{word}\"");
            return Err(fatal(text));
        }
        TableSpec::parse(word, self.tables.default_type).map_err(fatal)
    }

    fn tell(&self, notes: &Notes) {
        for note in notes.take() {
            match note {
                Note::Warning(text) => self.command.warn(&text),
                Note::Info(text) => say(self.command.name, &text),
            }
        }
    }

    fn open(&self, word: &str) -> Result<(TableSpec, Direct), Failure> {
        let spec = self.spec(word)?;
        let notes = Notes::default();
        let opened = Direct::open(&spec, &self.tables, &notes);
        self.tell(&notes);
        let table = opened.map_err(|reason| match spec.kind {
            // This one opens, and fails when it is asked.
            TableType::Fail => fatal(format!("table {spec}: query error: {reason}")),
            _ => fatal(reason),
        })?;
        Ok((spec, table))
    }

    /// The value of a key in one table.
    fn find(&self, spec: &TableSpec, table: &mut Direct, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let found = table.find(key).map_err(|trouble: LookupTrouble| {
            fatal(format!("table {}: query error: {}", trouble.table, trouble.reason))
        })?;
        let Some(value) = found else { return Ok(None) };
        if value.is_empty() {
            self.command.warn(&format!("table {spec}: key {key}: empty string result is not allowed"));
            self.command.warn(&format!("table {spec} should return NO RESULT in case of NOT FOUND"));
        }
        self.shown(spec, key, &value).map(Some)
    }

    /// A value as it is printed.
    fn shown(&self, spec: &TableSpec, key: &str, value: &str) -> Result<Vec<u8>, Failure> {
        if !self.tables.values_are_files {
            return Ok(value.as_bytes().to_vec());
        }
        file_values::decoded(value).map_err(|reason| fatal(format!("table {spec}: key {key}: {reason}")))
    }

    fn query(&self, key: &str) -> Result<(), Failure> {
        for word in &self.options.words {
            let (spec, mut table) = self.open(word)?;
            if let Some(value) = self.find(&spec, &mut table, key)? {
                let mut out = io::stdout().lock();
                return printed(
                    out.write_all(&value).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()),
                );
            }
        }
        Err(nothing_found())
    }

    fn query_each(
        &self,
        keys: impl FnOnce(&mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut tables =
            self.options.words.iter().map(|word| self.open(word)).collect::<Result<Vec<_>, Failure>>()?;
        let mut out = BufWriter::new(io::stdout().lock());
        let (mut any, mut failed) = (false, None);
        let walked = keys(&mut |key| {
            for (spec, table) in &mut tables {
                match self.find(spec, table, key) {
                    Ok(None) => {}
                    Ok(Some(value)) => {
                        any = true;
                        write!(out, "{key}{}", self.command.separator)?;
                        out.write_all(&value)?;
                        writeln!(out)?;
                        break;
                    }
                    Err(failure) => {
                        failed = Some(failure);
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                }
            }
            Ok(())
        });
        // What was found before a failure is printed.
        let flushed = out.flush();
        match failed {
            Some(failure) => return Err(failure),
            None => printed(walked.and(flushed))?,
        }
        if any { Ok(()) } else { Err(nothing_found()) }
    }

    fn list(&self, word: &str) -> Result<(), Failure> {
        let (spec, table) = self.open(word)?;
        let mut out = BufWriter::new(io::stdout().lock());
        let listed = table.list(&mut |key, value| {
            if key.is_empty() {
                self.command.warn(&format!("table {spec}: empty lookup key value is not allowed"));
            }
            if value.is_empty() {
                self.command.warn(&format!("table {spec}: key {key}: empty string value is not allowed"));
            }
            write!(out, "{key}{}", self.command.separator)?;
            let value = self.shown(&spec, key, value).map_err(|failure| io::Error::other(failure.message))?;
            out.write_all(&value)?;
            writeln!(out)
        });
        printed(out.flush())?;
        match listed {
            Ok(()) => Ok(()),
            Err(Unlisted::NotSupported) => Err(fatal(format!(
                "table {}:{}: sequence operation is not supported",
                spec.kind.word(),
                Form::of(spec.kind)
                    .map_or(spec.name.clone(), |form| form.path(&spec.name).display().to_string())
            ))),
            Err(Unlisted::Trouble(trouble)) => {
                Err(fatal(format!("table {}: sequence error: {}", trouble.table, trouble.reason)))
            }
            Err(Unlisted::Stopped(error)) => printed(Err(error)),
        }
    }

    fn delete_each(&self) -> Result<(), Failure> {
        let keys: Result<Vec<String>, _> = io::stdin().lock().lines().collect();
        self.delete(&keys.map_err(|error| fatal(format!("read stdin: {}", reason_of(&error))))?)
    }

    fn delete(&self, keys: &[String]) -> Result<(), Failure> {
        let mut any = false;
        for word in &self.options.words {
            let spec = self.spec(word)?;
            let form = match Form::of(spec.kind) {
                Some(Form::Cdb) => return Err(fatal(CDB_WRITE_ONCE)),
                Some(form) => form,
                None => return Err(fatal(format!("{spec} map requires O_RDONLY access mode"))),
            };
            let path = form.path(&spec.name);
            let opening =
                |error: io::Error| fatal(format!("open database {}: {}", path.display(), reason_of(&error)));
            let _lock = WriteLock::wait(&path).map_err(opening)?;
            let mut entries = indexed::read_all(form, &spec.name).map_err(opening)?;
            let mut removed = false;
            for key in keys {
                removed |= entries.remove(&self.stored_key(key.as_bytes()));
            }
            if removed {
                any = true;
                self.store(&spec, form, &mut entries, SourceFacts::default(), Ownership::AsBefore)?;
            }
        }
        if any { Ok(()) } else { Err(nothing_found()) }
    }

    /// A key as the table holds it.
    fn stored_key(&self, key: &[u8]) -> Vec<u8> {
        match (self.tables.fold, std::str::from_utf8(key)) {
            (false, _) => key.to_vec(),
            (true, Ok(key)) => lower(key).into_owned().into_bytes(),
            (true, Err(_)) => key.to_ascii_lowercase(),
        }
    }

    fn store(
        &self,
        spec: &TableSpec,
        form: Form,
        entries: &mut Entries,
        source: SourceFacts,
        ownership: Ownership,
    ) -> Result<(), Failure> {
        let terminated = !self.options.has('n');
        let stored = indexed::store(form, &spec.name, entries, &Storing { source, ownership, terminated });
        stored.map_err(|error| {
            fatal(format!("open database {}: {}", form.path(&spec.name).display(), reason_of(&error)))
        })
    }

    fn build(&self, word: &str) -> Result<(), Failure> {
        let spec = self.build_spec(word)?;
        let is_change = self.options.has('i');
        if spec.kind == TableType::Proxy && !is_change {
            return Err(fatal("can't create maps via the proxy service"));
        }
        let source = Source::read(if is_change { None } else { Some(&spec.name) })?;
        let form = Form::of(spec.kind).ok_or_else(|| {
            let kind = spec.kind.word();
            fatal(format!("unsupported dictionary type: {kind} does not support bulk-mode creation."))
        })?;
        if is_change && form == Form::Cdb {
            return Err(fatal(CDB_WRITE_ONCE));
        }
        let rights = if self.options.has('o') { None } else { source.take_owners_rights()? };
        let path = form.path(&spec.name);
        let opening =
            |error: io::Error| fatal(format!("open database {}: {}", path.display(), reason_of(&error)));
        let _lock = WriteLock::wait(&path).map_err(opening)?;
        let there = is_change && path.exists();
        let mut entries =
            if there { indexed::read_all(form, &spec.name).map_err(opening)? } else { Entries::default() };
        self.add_lines(&spec, form, &source, &mut entries)?;
        if self.command.is_signed {
            sign(&mut entries);
        }
        let ownership = match (there, self.options.has('p'), source.mode) {
            (true, _, _) => Ownership::AsBefore,
            // What the source does not let others read, the table does not either.
            (false, false, Some(mode)) => Ownership::Mode(0o600 | (0o044 & mode)),
            (false, _, _) => Ownership::Usual,
        };
        self.store(&spec, form, &mut entries, source.facts, ownership)?;
        drop(rights);
        Ok(())
    }

    /// A table that is to be built may have any name.
    fn build_spec(&self, word: &str) -> Result<TableSpec, Failure> {
        match word.split_once(':') {
            Some((kind, name)) => match TableType::named(kind) {
                Some(kind) => Ok(TableSpec { kind, name: name.into() }),
                None => Err(fatal(format!("unsupported dictionary type: {kind}"))),
            },
            None => Ok(TableSpec { kind: self.tables.default_type, name: word.into() }),
        }
    }

    fn add_lines(
        &self,
        spec: &TableSpec,
        form: Form,
        source: &Source,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let (replaces, ignores) = (self.options.has('r'), self.options.has('w'));
        let name_of_table = match form {
            Form::Hash | Form::Btree => form.path(&spec.name).display().to_string(),
            Form::Lmdb => spec.to_string(),
            Form::Cdb => spec.name.clone(),
        };
        let mut remarks = Vec::new();
        for line in LogicalLines::of(&source.text) {
            let at = format!("{}, line {}", source.name, line.first);
            if !self.may_be_latin
                && let Err(reason) = line.text()
            {
                self.command.warn(&format!("{at}: {reason}"));
                continue;
            }
            let (key, mut value) = match (self.command.split)(&line.bytes, &mut remarks) {
                Ok(pair) => pair,
                Err(reason) => {
                    self.command.warn(&format!("{at}: {reason}"));
                    continue;
                }
            };
            for remark in remarks.drain(..) {
                self.command.warn(&format!("{at}: {remark}"));
            }
            if self.tables.values_are_files {
                match file_values::encoded(&String::from_utf8_lossy(&value)) {
                    Ok(encoded) => value = encoded.into_bytes(),
                    Err(reason) => {
                        self.command.warn(&format!("{at}: {reason}: skipping this entry"));
                        continue;
                    }
                }
            }
            let key = self.stored_key(&key);
            let added = if replaces { entries.set(&key, &value) } else { entries.add(&key, &value) };
            match added {
                Added::Duplicate if !replaces && !ignores => {
                    let key = String::from_utf8_lossy(&key);
                    self.command.warn(&format!("{name_of_table}: duplicate entry: \"{key}\""));
                }
                Added::New | Added::Duplicate => {}
                Added::TooLong => {
                    return Err(fatal(format!("{at}: key or value of more than {ENTRY_BYTES_MAX} bytes")));
                }
            }
        }
        Ok(())
    }
}

/// Postfix's words; such a file is made in one go and never changed.
const CDB_WRITE_ONCE: &str = "dict_cdb_open: inappropriate open flags for cdb database - specify O_RDONLY or \
                              O_WRONLY|O_CREAT|O_TRUNC";

/// An output that nobody reads any more is no failure.
fn printed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(fatal(reason_of(&error))),
        _ => Ok(()),
    }
}

/// `@:@` says that the table is whole; time and master are for NIS.
fn sign(entries: &mut Entries) {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    entries.set(b"@", b"@");
    entries.set(b"YP_LAST_MODIFIED", format!("{:010}", since_1970.as_secs()).as_bytes());
    entries.set(b"YP_MASTER_NAME", host::facts().hostname.as_bytes());
}

/// The text of a table that is being built.
struct Source {
    name: String,
    text: Vec<u8>,
    facts: SourceFacts,
    /// The mode of a file; `None` if the source is something else.
    mode: Option<u32>,
    owner: (u32, u32),
}

impl Source {
    /// Reads the file of that name, or standard input.
    fn read(name: Option<&str>) -> Result<Source, Failure> {
        let file = match name {
            Some(name) => File::open(Path::new(name)),
            None => input(),
        };
        let name = name.unwrap_or("stdin").to_owned();
        let fail = |error: io::Error| fatal(format!("open {name}: {}", reason_of(&error)));
        let file = file.map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let mut text = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.take(INPUT_BYTES_MAX).read_to_end(&mut text).map_err(fail)?;
        Ok(Source {
            text,
            facts: SourceFacts::of(&metadata),
            mode: metadata.is_file().then(|| metadata.mode()),
            owner: (metadata.uid(), metadata.gid()),
            name,
        })
    }

    fn take_owners_rights(&self) -> Result<Option<OwnersRights>, Failure> {
        OwnersRights::take(self.owner.0, self.owner.1)
            .map_err(|error| fatal(format!("cannot take the rights of the owner: {}", reason_of(&error))))
    }
}

/// Standard input as a file of its own.
fn input() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// The lines of standard input, each a key.
pub fn input_lines(each: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        each(&String::from_utf8_lossy(text))?;
    }
}
