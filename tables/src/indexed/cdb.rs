//! `FILE.cdb`: D. J. Bernstein's constant database as Postfix writes it, keys and values with a NUL at their end.
//!
//! 256 pairs (offset u32, slots u32), records (key bytes u32, data bytes u32, key, data), then 256 hash tables of slots
//! (hash u32, offset of the record u32). At most 4 GiB.

use std::io::{self, Write};

use ringpost_reactor::MappedFile;

use super::{Damaged, EachEntry, EachError, Entries, slice, u32_at};

const HEADER_BYTES: u64 = 2048;

fn hash(key: &[u8], ending: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash.wrapping_shl(5).wrapping_add(hash)) ^ u32::from(*byte);
    key.iter().chain(ending).fold(5381, step)
}

pub(super) fn write(entries: &Entries, ending: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut tables: Vec<Vec<(u32, u32)>> = vec![Vec::new(); 256];
    let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
    let mut offset = HEADER_BYTES;
    for (key, value) in entries.iter() {
        let hash = hash(key, ending);
        tables[(hash & 255) as usize].push((hash, u32::try_from(offset).map_err(|_| too_large())?));
        offset += 8 + (key.len() + value.len() + 2 * ending.len()) as u64;
    }
    let mut table_at = offset;
    for table in &tables {
        out.write_all(&u32::try_from(table_at).map_err(|_| too_large())?.to_le_bytes())?;
        out.write_all(&(2 * table.len() as u32).to_le_bytes())?;
        table_at += 16 * table.len() as u64;
    }
    for (key, value) in entries.iter() {
        out.write_all(&((key.len() + ending.len()) as u32).to_le_bytes())?;
        out.write_all(&((value.len() + ending.len()) as u32).to_le_bytes())?;
        for part in [key, ending, value, ending] {
            out.write_all(part)?;
        }
    }
    for table in &tables {
        let mut slots = vec![(0, 0); 2 * table.len()];
        for &(hash, record) in table {
            let mut slot = (hash >> 8) as usize % slots.len();
            while slots[slot].1 != 0 {
                slot = (slot + 1) % slots.len();
            }
            slots[slot] = (hash, record);
        }
        for (hash, record) in slots {
            out.write_all(&hash.to_le_bytes())?;
            out.write_all(&record.to_le_bytes())?;
        }
    }
    Ok(())
}

/// An open file.
#[derive(Debug)]
pub(super) struct Reader {
    file: MappedFile,
    /// What follows each key: a NUL, or nothing.
    ending: &'static [u8],
}

impl Reader {
    pub(super) fn of(file: MappedFile) -> Result<Reader, Damaged> {
        let mut reader = Reader { file, ending: b"\0" };
        slice(reader.file.bytes(), 0, HEADER_BYTES).map_err(|_| Damaged("it has no header"))?;
        match reader.records_end()? {
            ..HEADER_BYTES => return Err(Damaged("its header makes no sense")),
            HEADER_BYTES => {}
            _ => {
                let (key, _) = reader.record(HEADER_BYTES)?;
                reader.ending = if key.last() == Some(&0) { b"\0" } else { b"" };
            }
        }
        Ok(reader)
    }

    pub(super) fn file(&self) -> &MappedFile {
        &self.file
    }

    /// The tables follow the records, the first of them first.
    fn records_end(&self) -> Result<u64, Damaged> {
        u32_at(self.file.bytes(), 0).map(u64::from)
    }

    fn record(&self, at: u64) -> Result<(&[u8], &[u8]), Damaged> {
        let bytes = self.file.bytes();
        let (key_bytes, data_bytes) = (u64::from(u32_at(bytes, at)?), u64::from(u32_at(bytes, at + 4)?));
        Ok((slice(bytes, at + 8, key_bytes)?, slice(bytes, at + 8 + key_bytes, data_bytes)?))
    }

    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Box<[u8]>>, Damaged> {
        let bytes = self.file.bytes();
        let hash = hash(key, self.ending);
        let head = 8 * u64::from(hash & 255);
        let (table, slots) = (u64::from(u32_at(bytes, head)?), u64::from(u32_at(bytes, head + 4)?));
        if slots == 0 {
            return Ok(None);
        }
        let first = u64::from(hash >> 8) % slots;
        for probe in 0..slots {
            let slot = table + 8 * ((first + probe) % slots);
            let (slot_hash, record) = (u32_at(bytes, slot)?, u32_at(bytes, slot + 4)?);
            if record == 0 {
                return Ok(None);
            }
            if slot_hash == hash {
                let (stored, value) = self.record(u64::from(record))?;
                if stored.strip_suffix(self.ending) == Some(key) {
                    return Ok(Some(without_nul(value).into()));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn each(&self, each: EachEntry<'_>) -> Result<(), EachError> {
        let (mut at, end) = (HEADER_BYTES, self.records_end()?);
        while at < end {
            let (key, value) = self.record(at)?;
            at += 8 + (key.len() + value.len()) as u64;
            each(without_nul(key), without_nul(value))?;
        }
        Ok(())
    }
}

fn without_nul(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\0").unwrap_or(text)
}
