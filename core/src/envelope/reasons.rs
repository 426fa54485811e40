//! Reasons, each kept once, within a budget.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::note::Reason;
use crate::dsn::{Class, Status};

/// Bytes of reasons that one message keeps. A server's replies can make them as long and as many as it likes; a
/// hundred thousand recipients that fail alike have one, and a thousand that differ still fit.
pub const REASON_BYTES_MAX: usize = 192 * 1024;

/// What a reason costs beside its texts.
const FIXED_BYTES: usize = 64;

/// Stands for a reason that no room was left for.
pub(super) const NOT_KEPT: &str = "the reason is in the mail log: this message has too many";

/// A list of reasons; what they belong to keeps their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reasons {
    list: Vec<Reason>,
    /// Index into `list` by hash: with thousands of reasons a look at each would take too long. Two reasons of one
    /// hash cost a repetition, nothing else, so the hasher needs no seed.
    by_hash: HashMap<u64, u32, BuildHasherDefault<DefaultHasher>>,
    bytes: usize,
    /// For each class, the one that stands for all that no room was left for.
    not_kept: [Option<u32>; 3],
}

impl Reasons {
    /// The number of this reason, which is added unless it is known.
    pub fn add(&mut self, reason: Reason) -> u32 {
        if self.list.last() == Some(&reason) {
            return self.list.len() as u32 - 1;
        }
        let hash = hash(&reason);
        if let Some(&number) = self.by_hash.get(&hash)
            && self.list[number as usize] == reason
        {
            return number;
        }
        let bytes = FIXED_BYTES + reason.text.len() + reason.reply.len() + reason.remote_mta.len();
        if self.bytes + bytes > REASON_BYTES_MAX {
            return self.add_not_kept(reason.status.class());
        }
        self.bytes += bytes;
        let number = self.push(reason);
        self.by_hash.insert(hash, number);
        number
    }

    fn add_not_kept(&mut self, class: Class) -> u32 {
        let place = usize::from(class.digit() / 2 - 1).min(2);
        match self.not_kept[place] {
            Some(number) => number,
            None => {
                let number = self.push(not_kept(class));
                self.not_kept[place] = Some(number);
                number
            }
        }
    }

    fn push(&mut self, reason: Reason) -> u32 {
        self.list.push(reason);
        (self.list.len() - 1) as u32
    }

    pub fn get(&self, number: u32) -> Option<&Reason> {
        self.list.get(number as usize)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// What they cost.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn into_list(self) -> Vec<Reason> {
        self.list
    }
}

fn hash(reason: &Reason) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&reason.text, &reason.reply).hash(&mut hasher);
    hasher.finish()
}

/// The reason in place of one that could not be kept.
pub(super) fn not_kept(class: Class) -> Reason {
    Reason {
        status: Status::new(class, 0, 0),
        text: NOT_KEPT.to_owned(),
        reply: String::new(),
        remote_mta: String::new(),
    }
}
