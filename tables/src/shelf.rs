//! shelf: the tables as one shard asks them.
//!
//! Receives: lookups of this shard's tasks. Owns: its own handles on the shared tables, so that a lookup takes no lock:
//! one atomic load tells whether the catalogue has a newer table, and only then is it fetched; the latest answers of
//! tables in files.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringpost_core::lookup::{Found, LookupTrouble, TableId, Tables};

use crate::catalogue::Catalogue;
use crate::memo::Memo;
use crate::open::Opened;

/// The tables of one shard.
#[derive(Debug)]
pub struct Shelf {
    catalogue: Arc<Catalogue>,
    slots: Box<[RefCell<Slot>]>,
}

#[derive(Debug)]
struct Slot {
    generation: u64,
    opened: Rc<Opened>,
    /// An empty value of this content was told.
    told_empty: bool,
    memo: Memo,
}

impl Slot {
    fn of(catalogue: &Catalogue, index: usize, generation: u64) -> Slot {
        let opened = Rc::new(catalogue.opened(index));
        Slot { generation, opened, told_empty: false, memo: Memo::default() }
    }
}

impl Shelf {
    pub(crate) fn new(catalogue: Arc<Catalogue>) -> Shelf {
        let slot = |index| {
            // The number first: a table that is published between the two is then fetched once more.
            let generation = catalogue.is_newer(index, u64::MAX).unwrap_or(u64::MAX);
            RefCell::new(Slot::of(&catalogue, index, generation))
        };
        let slots = (0..catalogue.len()).map(slot).collect();
        Shelf { catalogue, slots }
    }

    /// The catalogue that the shelf is filled from.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    fn renew(&self, index: usize) {
        let mut slot = self.slots[index].borrow_mut();
        if let Some(generation) = self.catalogue.is_newer(index, slot.generation) {
            *slot = Slot::of(&self.catalogue, index, generation);
        }
    }

    /// The answer of a table that has it at once; otherwise the table that must be waited for.
    fn find(&self, table: TableId, key: &str) -> Result<Found, Rc<Opened>> {
        let index = table.0 as usize;
        let Some(slot) = self.slots.get(index) else {
            return Ok(Err(LookupTrouble {
                table: format!("table {index}").into(),
                reason: "the configuration has no such table".into(),
            }));
        };
        if self.catalogue.is_newer(index, slot.borrow().generation).is_some() {
            self.renew(index);
        }
        let mut slot = slot.borrow_mut();
        let Slot { opened, memo, .. } = &mut *slot;
        match &**opened {
            Opened::Local(table) => Ok(match table.version() {
                Some(version) => memo.find(version, key, || table.find(key)),
                None => table.find(key),
            }),
            _ => Err(opened.clone()),
        }
    }
}

impl Shelf {
    /// Warns of a value that is empty, once for each content of a table: most often the administrator meant "not found".
    fn tell_empty(&self, table: TableId, key: &str) {
        let index = table.0 as usize;
        let told = self
            .slots
            .get(index)
            .is_none_or(|slot| std::mem::replace(&mut slot.borrow_mut().told_empty, true));
        if let Some(spec) = self.catalogue.spec(table).filter(|_| !told) {
            let notes = self.catalogue.notes();
            notes.warn(format!("{spec} lookup of \"{key}\" returns an empty string result"));
            notes.warn(format!("{spec} should return NO RESULT in case of NOT FOUND"));
        }
    }
}

impl Tables for Shelf {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        let found = match self.find(table, key) {
            Ok(found) => found,
            Err(opened) => opened.ask(key).await,
        };
        if matches!(&found, Ok(Some(value)) if value.is_empty()) {
            self.tell_empty(table, key);
        }
        found
    }
}
