//! `FILE.ringdb`: the file of `hash` and `btree` tables. Numbers are little-endian.
//!
//! ```text
//!     0  "RINGDB\r\n"            magic
//!     8  version u32            1
//!    12  order u32              0 as in the source, 1 sorted by key
//!    16  entries u64            how many
//!    24  index u64              offset of the index; the entries end there, padded to 8 bytes
//!    32  slots u64              a power of two, at least 4/3 of the entries
//!    40  seed u64               of the hash (XXH3, 64 bits)
//!    48  file bytes u64         index + 8 × slots
//!    56  source bytes u64       size of the source when it was read; 0 if it was no file
//!    64  source time u64        its modification time, nanoseconds since 1970
//!    72  zeros
//!   124  crc32c u32             of bytes 0..124
//!   128  entry, entry, …        crc32c u32 of the rest, key bytes u32, value bytes u32, key, value
//! index  slot, slot, …          u64: 0 empty, else the hash's upper 16 bits << 48 | offset of the entry
//! ```
//!
//! An entry's first slot is hash mod slots, the next is tried while one is taken. Opening reads the header only, so a
//! table of any size is open at once; every entry that is read is checked by its own sum.

use std::io::{self, Write};
use std::time::UNIX_EPOCH;

use ringpost_reactor::MappedFile;
use twox_hash::XxHash3_64;

use super::{Damaged, EachEntry, EachError, Entries, slice, u32_at, u64_at};

const MAGIC: &[u8; 8] = b"RINGDB\r\n";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 128;
const ENTRY_HEADER_BYTES: u64 = 12;
const OFFSET_BITS: u32 = 48;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const SEED: u64 = 0x7269_6e67_706f_7374;
/// The longest run of taken slots in a sound file: at three quarters full, with any hash worth the name, runs of more
/// than a few hundred do not occur. Bounds what a damaged index costs.
const PROBES_MAX: u64 = 1 << 16;

/// In which order entries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    AsInserted,
    Sorted,
}

/// The source as it was when the table was built.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceFacts {
    bytes: u64,
    time_ns: u64,
}

impl SourceFacts {
    /// Of an open source.
    pub fn of(metadata: &std::fs::Metadata) -> SourceFacts {
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let time_ns = changed.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        match metadata.is_file() {
            true => SourceFacts { bytes: metadata.len(), time_ns },
            false => SourceFacts::default(),
        }
    }
}

fn hash(key: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(SEED, key)
}

fn slot_of(hash: u64, offset: u64) -> u64 {
    (hash & !OFFSET_MASK) | offset
}

fn entry_sum(head: &[u8], key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), key), value)
}

pub(super) fn write(
    entries: &Entries,
    order: Order,
    source: SourceFacts,
    out: &mut impl Write,
) -> io::Result<()> {
    let count = entries.len() as u64;
    let slots = (count + count / 3 + 1).next_power_of_two();
    let entry_bytes = |(key, value): (&[u8], &[u8])| ENTRY_HEADER_BYTES + (key.len() + value.len()) as u64;
    let data_end = HEADER_BYTES + entries.iter().map(entry_bytes).sum::<u64>();
    let index = data_end.next_multiple_of(8);
    if index > OFFSET_MASK {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut header = Vec::with_capacity(HEADER_BYTES as usize);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&u32::from(order == Order::Sorted).to_le_bytes());
    for number in [count, index, slots, SEED, index + 8 * slots, source.bytes, source.time_ns] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.resize(HEADER_BYTES as usize - 4, 0);
    let sum = crc32c::crc32c(&header);
    header.extend_from_slice(&sum.to_le_bytes());
    out.write_all(&header)?;

    let mask = slots - 1;
    let mut table = vec![0_u64; usize::try_from(slots).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let mut offset = HEADER_BYTES;
    for (key, value) in entries.iter() {
        let mut head = [0; 8];
        head[..4].copy_from_slice(&(key.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&(value.len() as u32).to_le_bytes());
        out.write_all(&entry_sum(&head, key, value).to_le_bytes())?;
        out.write_all(&head)?;
        out.write_all(key)?;
        out.write_all(value)?;
        let hash = hash(key);
        let mut slot = hash & mask;
        while table[slot as usize] != 0 {
            slot = (slot + 1) & mask;
        }
        table[slot as usize] = slot_of(hash, offset);
        offset += entry_bytes((key, value));
    }
    out.write_all(&[0; 8][..(index - data_end) as usize])?;
    table.iter().try_for_each(|slot| out.write_all(&slot.to_le_bytes()))
}

/// An entry as it lies in the file, its sum not checked.
struct Parts<'a> {
    /// Both lengths.
    head: [u8; 8],
    key: &'a [u8],
    value: &'a [u8],
}

/// An open file.
#[derive(Debug)]
pub(super) struct Reader {
    file: MappedFile,
    entries: u64,
    index: u64,
    slots: u64,
}

impl Reader {
    pub(super) fn of(file: MappedFile) -> Result<Reader, Damaged> {
        let bytes = file.bytes();
        let header = slice(bytes, 0, HEADER_BYTES).map_err(|_| Damaged("it has no header"))?;
        let header = <[u8; HEADER_BYTES as usize]>::try_from(header).expect("the length was asked for");
        if header[..8] != *MAGIC {
            return Err(Damaged("it is no table of this program"));
        }
        if u32_at(&header, 8)? != VERSION {
            return Err(Damaged("it is of another version"));
        }
        if crc32c::crc32c(&header[..124]) != u32_at(&header, 124)? {
            return Err(Damaged("its header's sum is wrong"));
        }
        let (entries, index, slots) = (u64_at(&header, 16)?, u64_at(&header, 24)?, u64_at(&header, 32)?);
        let file_bytes = u64_at(&header, 48)?;
        let whole = slots.checked_mul(8).and_then(|bytes| bytes.checked_add(index)) == Some(file_bytes);
        if !whole || file_bytes != bytes.len() as u64 {
            return Err(Damaged("it is not whole"));
        }
        if !slots.is_power_of_two() || entries >= slots || u64_at(&header, 40)? != SEED {
            return Err(Damaged("its header makes no sense"));
        }
        Ok(Reader { file, entries, index, slots })
    }

    pub(super) fn file(&self) -> &MappedFile {
        &self.file
    }

    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Box<[u8]>>, Damaged> {
        let bytes = self.file.bytes();
        let hash = hash(key);
        let mask = self.slots - 1;
        for probe in 0..self.slots.min(PROBES_MAX) {
            let slot = u64_at(bytes, self.index + 8 * (hash.wrapping_add(probe) & mask))?;
            if slot == 0 {
                return Ok(None);
            }
            if slot & !OFFSET_MASK == hash & !OFFSET_MASK {
                let (found, value) = self.entry(slot & OFFSET_MASK, Some(key))?;
                if found {
                    return Ok(Some(value));
                }
            }
        }
        Err(Damaged("its index is full"))
    }

    /// The entry at `offset`: whether it has this key, and then its value. Checked on a copy of what is compared, since
    /// the file may change.
    fn entry(&self, offset: u64, key: Option<&[u8]>) -> Result<(bool, Box<[u8]>), Damaged> {
        let Parts { head, key: stored_key, value } = self.parts(offset)?;
        if key.is_some_and(|key| key != stored_key) {
            return Ok((false, Box::default()));
        }
        let value: Box<[u8]> = value.into();
        let key = key.unwrap_or(stored_key);
        match entry_sum(&head, key, &value) == u32_at(self.file.bytes(), offset)? {
            true => Ok((true, value)),
            false => Err(Damaged("an entry's sum is wrong")),
        }
    }

    fn parts(&self, offset: u64) -> Result<Parts<'_>, Damaged> {
        let data = slice(self.file.bytes(), 0, self.index)?;
        let head: [u8; 8] = slice(data, offset + 4, 8)?.try_into().expect("the length was asked for");
        let (key_bytes, value_bytes) = (u64::from(u32_at(&head, 0)?), u64::from(u32_at(&head, 4)?));
        let key = slice(data, offset + ENTRY_HEADER_BYTES, key_bytes)?;
        let value = slice(data, offset + ENTRY_HEADER_BYTES + key_bytes, value_bytes)?;
        Ok(Parts { head, key, value })
    }

    pub(super) fn each(&self, each: EachEntry<'_>) -> Result<(), EachError> {
        let mut offset = HEADER_BYTES;
        for _ in 0..self.entries {
            let Parts { head, key, value } = self.parts(offset)?;
            let (key, value) = (key.to_vec(), value.to_vec());
            if entry_sum(&head, &key, &value) != u32_at(self.file.bytes(), offset)? {
                return Err(Damaged("an entry's sum is wrong").into());
            }
            each(&key, &value)?;
            offset += ENTRY_HEADER_BYTES + (key.len() + value.len()) as u64;
        }
        Ok(())
    }
}
