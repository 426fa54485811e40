//! flush: which deferred messages wait for which site, so that a site that comes back can ask for its mail.
//!
//! - What it is: Postfix's flush(8) without files: a list of message ids for each recipient domain of
//!   `fast_flush_domains`, per shard, in memory.
//! - Receives: messages that were deferred or have ended, with the addresses of their recipients.
//! - Sends: a domain's messages, once, when ETRN or `postqueue -s` asks.
//! - Owns: the lists. They begin empty; after a restart the shard reads what is deferred into them when it is first
//!   asked.
//! - Limits: [`LISTED_MAX`] places in all lists together. What finds no place is tried at its own time, as all mail.
//! - On failure: nothing fails. An id may outlive its message (an operator deleted it); asking for it does nothing.
//! - Standards: RFC 1985 (ETRN); Postfix's ETRN_README.

use hashbrown::{HashMap, HashSet};

use crate::qmgr::MessageId;

/// Places in the lists of one shard: a message has one for each of its domains. About 16 bytes each, 8 MiB together.
pub const LISTED_MAX: usize = 500_000;

/// What becomes of a site's request for its mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteFlush {
    /// What waits for it is tried now.
    Started,
    /// The site is not in `fast_flush_domains`.
    NotServed,
    /// Not now: the system stops, or too many such requests are under way.
    Failed,
}

/// The lists of one shard.
pub struct FlushLists {
    lists: HashMap<Box<str>, HashSet<u64, foldhash::fast::RandomState>, foldhash::fast::RandomState>,
    listed: usize,
    listed_max: usize,
}

/// The lists were full, and at least one domain of the message could not be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListsFull;

impl FlushLists {
    /// Empty lists with `listed_max` places.
    pub fn new(listed_max: usize) -> FlushLists {
        FlushLists { lists: HashMap::default(), listed: 0, listed_max }
    }

    /// Notes that mail for these recipients of message `id` is deferred, where a domain is served. Noting it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`ListsFull`]; what had a place is noted.
    pub fn deferred<'a>(
        &mut self,
        serves: impl Fn(&str) -> bool,
        id: MessageId,
        recipients: impl Iterator<Item = &'a str>,
    ) -> Result<(), ListsFull> {
        let mut verdict = Ok(());
        for domain in domains(recipients).filter(|domain| serves(domain)) {
            if self.listed >= self.listed_max {
                let known = self.lists.get(&*lower(domain)).is_some_and(|list| list.contains(&id.0));
                verdict = if known { verdict } else { Err(ListsFull) };
                continue;
            }
            let list = self.lists.entry(lower(domain)).or_default();
            self.listed += usize::from(list.insert(id.0));
        }
        verdict
    }

    /// Forgets message `id` of these recipients: it has ended.
    pub fn ended<'a>(&mut self, id: MessageId, recipients: impl Iterator<Item = &'a str>) {
        if self.lists.is_empty() {
            return;
        }
        for domain in domains(recipients) {
            let domain = lower(domain);
            if let Some(list) = self.lists.get_mut(&domain) {
                self.listed -= usize::from(list.remove(&id.0));
                if list.is_empty() {
                    self.lists.remove(&domain);
                }
            }
        }
    }

    /// Takes the messages that wait for `domain`, oldest first. Those that are deferred again are noted again.
    pub fn take(&mut self, domain: &str) -> Vec<MessageId> {
        let Some(list) = self.lists.remove(&*lower(domain)) else { return Vec::new() };
        self.listed -= list.len();
        let mut ids: Vec<MessageId> = list.into_iter().map(MessageId).collect();
        ids.sort_unstable();
        ids
    }

    /// Forgets every message that is not `queued` any more.
    pub fn retain(&mut self, mut queued: impl FnMut(MessageId) -> bool) {
        self.lists.retain(|_, list| {
            list.retain(|&id| queued(MessageId(id)));
            !list.is_empty()
        });
        self.listed = self.lists.values().map(HashSet::len).sum();
    }

    /// Places in use.
    pub fn listed(&self) -> usize {
        self.listed
    }
}

/// The domains of addresses; of neighbours with one domain only the first.
fn domains<'a>(addresses: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut before = "";
    addresses.filter_map(move |address| {
        let (_, domain) = address.rsplit_once('@')?;
        (std::mem::replace(&mut before, domain) != domain).then_some(domain)
    })
}

fn lower(domain: &str) -> Box<str> {
    domain.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        ["site.example", "sub.site.example", "other.example"].contains(&domain.as_str())
    }

    fn ids(list: &[u64]) -> Vec<MessageId> {
        list.iter().copied().map(MessageId).collect()
    }

    #[test]
    fn a_site_gets_its_own_mail_once() {
        let mut lists = FlushLists::new(100);
        let note = |lists: &mut FlushLists, id: u64, recipients: &[&str]| {
            lists.deferred(serves, MessageId(id), recipients.iter().copied())
        };
        assert_eq!(note(&mut lists, 2, &["a@Site.Example", "b@site.example", "c@other.example"]), Ok(()));
        assert_eq!(note(&mut lists, 1, &["a@site.example", "x@far.example", "local"]), Ok(()));
        assert_eq!(note(&mut lists, 3, &["a@sub.site.example"]), Ok(()));
        assert_eq!(note(&mut lists, 1, &["a@site.example"]), Ok(()));
        assert_eq!(lists.listed(), 4);
        assert_eq!(lists.take("SITE.example"), ids(&[1, 2]));
        assert_eq!(lists.take("site.example"), ids(&[]));
        assert_eq!(lists.take("far.example"), ids(&[]));
        assert_eq!(lists.take("sub.site.example"), ids(&[3]));
        assert_eq!(lists.take("other.example"), ids(&[2]));
        assert_eq!(lists.listed(), 0);
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let mut lists = FlushLists::new(100);
        for id in 1..=3 {
            let recipients = ["a@site.example", "b@other.example"];
            lists.deferred(serves, MessageId(id), recipients.into_iter()).expect("room");
        }
        lists.ended(MessageId(2), ["a@site.example", "b@other.example"].into_iter());
        lists.ended(MessageId(9), ["a@site.example"].into_iter());
        assert_eq!(lists.listed(), 4);
        lists.retain(|id| id == MessageId(3));
        assert_eq!((lists.listed(), lists.take("site.example")), (2, ids(&[3])));
    }

    #[test]
    fn full_lists_take_no_more_and_say_so() {
        let mut lists = FlushLists::new(2);
        let note = |lists: &mut FlushLists, id: u64| {
            lists.deferred(serves, MessageId(id), ["a@site.example"].into_iter())
        };
        assert_eq!((note(&mut lists, 1), note(&mut lists, 2)), (Ok(()), Ok(())));
        assert_eq!((note(&mut lists, 3), note(&mut lists, 1)), (Err(ListsFull), Ok(())));
        lists.ended(MessageId(1), ["a@site.example"].into_iter());
        assert_eq!(note(&mut lists, 3), Ok(()));
        assert_eq!(lists.take("site.example"), ids(&[2, 3]));
    }
}
