//! Every message that the scheduler knows, 20 bytes each, and the lists they wait in.
//!
//! An entry is found by its id through linear hashing (buckets are added one at a time, so that no event ever pays
//! for a rehash of ten million entries) and is linked into at most one list. Lists are singly linked: an entry
//! that must leave a list from its middle is buried, that is, taken out of the hash and freed when it is met in its list:
//! when its turn comes, or before that by a sweep, which takes a few steps with each burial. No event pays for more than
//! a bounded number of entries, however many there are. Memory stays at the highest count there has been: 20 bytes an entry and 1 for its share of a bucket.

use super::MessageId;
use super::action::MessageState;

/// Entries in one allocation, so that growth copies nothing.
const CHUNK_ENTRIES: usize = 4096;
/// Entries to a bucket, on average, before another bucket is added.
const BUCKET_LOAD: usize = 4;
/// Buried entries that are freed while one is looked for that is not: some ten microseconds.
const BURIED_A_POP: usize = 1024;
/// Buried entries that are tolerated whatever the count of live ones.
const BURIED_TOLERATED: usize = 4096;
const NONE: u32 = u32::MAX;
const VALUE_BITS: u32 = 29;
/// The largest value beside a state: seconds of a due time (17 years), bytes (512 MiB), an index.
pub(super) const VALUE_MAX: u32 = (1 << VALUE_BITS) - 1;

/// What an entry is; its value depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Place {
    /// Linked, but no longer a message.
    Buried = 0,
    /// In *incoming*, its bytes in the caller's memory; the value counts them.
    Kept = 1,
    /// In *incoming*, only the id.
    Incoming = 2,
    /// Active; the value is the index of the active message.
    Active = 3,
    /// Deferred; the value is the due second.
    Deferred = 4,
    /// On hold; in no list.
    Hold = 5,
    /// Corrupt; in no list.
    Corrupt = 6,
}

impl Place {
    /// The queue that the message is in; `None` for what is no message any more.
    pub fn state(self) -> Option<MessageState> {
        match self {
            Place::Buried => None,
            Place::Kept | Place::Incoming => Some(MessageState::Incoming),
            Place::Active => Some(MessageState::Active),
            Place::Deferred => Some(MessageState::Deferred),
            Place::Hold => Some(MessageState::Hold),
            Place::Corrupt => Some(MessageState::Corrupt),
        }
    }
}

const PLACES: [Place; 7] = [
    Place::Buried,
    Place::Kept,
    Place::Incoming,
    Place::Active,
    Place::Deferred,
    Place::Hold,
    Place::Corrupt,
];

#[derive(Clone, Copy)]
struct Entry {
    id_low: u32,
    id_high: u32,
    word: u32,
    next: u32,
    next_in_bucket: u32,
}

const _: () = assert!(size_of::<Entry>() == 20);

/// A first-in first-out list of entries.
#[derive(Clone, Copy)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub const EMPTY: List = List { head: NONE, tail: NONE };

    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

pub(super) struct Roster {
    chunks: Vec<Box<[Entry]>>,
    used: u32,
    free_head: u32,
    buckets: Vec<Box<[u32]>>,
    bucket_count: usize,
    counts: [usize; PLACES.len()],
    /// Entries that have been taken out of lists.
    #[cfg(test)]
    pub visits: u64,
}

impl Roster {
    pub fn new() -> Self {
        Self {
            chunks: Vec::new(),
            used: 0,
            free_head: NONE,
            buckets: vec![vec![NONE; CHUNK_ENTRIES].into_boxed_slice()],
            bucket_count: 1,
            counts: [0; PLACES.len()],
            #[cfg(test)]
            visits: 0,
        }
    }

    /// Messages in all places.
    pub fn len(&self) -> usize {
        self.counts[1..].iter().sum()
    }

    pub fn count(&self, place: Place) -> usize {
        self.counts[place as usize]
    }

    /// One more than the largest index of an entry.
    pub fn span(&self) -> u32 {
        self.used
    }

    /// Bytes of memory that entries and buckets take.
    pub fn memory_bytes(&self) -> usize {
        let lists = self.chunks.capacity() * size_of::<Box<[Entry]>>()
            + self.buckets.capacity() * size_of::<Box<[u32]>>();
        self.chunks.len() * CHUNK_ENTRIES * size_of::<Entry>()
            + self.buckets.len() * CHUNK_ENTRIES * 4
            + lists
    }

    fn entry(&self, index: u32) -> &Entry {
        &self.chunks[index as usize / CHUNK_ENTRIES][index as usize % CHUNK_ENTRIES]
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.chunks[index as usize / CHUNK_ENTRIES][index as usize % CHUNK_ENTRIES]
    }

    pub fn id(&self, index: u32) -> MessageId {
        let entry = self.entry(index);
        MessageId(u64::from(entry.id_high) << 32 | u64::from(entry.id_low))
    }

    pub fn place(&self, index: u32) -> Place {
        PLACES[(self.entry(index).word >> VALUE_BITS) as usize]
    }

    pub fn value(&self, index: u32) -> u32 {
        self.entry(index).word & VALUE_MAX
    }

    /// Moves an entry that is in no list to another place.
    pub fn set(&mut self, index: u32, place: Place, value: u32) {
        assert!(value <= VALUE_MAX && place != Place::Buried);
        let old = self.place(index);
        self.counts[old as usize] -= 1;
        self.counts[place as usize] += 1;
        self.entry_mut(index).word = (place as u32) << VALUE_BITS | value;
    }

    pub fn find(&self, id: MessageId) -> Option<u32> {
        let mut index = *self.bucket(self.bucket_of(id));
        while index != NONE && self.id(index) != id {
            index = self.entry(index).next_in_bucket;
        }
        (index != NONE).then_some(index)
    }

    /// Adds a message that is not known yet.
    pub fn insert(&mut self, id: MessageId, place: Place, value: u32) -> u32 {
        assert!(value <= VALUE_MAX && place != Place::Buried);
        assert!(self.find(id).is_none(), "message {id:?} is already known to the queue manager");
        let index = self.allocate();
        let bucket = self.bucket_of(id);
        let next_in_bucket = std::mem::replace(self.bucket_mut(bucket), index);
        *self.entry_mut(index) = Entry {
            id_low: id.0 as u32,
            id_high: (id.0 >> 32) as u32,
            word: (place as u32) << VALUE_BITS | value,
            next: NONE,
            next_in_bucket,
        };
        self.counts[place as usize] += 1;
        if self.len() > self.bucket_count * BUCKET_LOAD {
            self.add_bucket();
        }
        index
    }

    /// Forgets a message that is in no list.
    pub fn remove(&mut self, index: u32) {
        self.unhash(index);
        self.counts[self.place(index) as usize] -= 1;
        self.release(index);
    }

    /// Forgets a message that is in a list.
    pub fn bury(&mut self, index: u32) {
        self.unhash(index);
        self.counts[self.place(index) as usize] -= 1;
        self.counts[Place::Buried as usize] += 1;
        self.entry_mut(index).word = 0;
    }

    /// So many entries are buried that the lists should be swept.
    pub fn wants_pruning(&self) -> bool {
        self.counts[Place::Buried as usize] > BURIED_TOLERATED.max(self.len() / 8)
    }

    pub fn push_back(&mut self, list: &mut List, index: u32) {
        self.entry_mut(index).next = NONE;
        if list.is_empty() {
            list.head = index;
        } else {
            self.entry_mut(list.tail).next = index;
        }
        list.tail = index;
    }

    /// Takes the first entry that is not buried. `None` also when [`BURIED_A_POP`] buried ones were met: then the list is
    /// not empty.
    pub fn pop_front(&mut self, list: &mut List) -> Option<u32> {
        for _ in 0..BURIED_A_POP {
            if let Some(index) = self.shift(list)? {
                return Some(index);
            }
        }
        None
    }

    /// Moves entries to the back of another list, those that are buried excepted: they are freed. Looks at `budget`
    /// entries at most, which it lowers. True if nothing is left in `from`.
    pub fn sift(&mut self, from: &mut List, to: &mut List, budget: &mut u32) -> bool {
        while *budget > 0 {
            let Some(entry) = self.shift(from) else { return true };
            *budget -= 1;
            if let Some(index) = entry {
                self.push_back(to, index);
            }
        }
        from.is_empty()
    }

    /// Takes the first entry; frees it, and answers none inside, if it is buried.
    fn shift(&mut self, list: &mut List) -> Option<Option<u32>> {
        let index = list.head;
        if index == NONE {
            return None;
        }
        #[cfg(test)]
        {
            self.visits += 1;
        }
        list.head = self.entry(index).next;
        if self.place(index) != Place::Buried {
            return Some(Some(index));
        }
        self.counts[Place::Buried as usize] -= 1;
        self.release(index);
        Some(None)
    }

    /// Puts all of `other` behind `list`.
    pub fn append(&mut self, list: &mut List, other: &mut List) {
        let other = std::mem::replace(other, List::EMPTY);
        if list.is_empty() {
            *list = other;
        } else if !other.is_empty() {
            self.entry_mut(list.tail).next = other.head;
            list.tail = other.tail;
        }
    }

    fn allocate(&mut self) -> u32 {
        if self.free_head != NONE {
            let index = self.free_head;
            self.free_head = self.entry(index).next;
            return index;
        }
        if self.used as usize == self.chunks.len() * CHUNK_ENTRIES {
            let unused = Entry { id_low: 0, id_high: 0, word: 0, next: NONE, next_in_bucket: NONE };
            self.chunks.push(vec![unused; CHUNK_ENTRIES].into_boxed_slice());
        }
        self.used += 1;
        assert!(self.used < NONE, "a shard's spool numbers its messages in far less than 2^32");
        self.used - 1
    }

    fn release(&mut self, index: u32) {
        let free_head = self.free_head;
        let entry = self.entry_mut(index);
        entry.word = 0;
        entry.next = free_head;
        self.free_head = index;
    }

    fn bucket(&self, bucket: usize) -> &u32 {
        &self.buckets[bucket / CHUNK_ENTRIES][bucket % CHUNK_ENTRIES]
    }

    fn bucket_mut(&mut self, bucket: usize) -> &mut u32 {
        &mut self.buckets[bucket / CHUNK_ENTRIES][bucket % CHUNK_ENTRIES]
    }

    /// Ids are made by ourselves, so a fixed mix suffices.
    fn hash(id: MessageId) -> usize {
        (id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }

    fn bucket_of(&self, id: MessageId) -> usize {
        let whole = 1usize << self.bucket_count.ilog2();
        let hash = Self::hash(id);
        let wide = hash & (2 * whole - 1);
        if wide < self.bucket_count { wide } else { hash & (whole - 1) }
    }

    /// Linear hashing: adds one bucket and moves its entries out of the one that has held them.
    fn add_bucket(&mut self) {
        let new = self.bucket_count;
        let old = new - (1usize << new.ilog2());
        if new == self.buckets.len() * CHUNK_ENTRIES {
            self.buckets.push(vec![NONE; CHUNK_ENTRIES].into_boxed_slice());
        }
        self.bucket_count += 1;
        let mut index = std::mem::replace(self.bucket_mut(old), NONE);
        while index != NONE {
            let next = self.entry(index).next_in_bucket;
            let bucket = self.bucket_of(self.id(index));
            debug_assert!(bucket == old || bucket == new);
            self.entry_mut(index).next_in_bucket = std::mem::replace(self.bucket_mut(bucket), index);
            index = next;
        }
    }

    fn unhash(&mut self, index: u32) {
        let bucket = self.bucket_of(self.id(index));
        let after = self.entry(index).next_in_bucket;
        let mut at = *self.bucket(bucket);
        if at == index {
            *self.bucket_mut(bucket) = after;
            return;
        }
        loop {
            let next = self.entry(at).next_in_bucket;
            if next == index {
                self.entry_mut(at).next_in_bucket = after;
                return;
            }
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_while_buckets_split_and_chunks_grow() {
        let mut roster = Roster::new();
        let ids = |count: u64| (0..count).map(|n| MessageId(n << 10 | 3));
        for id in ids(30_000) {
            let index = roster.insert(id, Place::Hold, 7);
            assert_eq!(roster.id(index), id);
        }
        for id in ids(30_000).step_by(3) {
            let index = roster.find(id).expect("inserted above");
            roster.remove(index);
        }
        for (n, id) in ids(30_000).enumerate() {
            assert_eq!(roster.find(id).is_some(), n % 3 != 0);
        }
        assert_eq!(roster.len(), 20_000);
    }

    #[test]
    fn an_entry_costs_at_most_22_bytes_while_the_queue_grows_to_a_million() {
        let mut roster = Roster::new();
        // The spool's index takes 42 more; the design allows 64 for both.
        for n in 0..1_000_000 {
            roster.insert(MessageId(n << 10), Place::Deferred, 1);
            let (bytes, len) = (roster.memory_bytes(), roster.len());
            assert!(len < 100_000 || bytes <= 22 * len, "{len} entries take {bytes} bytes");
        }
    }
}
