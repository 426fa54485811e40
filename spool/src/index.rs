//! The index: what is known of every queued message without reading the disk, in at most 64 bytes each.
//!
//! A message takes one 40-byte [`IndexEntry`] in a page of 1,024 and a 4-byte slot number in one of 64 hash tables.
//! `hashbrown` keeps a control byte per bucket and, right after it doubled, 7/16 of its buckets in use:
//! (4 + 1) / (7/16) = 11.5 bytes at the worst. Together 51.5 bytes; while a table doubles, the old one beside the new
//! (5.8 more, in one table of 64 at a time). Pages are never moved, so nothing else is held twice; a page whose last
//! entry leaves is given back. Messages whose notes or chunks lie in several segments also have an entry in a side
//! table ([`Sprawl`]): those are the few being delivered, and the large.

use crate::{
    message::{MessageId, Queued},
    segment::Location,
};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use std::hash::BuildHasher;

const PAGE_ENTRIES: usize = 1024;
const TABLES: usize = 64;
const NO_SLOT: u32 = u32::MAX;

/// Bits of `chain` that are flags.
const FLAG_HELD: u32 = 1 << 31;
const FLAG_CHUNKED: u32 = 1 << 30;
const FLAG_CORRUPT: u32 = 1 << 29;
const FLAG_SPRAWL: u32 = 1 << 28;
const CHAIN_MASK: u32 = FLAG_SPRAWL - 1;

/// One queued message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexEntry {
    id: MessageId,
    /// The Message record; nowhere only while recovery has seen notes but not yet the message.
    pub message: Location,
    /// The newest Outcome, Retry, Hold or Release record; nowhere if none.
    pub note: Location,
    /// Payload bytes of the Message record.
    pub length: u32,
    pub due_at_s: u32,
    pub content_bytes: u32,
    /// Bytes of the live notes that lie in `note.segment`, in units of 8, below the flags. Older segments' are in
    /// the sprawl.
    chain: u32,
}

const _: () = assert!(size_of::<IndexEntry>() == 40);

impl IndexEntry {
    pub fn new(id: MessageId) -> Self {
        Self {
            id,
            message: Location::NOWHERE,
            note: Location::NOWHERE,
            length: 0,
            due_at_s: 0,
            content_bytes: 0,
            chain: 0,
        }
    }

    fn flag(&self, flag: u32) -> bool {
        self.chain & flag != 0
    }

    fn set_flag(&mut self, flag: u32, on: bool) {
        self.chain = if on { self.chain | flag } else { self.chain & !flag };
    }

    pub fn held(&self) -> bool {
        self.flag(FLAG_HELD)
    }

    pub fn set_held(&mut self, held: bool) {
        self.set_flag(FLAG_HELD, held);
    }

    pub fn chunked(&self) -> bool {
        self.flag(FLAG_CHUNKED)
    }

    pub fn set_chunked(&mut self, chunked: bool) {
        self.set_flag(FLAG_CHUNKED, chunked);
    }

    pub fn corrupt(&self) -> bool {
        self.flag(FLAG_CORRUPT)
    }

    pub fn set_corrupt(&mut self) {
        self.set_flag(FLAG_CORRUPT, true);
    }

    pub fn chain_bytes(&self) -> u64 {
        u64::from(self.chain & CHAIN_MASK) * 8
    }

    pub fn set_chain_bytes(&mut self, bytes: u64) {
        let eighths = u32::try_from(bytes / 8).unwrap_or(CHAIN_MASK).min(CHAIN_MASK);
        self.chain = self.chain & !CHAIN_MASK | eighths;
    }

    pub fn sprawls(&self) -> bool {
        self.flag(FLAG_SPRAWL)
    }

    pub fn set_sprawls(&mut self, sprawls: bool) {
        self.set_flag(FLAG_SPRAWL, sprawls);
    }
}

/// Bytes of one message's records in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub segment: u32,
    pub bytes: u64,
}

/// The records of a message beyond its Message record and its newest notes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sprawl {
    /// Live notes in segments before `note.segment`.
    pub notes: Vec<Extent>,
    /// Chunks, all of them.
    pub chunks: Vec<Extent>,
    /// Segments that hold an older Message record because chunks were moved: a removal must be told about each.
    pub stale: Vec<u32>,
}

struct Page {
    entries: Box<[IndexEntry]>,
    used: u32,
    /// First free slot of the page; free slots are linked through `length`.
    free: u32,
}

/// The table of queued messages.
pub(crate) struct Index {
    tables: Vec<HashTable<u32>>,
    pages: Vec<Option<Page>>,
    /// Pages with a free slot, and places for new pages.
    open_pages: Vec<u32>,
    empty_places: Vec<u32>,
    hasher: FixedState,
    len: usize,
    pub sprawls: HashMap<MessageId, Sprawl, FixedState>,
}

impl Index {
    /// An empty index; `seed` keeps outsiders from choosing ids that collide.
    pub fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            pages: Vec::new(),
            open_pages: Vec::new(),
            empty_places: Vec::new(),
            hasher: hasher.clone(),
            len: 0,
            sprawls: HashMap::with_hasher(hasher),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory in use, counted from capacities.
    pub fn memory_bytes(&self) -> u64 {
        let tables: usize = self.tables.iter().map(|table| table.allocation_size()).sum();
        let pages = self.pages.iter().flatten().count() * PAGE_ENTRIES * size_of::<IndexEntry>();
        let lists = self.pages.capacity() * size_of::<Option<Page>>()
            + (self.open_pages.capacity() + self.empty_places.capacity()) * size_of::<u32>();
        let sprawls: usize = self.sprawls.allocation_size()
            + self
                .sprawls
                .values()
                .map(|sprawl| (sprawl.notes.capacity() + sprawl.chunks.capacity()) * size_of::<Extent>())
                .sum::<usize>();
        (tables + pages + lists + sprawls) as u64
    }

    fn hash(&self, id: MessageId) -> u64 {
        self.hasher.hash_one(id.bits())
    }

    fn table_of(hash: u64) -> usize {
        // hashbrown uses the top seven bits for its control bytes and the low ones for the bucket.
        (hash >> 48) as usize % TABLES
    }

    fn slot(&self, id: MessageId, hash: u64) -> Option<u32> {
        self.tables[Self::table_of(hash)].find(hash, |&slot| self.at(slot).id == id).copied()
    }

    fn at(&self, slot: u32) -> &IndexEntry {
        let page = self.pages[slot as usize / PAGE_ENTRIES].as_ref().expect("a slot in use has its page");
        &page.entries[slot as usize % PAGE_ENTRIES]
    }

    pub fn find(&self, id: MessageId) -> Option<&IndexEntry> {
        self.slot(id, self.hash(id)).map(|slot| self.at(slot))
    }

    pub fn find_mut(&mut self, id: MessageId) -> Option<&mut IndexEntry> {
        let slot = self.slot(id, self.hash(id))?;
        let page = self.pages[slot as usize / PAGE_ENTRIES].as_mut().expect("a slot in use has its page");
        Some(&mut page.entries[slot as usize % PAGE_ENTRIES])
    }

    /// Adds a message that is not there yet.
    pub fn insert(&mut self, entry: IndexEntry) {
        let hash = self.hash(entry.id);
        let slot = self.take_slot();
        let page = self.pages[slot as usize / PAGE_ENTRIES].as_mut().expect("the slot was just taken");
        page.entries[slot as usize % PAGE_ENTRIES] = entry;
        let Self { tables, pages, hasher, .. } = self;
        tables[Self::table_of(hash)].insert_unique(hash, slot, |&slot| {
            let page = pages[slot as usize / PAGE_ENTRIES].as_ref().expect("a slot in use has its page");
            hasher.hash_one(page.entries[slot as usize % PAGE_ENTRIES].id.bits())
        });
        self.len += 1;
    }

    /// Takes a message out.
    pub fn remove(&mut self, id: MessageId) -> Option<IndexEntry> {
        let hash = self.hash(id);
        let Self { tables, pages, .. } = self;
        let found = tables[Self::table_of(hash)].find_entry(hash, |&slot| {
            let page = pages[slot as usize / PAGE_ENTRIES].as_ref().expect("a slot in use has its page");
            page.entries[slot as usize % PAGE_ENTRIES].id == id
        });
        let (slot, _) = found.ok()?.remove();
        let table = &mut self.tables[Self::table_of(hash)];
        if table.capacity() > 1024 && table.len() < table.capacity() / 8 {
            let Self { tables, pages, hasher, .. } = self;
            tables[Self::table_of(hash)].shrink_to_fit(|&slot| {
                let page = pages[slot as usize / PAGE_ENTRIES].as_ref().expect("a slot in use has its page");
                hasher.hash_one(page.entries[slot as usize % PAGE_ENTRIES].id.bits())
            });
        }
        let entry = *self.at(slot);
        self.give_slot(slot);
        self.len -= 1;
        Some(entry)
    }

    fn take_slot(&mut self) -> u32 {
        let number = match self.open_pages.last() {
            Some(&number) => number,
            None => self.add_page(),
        };
        let page = self.pages[number as usize].as_mut().expect("an open page exists");
        let at = page.free;
        assert!(at != NO_SLOT, "an open page has a free slot");
        page.free = page.entries[at as usize].length;
        page.used += 1;
        if page.free == NO_SLOT {
            self.open_pages.pop();
        }
        number * PAGE_ENTRIES as u32 + at
    }

    fn add_page(&mut self) -> u32 {
        let mut entries = vec![IndexEntry::new(MessageId::from_bits(0)); PAGE_ENTRIES].into_boxed_slice();
        for (at, entry) in entries.iter_mut().enumerate() {
            entry.length = if at + 1 < PAGE_ENTRIES { at as u32 + 1 } else { NO_SLOT };
        }
        let page = Some(Page { entries, used: 0, free: 0 });
        let number = match self.empty_places.pop() {
            Some(number) => {
                self.pages[number as usize] = page;
                number
            }
            None => {
                self.pages.push(page);
                self.pages.len() as u32 - 1
            }
        };
        self.open_pages.push(number);
        number
    }

    fn give_slot(&mut self, slot: u32) {
        let number = slot / PAGE_ENTRIES as u32;
        let page = self.pages[number as usize].as_mut().expect("a slot in use has its page");
        let was_full = page.free == NO_SLOT;
        page.entries[slot as usize % PAGE_ENTRIES].length = page.free;
        page.entries[slot as usize % PAGE_ENTRIES].message = Location::NOWHERE;
        page.entries[slot as usize % PAGE_ENTRIES].id = MessageId::from_bits(0);
        page.free = slot % PAGE_ENTRIES as u32;
        page.used -= 1;
        if was_full {
            self.open_pages.push(number);
        }
        if page.used == 0 && self.open_pages.len() > 1 {
            // One page stays, so that a queue that empties and fills does not allocate each time.
            self.pages[number as usize] = None;
            self.open_pages.retain(|&open| open != number);
            self.empty_places.push(number);
        }
    }

    /// Everything in the index, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &IndexEntry> {
        self.tables.iter().flat_map(|table| table.iter().map(|&slot| self.at(slot)))
    }

    /// The sprawl of a message, made if need be.
    pub fn sprawl_mut(&mut self, id: MessageId) -> &mut Sprawl {
        if let Some(entry) = self.find_mut(id) {
            entry.set_sprawls(true);
        }
        self.sprawls.entry(id).or_default()
    }
}

impl IndexEntry {
    pub fn id(&self) -> MessageId {
        self.id
    }

    pub fn queued(&self) -> Queued {
        Queued {
            id: self.id,
            due_at_s: self.due_at_s,
            held: self.held(),
            bytes: u64::from(self.content_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_queued_message_costs_at_most_64_bytes_at_every_size() {
        let mut index = Index::new(1);
        for sequence in 0..200_000u64 {
            index.insert(IndexEntry::new(MessageId::new(3, sequence)));
            let len = index.len() as u64;
            if len >= 20_000 && len.is_multiple_of(97) {
                let bytes = index.memory_bytes();
                assert!(bytes <= 64 * len, "{len} messages take {bytes} bytes");
            }
        }
        // A million messages, computed from the worst load of the tables: far below 64 MiB.
        let worst = 1_000_000.0 * (size_of::<IndexEntry>() as f64 + 5.0 / (7.0 / 16.0));
        assert!(worst < 64e6);
    }

    #[test]
    fn memory_returns_when_the_queue_drains() {
        let mut index = Index::new(1);
        (0..100_000).for_each(|sequence| index.insert(IndexEntry::new(MessageId::new(0, sequence))));
        let full = index.memory_bytes();
        (0..100_000).for_each(|sequence| assert!(index.remove(MessageId::new(0, sequence)).is_some()));
        assert_eq!(index.len(), 0);
        assert!(index.memory_bytes() < full / 8, "{} of {full} bytes stay", index.memory_bytes());
    }

    #[test]
    fn behaves_as_a_map_does() {
        let mut index = Index::new(9);
        let mut model = BTreeMap::new();
        let mut random = 12345u64;
        for step in 0..50_000u32 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let id = MessageId::new(1, (random >> 40) % 5000);
            if random >> 33 & 1 == 0 {
                let removed = index.remove(id).map(|entry| entry.due_at_s);
                assert_eq!(removed, model.remove(&id));
            } else if let Some(entry) = index.find_mut(id) {
                entry.due_at_s = step;
                model.insert(id, step);
            } else {
                let mut entry = IndexEntry::new(id);
                entry.due_at_s = step;
                index.insert(entry);
                assert_eq!(model.insert(id, step), None);
            }
        }
        let mut seen: Vec<_> = index.iter().map(|entry| (entry.id(), entry.due_at_s)).collect();
        seen.sort();
        assert_eq!(seen, model.into_iter().collect::<Vec<_>>());
    }
}
