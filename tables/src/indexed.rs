//! indexed: tables in files that a lookup searches without reading them whole.
//!
//! | file | owns |
//! |---|---|
//! | `entries.rs` | the entries of a table while it is built or changed |
//! | `own.rs` | `FILE.ringdb`, the form of `hash` and `btree`: bytes, writer, reader |
//! | `cdb.rs` | `FILE.cdb`, as D. J. Bernstein's cdb and Postfix have it |
//! | `lmdb.rs`, `lmdb_write.rs` | `FILE.lmdb`, as LMDB 0.9 and Postfix have it |
//! | `rights.rs` | whose rights a table is written with |
//! | `fresh.rs` | a file that is written beside the old one and takes its name when it is whole |
//!
//! All three are read through [`MappedFile`] with every offset checked, by code of our own: a damaged file, or one that
//! changes while it is read, gives trouble and never a crash (liblmdb trusts what it maps). A change writes a new file.

mod cdb;
mod entries;
mod fresh;
mod lmdb;
mod lmdb_write;
mod own;
mod rights;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ringpost_core::lookup::{Found, TableSpec, TableType};
use ringpost_reactor::MappedFile;

use crate::fold::lower;
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::{Listing, Table, Unlisted, trouble};
use crate::text::reason_of;

pub use entries::{Added, ENTRY_BYTES_MAX, Entries};
pub use fresh::{Ownership, WriteLock};
pub use own::SourceFacts;
pub use rights::OwnersRights;

/// The layout of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Our own, in the order of the source.
    Hash,
    /// Our own, sorted.
    Btree,
    /// Postfix's `cdb`.
    Cdb,
    /// Postfix's `lmdb`.
    Lmdb,
}

impl Form {
    /// The form of a kind of table; `None` if it is kept in no such file.
    pub fn of(kind: TableType) -> Option<Form> {
        match kind {
            TableType::Hash => Some(Form::Hash),
            TableType::Btree => Some(Form::Btree),
            TableType::Cdb => Some(Form::Cdb),
            TableType::Lmdb => Some(Form::Lmdb),
            _ => None,
        }
    }

    /// What follows the name of the source in the name of the file.
    pub fn suffix(self) -> &'static str {
        match self {
            Form::Hash | Form::Btree => ".ringdb",
            Form::Cdb => ".cdb",
            Form::Lmdb => ".lmdb",
        }
    }

    /// The file of a table whose source is `name`.
    pub fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("{name}{}", self.suffix()))
    }

    fn write(self, entries: &mut Entries, how: &Storing, out: &mut impl io::Write) -> io::Result<()> {
        match self {
            Form::Hash => own::write(entries, own::Order::AsInserted, how.source, out),
            Form::Btree => {
                entries.sort();
                own::write(entries, own::Order::Sorted, how.source, out)
            }
            Form::Cdb => cdb::write(entries, how.ending(), out),
            Form::Lmdb => {
                entries.sort();
                lmdb_write::write(entries, how.ending(), out)
            }
        }
    }
}

/// Why a file could not be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the file is damaged: {}", self.0)
    }
}

/// A file of one of the forms.
#[derive(Debug)]
enum Reader {
    Own(own::Reader),
    Cdb(cdb::Reader),
    Lmdb(lmdb::Reader),
}

impl Reader {
    fn open(form: Form, file: MappedFile) -> Result<Reader, Damaged> {
        Ok(match form {
            Form::Hash | Form::Btree => Reader::Own(own::Reader::of(file)?),
            Form::Cdb => Reader::Cdb(cdb::Reader::of(file)?),
            Form::Lmdb => Reader::Lmdb(lmdb::Reader::of(file)?),
        })
    }

    fn file(&self) -> &MappedFile {
        match self {
            Reader::Own(reader) => reader.file(),
            Reader::Cdb(reader) => reader.file(),
            Reader::Lmdb(reader) => reader.file(),
        }
    }

    /// See [`Table::version`].
    fn version(&self) -> Option<u64> {
        let version = match self {
            Reader::Own(_) | Reader::Cdb(_) => Some(0),
            Reader::Lmdb(reader) => reader.version(),
        };
        version.filter(|_| !self.file().is_damaged())
    }

    /// The value of a key.
    fn find(&self, key: &[u8]) -> Result<Option<Box<[u8]>>, Damaged> {
        let found = match self {
            Reader::Own(reader) => reader.find(key),
            Reader::Cdb(reader) => reader.find(key),
            Reader::Lmdb(reader) => reader.find(key),
        };
        match self.file().is_damaged() {
            true => Err(Damaged("it was made shorter while it was read")),
            false => found,
        }
    }

    /// Every entry in the file's order.
    fn each(&self, each: EachEntry<'_>) -> Result<(), EachError> {
        match self {
            Reader::Own(reader) => reader.each(each),
            Reader::Cdb(reader) => reader.each(each),
            Reader::Lmdb(reader) => reader.each(each),
        }?;
        match self.file().is_damaged() {
            true => Err(Damaged("it was made shorter while it was read").into()),
            false => Ok(()),
        }
    }
}

/// What is called with every entry of a file.
type EachEntry<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>;

/// Why a walk through a file ended early.
#[derive(Debug)]
enum EachError {
    Damaged(Damaged),
    Stopped(io::Error),
}

impl From<Damaged> for EachError {
    fn from(damaged: Damaged) -> EachError {
        EachError::Damaged(damaged)
    }
}

impl From<io::Error> for EachError {
    fn from(error: io::Error) -> EachError {
        EachError::Stopped(error)
    }
}

/// A table of kind `hash`, `btree`, `cdb` or `lmdb`.
#[derive(Debug)]
pub(crate) struct Indexed {
    spec: TableSpec,
    form: Form,
    reader: Reader,
    fold: bool,
}

/// Opens the file of `spec`.
pub(crate) fn open(
    spec: &TableSpec,
    form: Form,
    options: &TableOptions,
    notes: &Notes,
) -> Result<Indexed, String> {
    let path = form.path(&spec.name);
    let file = MappedFile::open(&path).map_err(|error| {
        let advice = match (error.kind(), form) {
            (io::ErrorKind::NotFound, Form::Hash | Form::Btree) if Path::new(&spec.name).exists() => {
                format!("; run: postmap {spec}")
            }
            _ => String::new(),
        };
        format!("open database {}: {}{advice}", path.display(), reason_of(&error))
    })?;
    warn_if_old(spec, &path, notes);
    let reader = Reader::open(form, file)
        .map_err(|damaged| format!("open database {}: {damaged}; run: postmap {spec}", path.display()))?;
    reader.file().bring_in();
    Ok(Indexed { spec: spec.clone(), form, reader, fold: options.fold })
}

/// As Postfix says it; a source that was changed a moment ago may just be being built.
fn warn_if_old(spec: &TableSpec, path: &Path, notes: &Notes) {
    const BUILDING: std::time::Duration = std::time::Duration::from_secs(100);
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if let (Some(source), Some(database)) = (changed(Path::new(&spec.name)), changed(path))
        && source > database
        && source.elapsed().is_ok_and(|age| age > BUILDING)
    {
        notes.warn(format!("database {} is older than source file {}", path.display(), spec.name));
    }
}

/// The entries of the file of `spec`, to be changed.
///
/// # Errors
/// The file is damaged; the file cannot be read.
pub fn read_all(form: Form, name: &str) -> io::Result<Entries> {
    let path = form.path(name);
    let file = MappedFile::open(&path)?;
    let damaged = |damaged: Damaged| io::Error::new(io::ErrorKind::InvalidData, damaged.to_string());
    let reader = Reader::open(form, file).map_err(damaged)?;
    let mut entries = Entries::default();
    let walked = reader.each(&mut |key, value| match entries.add(key, value) {
        Added::TooLong => Err(io::Error::new(io::ErrorKind::InvalidData, "an entry is too long")),
        Added::New | Added::Duplicate => Ok(()),
    });
    match walked {
        Ok(()) => Ok(entries),
        Err(EachError::Damaged(reason)) => Err(damaged(reason)),
        Err(EachError::Stopped(error)) => Err(error),
    }
}

/// Puts a file with these entries in the place of the one that is there.
///
/// # Errors
/// Whatever fails; the old file is then as it was.
pub fn store(form: Form, name: &str, entries: &mut Entries, how: &Storing) -> io::Result<()> {
    fresh::replace(&form.path(name), how.ownership, |out| form.write(entries, how, out))
}

/// How a file is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Storing {
    /// The source, for the file's header.
    pub source: SourceFacts,
    /// Whose the file is.
    pub ownership: Ownership,
    /// In `cdb` and `lmdb`, keys and values end with a NUL.
    pub terminated: bool,
}

impl Storing {
    fn ending(&self) -> &'static [u8] {
        if self.terminated { b"\0" } else { b"" }
    }
}

impl Indexed {
    fn text(&self, bytes: &[u8]) -> Result<Box<str>, ringpost_core::lookup::LookupTrouble> {
        let text = std::str::from_utf8(bytes);
        text.map(Box::from).map_err(|_| trouble(&self.spec, "malformed UTF-8 in a value"))
    }
}

impl Table for Indexed {
    fn find(&self, key: &str) -> Found {
        let folded = if self.fold { lower(key) } else { key.into() };
        match self.reader.find(folded.as_bytes()) {
            Ok(None) => Ok(None),
            Ok(Some(value)) => self.text(&value).map(Some),
            Err(damaged) => Err(trouble(&self.spec, damaged)),
        }
    }

    fn version(&self) -> Option<u64> {
        self.reader.version()
    }

    fn list(&self, each: Listing<'_>) -> Result<(), Unlisted> {
        if self.form == Form::Cdb {
            return Err(Unlisted::NotSupported);
        }
        let walked = self
            .reader
            .each(&mut |key, value| each(&String::from_utf8_lossy(key), &String::from_utf8_lossy(value)));
        walked.map_err(|error| match error {
            EachError::Damaged(damaged) => Unlisted::Trouble(trouble(&self.spec, damaged)),
            EachError::Stopped(error) => Unlisted::Stopped(error),
        })
    }
}

/// Bytes at an offset, checked.
fn slice(bytes: &[u8], at: u64, length: u64) -> Result<&[u8], Damaged> {
    let outside = Damaged("an offset lies outside");
    let start = usize::try_from(at).map_err(|_| outside)?;
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length)).ok_or(outside)?;
    bytes.get(start..end).ok_or(outside)
}

fn u16_at(bytes: &[u8], at: u64) -> Result<u16, Damaged> {
    slice(bytes, at, 2).map(|found| u16::from_le_bytes(found.try_into().expect("two bytes")))
}

fn u32_at(bytes: &[u8], at: u64) -> Result<u32, Damaged> {
    slice(bytes, at, 4).map(|found| u32::from_le_bytes(found.try_into().expect("four bytes")))
}

fn u64_at(bytes: &[u8], at: u64) -> Result<u64, Damaged> {
    slice(bytes, at, 8).map(|found| u64::from_le_bytes(found.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests;
