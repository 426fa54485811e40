//! The index: what is known of every queued message without reading the disk, in 41 bytes each.
//!
//! A message takes one 40-byte [`IndexEntry`] in a page of 1,024. Entries are found by their sequence number through
//! linear hashing: one 4-byte bucket for every four messages, added one at a time, each chaining its entries. So no
//! message ever waits for a rehash of millions, and nothing is held twice while the table grows: pages and buckets
//! lie in pieces that are never moved, and are given back when nothing is in them. With the scheduler's roster (21
//! bytes) a queued message costs 62 bytes of memory; the limit of the design is 64.
//!
//! Messages whose notes or chunks lie in several segments also have an entry in a side table ([`Sprawl`]): those are
//! the few being delivered, and the large.

mod entry;

pub(crate) use entry::{CHAIN_BYTES_MAX, IndexEntry, SEQUENCE_MAX};

use crate::message::{MessageId, Queued};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hash::BuildHasher;

const PAGE_ENTRIES: usize = 1024;
/// Messages to a bucket, on average, before another is added. Half of it lets one go.
const BUCKET_LOAD: usize = 4;
/// Buckets allocated at a time.
const BUCKETS_AT_ONCE: usize = 4096;
const NO_SLOT: u32 = u32::MAX;

/// Bytes of one message's records in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub segment: u32,
    pub bytes: u64,
}

/// The records of a message beyond its Message record and its newest notes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sprawl {
    /// Live notes that the entry does not count: those in segments before `note.segment`, and those that are too
    /// many for it.
    pub notes: Vec<Extent>,
    /// Chunks, all of them.
    pub chunks: Vec<Extent>,
    /// Segments that hold an older Message record because chunks were moved: a removal must be told about each.
    pub stale: Vec<u32>,
}

struct Page {
    entries: Box<[IndexEntry]>,
    used: u32,
    /// First free slot of the page; free slots are linked.
    free: u32,
    /// Where the page stands in `open_pages`, while it has a free slot.
    open_at: u32,
}

/// The table of queued messages of one shard.
pub(crate) struct Index {
    shard: u16,
    buckets: Vec<Box<[u32]>>,
    bucket_count: usize,
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
    pub fn new(shard: u16, seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            shard,
            buckets: vec![new_buckets()],
            bucket_count: 1,
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

    /// Whether a message of that name can be in the index.
    pub fn takes(&self, id: MessageId) -> bool {
        id.shard() == self.shard && id.sequence() <= SEQUENCE_MAX
    }

    /// Bytes of memory in use, counted from capacities.
    pub fn memory_bytes(&self) -> u64 {
        let buckets = self.buckets.len() * BUCKETS_AT_ONCE * size_of::<u32>();
        let pages = self.pages.iter().flatten().count() * PAGE_ENTRIES * size_of::<IndexEntry>();
        let lists = self.buckets.capacity() * size_of::<Box<[u32]>>()
            + self.pages.capacity() * size_of::<Option<Page>>()
            + (self.open_pages.capacity() + self.empty_places.capacity()) * size_of::<u32>();
        let sprawls: usize = self.sprawls.allocation_size()
            + self
                .sprawls
                .values()
                .map(|sprawl| {
                    (sprawl.notes.capacity() + sprawl.chunks.capacity()) * size_of::<Extent>()
                        + sprawl.stale.capacity() * size_of::<u32>()
                })
                .sum::<usize>();
        (buckets + pages + lists + sprawls) as u64
    }

    fn hash(&self, sequence: u64) -> usize {
        self.hasher.hash_one(sequence) as usize
    }

    fn bucket_of(&self, sequence: u64) -> usize {
        let whole = 1usize << self.bucket_count.ilog2();
        let hash = self.hash(sequence);
        let wide = hash & (2 * whole - 1);
        if wide < self.bucket_count { wide } else { hash & (whole - 1) }
    }

    fn bucket(&self, bucket: usize) -> u32 {
        self.buckets[bucket / BUCKETS_AT_ONCE][bucket % BUCKETS_AT_ONCE]
    }

    fn bucket_mut(&mut self, bucket: usize) -> &mut u32 {
        &mut self.buckets[bucket / BUCKETS_AT_ONCE][bucket % BUCKETS_AT_ONCE]
    }

    fn at(&self, slot: u32) -> &IndexEntry {
        let page = self.pages[slot as usize / PAGE_ENTRIES].as_ref().expect("a slot in use has its page");
        &page.entries[slot as usize % PAGE_ENTRIES]
    }

    fn at_mut(&mut self, slot: u32) -> &mut IndexEntry {
        let page = self.pages[slot as usize / PAGE_ENTRIES].as_mut().expect("a slot in use has its page");
        &mut page.entries[slot as usize % PAGE_ENTRIES]
    }

    fn slot(&self, id: MessageId) -> Option<u32> {
        if id.shard() != self.shard {
            return None;
        }
        let mut slot = self.bucket(self.bucket_of(id.sequence()));
        while slot != NO_SLOT {
            let entry = self.at(slot);
            if entry.sequence() == id.sequence() {
                return Some(slot);
            }
            slot = entry.next;
        }
        None
    }

    /// The name of an entry.
    pub fn id_of(&self, entry: &IndexEntry) -> MessageId {
        MessageId::new(self.shard, entry.sequence())
    }

    pub fn find(&self, id: MessageId) -> Option<&IndexEntry> {
        self.slot(id).map(|slot| self.at(slot))
    }

    /// The slot of a message, which it keeps as long as it is queued.
    pub fn slot_of(&self, id: MessageId) -> Option<u32> {
        self.slot(id)
    }

    /// The message that was in this slot, if it is queued still.
    pub fn find_at(&self, slot: u32, id: MessageId) -> Option<&IndexEntry> {
        let page = self.pages.get(slot as usize / PAGE_ENTRIES)?.as_ref()?;
        let entry = &page.entries[slot as usize % PAGE_ENTRIES];
        (!entry.is_free() && self.id_of(entry) == id).then_some(entry)
    }

    pub fn find_mut(&mut self, id: MessageId) -> Option<&mut IndexEntry> {
        self.slot(id).map(|slot| self.at_mut(slot))
    }

    /// Adds a message that is not there yet; one that the index [takes](Index::takes).
    pub fn insert(&mut self, id: MessageId) {
        assert_eq!(id.shard(), self.shard, "each shard has its own spool");
        let slot = self.take_slot();
        let bucket = self.bucket_of(id.sequence());
        let next = std::mem::replace(self.bucket_mut(bucket), slot);
        let mut entry = IndexEntry::new(id);
        entry.next = next;
        *self.at_mut(slot) = entry;
        self.len += 1;
        if self.len > self.bucket_count * BUCKET_LOAD {
            self.add_bucket();
        }
    }

    /// Takes a message out.
    pub fn remove(&mut self, id: MessageId) -> Option<IndexEntry> {
        let slot = self.slot(id)?;
        let entry = *self.at(slot);
        let bucket = self.bucket_of(id.sequence());
        let mut before = self.bucket(bucket);
        if before == slot {
            *self.bucket_mut(bucket) = entry.next;
        } else {
            while self.at(before).next != slot {
                before = self.at(before).next;
            }
            self.at_mut(before).next = entry.next;
        }
        self.give_slot(slot);
        self.len -= 1;
        if self.len < self.bucket_count * (BUCKET_LOAD / 2) && self.bucket_count > 1 {
            self.drop_bucket();
        }
        Some(entry)
    }

    /// Linear hashing: adds one bucket and moves its entries out of the one that has held them.
    fn add_bucket(&mut self) {
        let new = self.bucket_count;
        let old = new - (1usize << new.ilog2());
        if new == self.buckets.len() * BUCKETS_AT_ONCE {
            self.buckets.push(new_buckets());
        }
        self.bucket_count += 1;
        let mut slot = std::mem::replace(self.bucket_mut(old), NO_SLOT);
        while slot != NO_SLOT {
            let entry = self.at(slot);
            let (next, bucket) = (entry.next, self.bucket_of(entry.sequence()));
            debug_assert!(bucket == old || bucket == new);
            let after = std::mem::replace(self.bucket_mut(bucket), slot);
            self.at_mut(slot).next = after;
            slot = next;
        }
    }

    /// The reverse: the last bucket's entries go back to the one that held them.
    fn drop_bucket(&mut self) {
        let last = self.bucket_count - 1;
        let old = last - (1usize << last.ilog2());
        let first = std::mem::replace(self.bucket_mut(last), NO_SLOT);
        self.bucket_count -= 1;
        if first != NO_SLOT {
            let mut tail = first;
            while self.at(tail).next != NO_SLOT {
                tail = self.at(tail).next;
            }
            let after = std::mem::replace(self.bucket_mut(old), first);
            self.at_mut(tail).next = after;
        }
        // One piece more stays, so that a queue that breathes does not allocate each time.
        if self.bucket_count + BUCKETS_AT_ONCE <= (self.buckets.len() - 1) * BUCKETS_AT_ONCE {
            self.buckets.pop();
        }
    }

    fn take_slot(&mut self) -> u32 {
        let number = match self.open_pages.last() {
            Some(&number) => number,
            None => self.add_page(),
        };
        let page = self.pages[number as usize].as_mut().expect("an open page exists");
        let at = page.free;
        assert!(at != NO_SLOT, "an open page has a free slot");
        page.free = page.entries[at as usize].next;
        page.used += 1;
        if page.free == NO_SLOT {
            self.open_pages.pop();
        }
        number * PAGE_ENTRIES as u32 + at
    }

    fn add_page(&mut self) -> u32 {
        let next_of = |at: usize| if at + 1 < PAGE_ENTRIES { at as u32 + 1 } else { NO_SLOT };
        let entries = (0..PAGE_ENTRIES).map(|at| IndexEntry::free(next_of(at))).collect();
        let page = Some(Page { entries, used: 0, free: 0, open_at: self.open_pages.len() as u32 });
        let number = match self.empty_places.pop() {
            Some(number) => {
                self.pages[number as usize] = page;
                number
            }
            None => {
                self.pages.push(page);
                u32::try_from(self.pages.len() - 1).expect("a shard queues far less than 2^32 messages")
            }
        };
        self.open_pages.push(number);
        number
    }

    fn give_slot(&mut self, slot: u32) {
        let number = slot / PAGE_ENTRIES as u32;
        let page = self.pages[number as usize].as_mut().expect("a slot in use has its page");
        if page.free == NO_SLOT {
            page.open_at = self.open_pages.len() as u32;
            self.open_pages.push(number);
        }
        page.entries[slot as usize % PAGE_ENTRIES] = IndexEntry::free(page.free);
        page.free = slot % PAGE_ENTRIES as u32;
        page.used -= 1;
        if page.used == 0 && self.open_pages.len() > 1 {
            // One page stays, so that a queue that empties and fills does not allocate each time.
            let open_at = page.open_at as usize;
            self.pages[number as usize] = None;
            self.empty_places.push(number);
            self.open_pages.swap_remove(open_at);
            if let Some(&moved) = self.open_pages.get(open_at) {
                let moved = self.pages[moved as usize].as_mut().expect("an open page exists");
                moved.open_at = open_at as u32;
            }
        }
    }

    /// Everything in the index, in the order of slots: about that of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &IndexEntry> {
        self.pages.iter().flatten().flat_map(|page| page.entries.iter()).filter(|entry| !entry.is_free())
    }

    /// The first message in a slot from `slot` on that is not in quarantine, and the slot after it. A message stays
    /// in its slot, so that a walk from slot to slot meets each that is queued all the while, once.
    pub fn next_queued(&self, slot: u32) -> Option<(Queued, u32)> {
        let (mut page, mut at) = (slot as usize / PAGE_ENTRIES, slot as usize % PAGE_ENTRIES);
        while let Some(place) = self.pages.get(page) {
            let entries = place.as_ref().map_or(&[][..], |page| &page.entries[at..]);
            if let Some(ahead) = entries.iter().position(|entry| !entry.is_free() && !entry.corrupt()) {
                let next = (page * PAGE_ENTRIES + at + ahead + 1) as u32;
                return Some((entries[ahead].queued(self.shard), next));
            }
            (page, at) = (page + 1, 0);
        }
        None
    }

    /// The sprawl of a message, made if need be.
    pub fn sprawl_mut(&mut self, id: MessageId) -> &mut Sprawl {
        if let Some(entry) = self.find_mut(id) {
            entry.set_sprawls(true);
        }
        self.sprawls.entry(id).or_default()
    }
}

fn new_buckets() -> Box<[u32]> {
    vec![NO_SLOT; BUCKETS_AT_ONCE].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_queued_message_costs_at_most_42_bytes_while_the_queue_grows_to_a_million() {
        let mut index = Index::new(3, 1);
        for sequence in 0..1_000_000u64 {
            index.insert(MessageId::new(3, sequence));
            let len = index.len() as u64;
            if len >= 100_000 && len.is_multiple_of(997) {
                let bytes = index.memory_bytes();
                assert!(bytes <= 42 * len, "{len} messages take {bytes} bytes");
            }
        }
    }

    #[test]
    fn memory_returns_when_the_queue_drains() {
        let mut index = Index::new(0, 1);
        (0..100_000).for_each(|sequence| index.insert(MessageId::new(0, sequence)));
        let full = index.memory_bytes();
        (0..100_000).for_each(|sequence| assert!(index.remove(MessageId::new(0, sequence)).is_some()));
        assert_eq!(index.len(), 0);
        assert!(index.memory_bytes() < full / 8, "{} of {full} bytes stay", index.memory_bytes());
    }

    #[test]
    fn behaves_as_a_map_does() {
        let mut index = Index::new(1, 9);
        let mut model = BTreeMap::new();
        let mut random = 12345u64;
        for step in 0..100_000u32 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Now it grows, now it shrinks.
            let removes = if step / 20_000 % 2 == 0 { 64 } else { 192 };
            let id = MessageId::new(1, (random >> 40) % 30_000);
            if (random >> 32) as u8 <= removes {
                let removed = index.remove(id).map(|entry| entry.due_at_s);
                assert_eq!(removed, model.remove(&id));
            } else if let Some(entry) = index.find_mut(id) {
                entry.due_at_s = step;
                model.insert(id, step);
            } else {
                index.insert(id);
                index.find_mut(id).expect("just inserted").due_at_s = step;
                assert_eq!(model.insert(id, step), None);
            }
        }
        let mut seen: Vec<_> = index.iter().map(|entry| (index.id_of(entry), entry.due_at_s)).collect();
        seen.sort();
        assert_eq!(seen, model.into_iter().collect::<Vec<_>>());
        assert!(index.find(MessageId::new(2, seen[0].0.sequence())).is_none(), "another shard's");
    }

    #[test]
    fn a_walk_meets_each_message_that_stays_once_whatever_comes_and_goes() {
        let mut index = Index::new(0, 4);
        (0..10_000).for_each(|sequence| index.insert(MessageId::new(0, sequence)));
        let (mut slot, mut met, mut fresh) = (0, BTreeMap::new(), 10_000);
        while let Some((queued, next)) = index.next_queued(slot) {
            *met.entry(queued.id).or_insert(0) += 1;
            slot = next;
            // Those with even numbers stay; the others leave in no order, and new ones take their slots.
            let leaving = (fresh * 7919 % 10_000) | 1;
            if index.remove(MessageId::new(0, leaving)).is_some() {
                index.insert(MessageId::new(0, fresh));
            }
            fresh += 1;
        }
        for sequence in (0..10_000).step_by(2) {
            assert_eq!(met.get(&MessageId::new(0, sequence)), Some(&1), "{sequence}");
        }
        assert!(met.values().all(|&times| times == 1));
    }
}
