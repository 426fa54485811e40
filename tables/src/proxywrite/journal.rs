//! journal: what was written into a table, in a file, in order.
//!
//! ```text
//! MAGIC                                             ringpost table journal 1\n
//! record*  crc32c(u32 LE, of the rest) | key bytes (u32 LE) | value bytes (u32 LE; GONE: removed) | key | value
//! ```
//!
//! Assumptions about the medium: an append that was said to be done is there while the system runs; after a power failure
//! the end may be missing or torn. The file is read up to the first record that is not whole, and goes on from there: the
//! tables are caches, whose latest entries may be found out again. Nothing is synced but a journal that replaces another.
//! One process at a time has it (`flock`).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::notes::Notes;
use crate::text::reason_of;

const MAGIC: &[u8] = b"ringpost table journal 1\n";
const HEAD_BYTES: usize = 12;
/// The length of a value that there is none of.
const GONE: u32 = u32::MAX;
/// A journal is written anew from this size on, when it is four times as long as it would be then.
const REWRITE_BYTES_MIN: u64 = 1 << 20;

/// The file, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// The file may be longer than `bytes`: part of a record was written, and could not be taken back.
    torn: bool,
    /// It is not written anew before it is so long.
    tidy_at_bytes: u64,
}

impl Journal {
    /// Opens the file, or makes it, and reads what it says: each key with its value, or without if it was removed.
    ///
    /// # Errors
    /// It cannot be opened or read, another process has it, or it is no such file.
    pub fn open(path: &Path, notes: &Notes, mut each: impl FnMut(&str, Option<&str>)) -> io::Result<Journal> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            rustix::io::Errno::WOULDBLOCK => io::Error::other("another process has it open"),
            errno => errno.into(),
        })?;
        let length = file.metadata()?.len();
        let mut journal = Journal {
            path: path.to_owned(),
            file,
            bytes: MAGIC.len() as u64,
            torn: false,
            tidy_at_bytes: REWRITE_BYTES_MIN,
        };
        if length < MAGIC.len() as u64 {
            journal.file.set_len(0)?;
            journal.file.rewind()?;
            journal.file.write_all(MAGIC)?;
            return Ok(journal);
        }
        let mut reader = BufReader::new(&journal.file);
        let mut magic = vec![0; MAGIC.len()];
        reader.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(io::Error::other("it is no journal of a table"));
        }
        while let Some((key, value)) = record(&mut reader)? {
            each(&key, value.as_deref());
            journal.bytes += (HEAD_BYTES + key.len() + value.map_or(0, |value| value.len())) as u64;
        }
        if journal.bytes < length {
            notes.warn(format!(
                "{}: the last {} bytes are not whole and are left out",
                path.display(),
                length - journal.bytes
            ));
            journal.file.set_len(journal.bytes)?;
        }
        journal.file.seek(SeekFrom::Start(journal.bytes))?;
        Ok(journal)
    }

    /// Writes one record.
    ///
    /// # Errors
    /// The disk does not take it; the file ends as before then.
    pub fn append(&mut self, key: &str, value: Option<&str>) -> io::Result<()> {
        if self.torn {
            self.cut()?;
        }
        let record = written(key, value);
        if let Err(error) = self.file.write_all(&record) {
            // Before the next record at the latest, or that one would not be found again.
            self.torn = self.cut().is_err();
            return Err(error);
        }
        self.bytes += record.len() as u64;
        Ok(())
    }

    /// Takes back what was written of a record that is not whole.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.torn = false;
        Ok(())
    }

    /// Whether writing it anew with what lives would make it much shorter.
    pub fn is_mostly_past(&self, live_bytes: usize, entries: usize) -> bool {
        self.bytes >= self.tidy_at_bytes && self.bytes / 4 > (live_bytes + entries * HEAD_BYTES) as u64
    }

    /// Replaces the file by one that has these entries only. If that fails the old one stays, complete as it is, and the
    /// next attempt is made when it is twice as long: a full disk is no reason to lose what was just written.
    pub fn tidy(&mut self, entries: &BTreeMap<Box<str>, Box<str>>, notes: &Notes) {
        self.tidy_at_bytes = REWRITE_BYTES_MIN;
        if let Err(error) = self.rewrite(entries) {
            self.tidy_at_bytes = self.bytes.saturating_mul(2);
            notes.warn(format!("{}: cannot be written anew: {}", self.path.display(), reason_of(&error)));
        }
    }

    fn rewrite(&mut self, entries: &BTreeMap<Box<str>, Box<str>>) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let fresh = PathBuf::from(name);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut bytes = MAGIC.len() as u64;
        let mut writer = BufWriter::new(&file);
        writer.write_all(MAGIC)?;
        for (key, value) in entries {
            let record = written(key, Some(value));
            writer.write_all(&record)?;
            bytes += record.len() as u64;
        }
        writer.flush()?;
        drop(writer);
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        (self.file, self.bytes, self.torn) = (file, bytes, false);
        Ok(())
    }
}

fn written(key: &str, value: Option<&str>) -> Vec<u8> {
    // The caller has bounded both.
    let length = |text: &str| text.len() as u32;
    let mut record = vec![0; 4];
    record.extend(length(key).to_le_bytes());
    record.extend(value.map_or(GONE, length).to_le_bytes());
    record.extend(key.as_bytes());
    record.extend(value.unwrap_or_default().as_bytes());
    let crc = crc32c::crc32c(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    record
}

/// The next record; `None` where no whole one follows.
fn record(reader: &mut impl Read) -> io::Result<Option<(String, Option<String>)>> {
    let mut head = [0; HEAD_BYTES];
    if !is_filled(reader, &mut head)? {
        return Ok(None);
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (crc, key_bytes, value_bytes) = (number(0), number(4) as usize, number(8));
    let value_length = if value_bytes == GONE { 0 } else { value_bytes as usize };
    if key_bytes > KEY_BYTES_MAX || value_length > VALUE_BYTES_MAX {
        return Ok(None);
    }
    let mut body = vec![0; key_bytes + value_length];
    if !is_filled(reader, &mut body)? || crc32c::crc32c_append(crc32c::crc32c(&head[4..]), &body) != crc {
        return Ok(None);
    }
    let value = body.split_off(key_bytes);
    match (String::from_utf8(body), String::from_utf8(value)) {
        (Ok(key), Ok(value)) => Ok(Some((key, (value_bytes != GONE).then_some(value)))),
        _ => Ok(None),
    }
}

fn is_filled(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
