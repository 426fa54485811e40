//! `unionmap`, `pipemap` and `randmap`: tables that are made of tables, or of a list.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use ringpost_core::config::split_list;
use ringpost_core::lookup::{Found, TableSpec, TableType};

use crate::options::TableOptions;
use crate::table::Table;

/// Tables within tables; `unionmap:{pipemap:{unionmap:{…}}}` is deep already.
pub(crate) const NESTING_MAX: usize = 16;

/// How the answers of several tables become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joining {
    /// All of them, with commas between.
    Union,
    /// Each is the key of the next.
    Pipe,
}

/// What is in the braces of such a table's name.
fn inside(spec: &TableSpec, what: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("bad syntax: \"{spec}\"; need \"{}:{{{what}...}}\"", spec.kind.word());
    let inside = spec.name.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let elements: Vec<String> =
        split_list(inside.ok_or_else(wrong)?).into_iter().map(str::to_owned).collect();
    if elements.is_empty() { Err(wrong()) } else { Ok(elements) }
}

/// The tables of a `unionmap` or `pipemap`.
///
/// # Errors
/// What is wrong with them, in one sentence.
pub(crate) fn members(spec: &TableSpec, options: &TableOptions) -> Result<Vec<TableSpec>, String> {
    let member = |text: &String| match text.contains(':') {
        true => TableSpec::parse(text, options.default_type),
        false => {
            let kind = spec.kind.word();
            Err(format!("bad syntax: \"{spec}\"; need \"{kind}:{{type:name...}}\""))
        }
    };
    inside(spec, "type:name")?.iter().map(member).collect()
}

/// Tables that all answer at once.
#[derive(Debug)]
pub(crate) struct Compound {
    pub(crate) joining: Joining,
    pub(crate) tables: Vec<Arc<dyn Table>>,
}

impl Table for Compound {
    fn find(&self, key: &str) -> Found {
        let mut answer = Answer::of(self.joining, key);
        for table in &self.tables {
            if !answer.take(table.find(answer.key())?) {
                break;
            }
        }
        Ok(answer.end())
    }
}

/// The answer as it comes together.
pub(crate) struct Answer {
    joining: Joining,
    key: Box<str>,
    union: Option<String>,
    /// Of a pipe: there is something to go on with.
    flows: bool,
}

impl Answer {
    pub(crate) fn of(joining: Joining, key: &str) -> Answer {
        Answer { joining, key: key.into(), union: None, flows: true }
    }

    /// What the next table is asked for.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Takes the answer of a table, and tells whether the next is to be asked.
    pub(crate) fn take(&mut self, found: Option<Box<str>>) -> bool {
        match (self.joining, found) {
            (Joining::Union, Some(value)) => {
                match &mut self.union {
                    Some(union) => {
                        union.push(',');
                        union.push_str(&value);
                    }
                    None => self.union = Some(value.into()),
                }
                true
            }
            (Joining::Union, None) => true,
            (Joining::Pipe, Some(value)) => {
                self.key = value;
                true
            }
            (Joining::Pipe, None) => {
                self.flows = false;
                false
            }
        }
    }

    pub(crate) fn end(self) -> Option<Box<str>> {
        match self.joining {
            Joining::Union => self.union.map(Into::into),
            Joining::Pipe => self.flows.then_some(self.key),
        }
    }
}

/// `randmap:{…}`: one of the values, whatever the key.
#[derive(Debug)]
pub(crate) struct Random(Vec<String>);

impl Random {
    pub(crate) fn open(spec: &TableSpec) -> Result<Random, String> {
        debug_assert_eq!(spec.kind, TableType::Randmap);
        inside(spec, "value").map(Random)
    }
}

impl Table for Random {
    fn find(&self, _key: &str) -> Found {
        // Every state is seeded anew; nothing here has to be hard to guess.
        let number = RandomState::new().hash_one(0) as usize;
        Ok(Some(self.0[number % self.0.len()].as_str().into()))
    }
}
