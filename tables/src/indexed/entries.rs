//! The entries of a table while it is built or changed: in memory, in the order in which they came, each key once.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New,
    /// The key was there before.
    Duplicate,
    /// It was left out: key or value are longer than [`ENTRY_BYTES_MAX`].
    TooLong,
}

/// The longest key, and the longest value. A text table may not be longer as a whole; the forms count in 32 bits.
pub const ENTRY_BYTES_MAX: usize = 1 << 30;

/// Keys and values. About 40 bytes an entry beside its text.
#[derive(Debug, Default)]
pub struct Entries {
    text: Vec<u8>,
    places: Vec<Place>,
    by_key: HashTable<usize>,
    hasher: DefaultHashBuilder,
    removed: usize,
}

/// Where an entry's key and, right after it, its value are in the text.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    key_bytes: u32,
    value_bytes: u32,
    removed: bool,
}

impl Place {
    fn key(self, text: &[u8]) -> &[u8] {
        &text[self.start..][..self.key_bytes as usize]
    }

    fn value(self, text: &[u8]) -> &[u8] {
        &text[self.start + self.key_bytes as usize..][..self.value_bytes as usize]
    }
}

impl Entries {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.removed
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn index_of(&self, key: &[u8]) -> Option<usize> {
        let is_it = |&index: &usize| self.places[index].key(&self.text) == key;
        self.by_key.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// Adds an entry if its key is not there yet.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Added {
        match (length(key), length(value)) {
            (None, _) | (_, None) => Added::TooLong,
            _ if self.index_of(key).is_some() => Added::Duplicate,
            (Some(key_bytes), Some(value_bytes)) => {
                self.append(key, key_bytes, value, value_bytes);
                Added::New
            }
        }
    }

    /// Sets the value of a key, which keeps its place.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Added {
        let (Some(key_bytes), Some(value_bytes)) = (length(key), length(value)) else {
            return Added::TooLong;
        };
        let Some(index) = self.index_of(key) else {
            self.append(key, key_bytes, value, value_bytes);
            return Added::New;
        };
        let start = self.text.len();
        self.text.extend_from_slice(key);
        self.text.extend_from_slice(value);
        self.places[index].start = start;
        self.places[index].value_bytes = value_bytes;
        Added::Duplicate
    }

    /// Takes an entry away, if it is there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let (text, places) = (&self.text, &self.places);
        let is_it = |&index: &usize| places[index].key(text) == key;
        match self.by_key.find_entry(self.hasher.hash_one(key), is_it) {
            Ok(found) => {
                let (index, _) = found.remove();
                self.places[index].removed = true;
                self.removed += 1;
                true
            }
            Err(_) => false,
        }
    }

    fn append(&mut self, key: &[u8], key_bytes: u32, value: &[u8], value_bytes: u32) {
        let index = self.places.len();
        let start = self.text.len();
        self.text.extend_from_slice(key);
        self.text.extend_from_slice(value);
        self.places.push(Place { start, key_bytes, value_bytes, removed: false });
        let (text, places, hasher) = (&self.text, &self.places, &self.hasher);
        self.by_key
            .insert_unique(hasher.hash_one(key), index, |&index| hasher.hash_one(places[index].key(text)));
    }

    /// Puts the entries into the order of their keys' bytes.
    pub fn sort(&mut self) {
        self.places.retain(|place| !place.removed);
        self.removed = 0;
        let text = &self.text;
        self.places.sort_unstable_by(|left, right| left.key(text).cmp(right.key(text)));
        self.by_key.clear();
        let (places, hasher) = (&self.places, &self.hasher);
        let hash = |index: usize| hasher.hash_one(places[index].key(text));
        self.by_key.reserve(places.len(), |&index| hash(index));
        for index in 0..places.len() {
            self.by_key.insert_unique(hash(index), index, |&index| hash(index));
        }
    }

    /// Key and value of every entry, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let live = self.places.iter().filter(|place| !place.removed);
        live.map(|place| (place.key(&self.text), place.value(&self.text)))
    }
}

/// The length of a key or value, unless it is too long.
fn length(bytes: &[u8]) -> Option<u32> {
    u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= ENTRY_BYTES_MAX)
}
