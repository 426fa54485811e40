//! memo: the latest answers of one table, for one shard.
//!
//! Most keys of a session are those of the session before: the client's name and networks, the parents of domains, `*`.
//! Searching a large file for each costs several times as much as finding the answer here.
//!
//! Owns: [`PLACES`] answers, each at the place that its key's hash names; a newer answer takes the place of an older one.
//! Limits: answers of long keys or values are not kept; a table and shard takes some 100 KiB at most. Trouble is not kept.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use ringpost_core::lookup::Found;

/// How many answers; a power of two.
const PLACES: usize = 256;
/// Longer keys are asked for each time.
const KEY_BYTES_MAX: usize = 128;
/// Longer values are asked for each time.
const VALUE_BYTES_MAX: usize = 256;

/// What a table has answered lately.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// Of the table, when these answers were found.
    version: u64,
    /// None of them exists before the first answer.
    places: Box<[Option<Answer>]>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Answer {
    key: Box<str>,
    value: Option<Box<str>>,
}

impl Memo {
    /// The answer for `key` of a table at this `version`: `ask` is called if it is not known.
    pub(crate) fn find(&mut self, version: u64, key: &str, ask: impl FnOnce() -> Found) -> Found {
        if key.len() > KEY_BYTES_MAX {
            return ask();
        }
        if self.version != version || self.places.is_empty() {
            self.places = std::iter::repeat_with(|| None).take(PLACES).collect();
            self.version = version;
        }
        let hash = self.hasher.hash_one(key.as_bytes()) as usize;
        let place = &mut self.places[hash % PLACES];
        if let Some(known) = place.as_ref().filter(|known| *known.key == *key) {
            return Ok(known.value.clone());
        }
        let value = ask()?;
        if value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX) {
            *place = Some(Answer { key: key.into(), value: value.clone() });
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_core::lookup::LookupTrouble;
    use std::cell::Cell;

    #[test]
    fn an_answer_is_asked_for_once_a_version() {
        let (mut memo, asked) = (Memo::default(), Cell::new(0));
        let mut find = |version, key: &str, value: Option<&str>| {
            let ask = || {
                asked.set(asked.get() + 1);
                Ok(value.map(Box::from))
            };
            memo.find(version, key, ask).unwrap().map(String::from)
        };
        assert_eq!(find(1, "a", Some("x")), Some("x".into()));
        assert_eq!(find(1, "a", Some("y")), Some("x".into()));
        assert_eq!(find(1, "b", None), None);
        assert_eq!(find(1, "b", Some("late")), None);
        assert_eq!(asked.get(), 2);
        assert_eq!(find(2, "a", Some("y")), Some("y".into()));
        assert_eq!(find(2, "b", Some("late")), Some("late".into()));
    }

    #[test]
    fn keys_that_share_a_place_do_not_share_an_answer() {
        let mut memo = Memo::default();
        for round in 0..3 {
            for number in 0..4 * PLACES {
                let key = format!("key {number}");
                let found = memo.find(1, &key, || Ok(Some(key.as_str().into())));
                assert_eq!(found.unwrap().as_deref(), Some(&*key), "round {round}");
            }
        }
    }

    #[test]
    fn trouble_and_long_answers_are_asked_for_again() {
        let mut memo = Memo::default();
        let trouble = || Err(LookupTrouble { table: "t".into(), reason: "r".into() });
        assert!(memo.find(1, "k", trouble).is_err());
        assert_eq!(memo.find(1, "k", || Ok(None)), Ok(None));
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        for key in ["long", &*"k".repeat(KEY_BYTES_MAX + 1)] {
            assert!(memo.find(1, key, || Ok(Some(long.as_str().into()))).unwrap().is_some());
            assert_eq!(memo.find(1, key, || Ok(None)), Ok(None));
        }
    }
}
