//! pattern: `regexp` and `pcre` tables: rules in a file, the first that matches the key decides.
//!
//! | file | owns |
//! |---|---|
//! | `rules.rs` | the file's syntax: rules, `if` and `endif`, flags, replacement texts |
//! | `posix.rs` | POSIX expressions, in the words of the `regex` crate |
//! | `perl.rs` | which Perl-compatible expressions the `regex` crate can match, too |
//! | `class.rs` | bracket expressions |
//! | `matcher.rs` | one compiled expression |
//!
//! Expressions that the `regex` crate can match go into one automaton, which finds in one pass over the key all that
//! match; only the others are tried one by one, and only the one that decides is asked for its groups. The answer is
//! the same as if each were tried in order.
//!
//! Limits: `matcher.rs` bounds the steps of an expression with back-references or look-around; the automaton is linear
//! in the key's length. On failure: a rule that cannot be read is told with its line and left out, as Postfix does; an
//! expression that reaches its bound is trouble.
//! Standards: Postfix's regexp_table(5), pcre_table(5).

mod class;
mod matcher;
mod perl;
mod posix;
mod rules;

use std::path::Path;

use regex::bytes::{RegexSet, RegexSetBuilder};
use ringpost_core::lookup::{Found, TableSpec};

use self::matcher::Matcher;
use self::rules::{Rule, Step, Template};
use crate::notes::Notes;
use crate::table::{Table, trouble};
use crate::text;

/// Memory of the automaton's program: some thousand expressions. A larger set is tried one by one.
const PROGRAM_BYTES_MAX: usize = 256 << 20;
/// Memory for the states that the automaton has met, for each thread that asks.
const STATES_BYTES_MAX: usize = 16 << 20;
/// With fewer expressions than this, one by one is as fast.
const SET_MIN: usize = 4;

/// The dialect of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `regexp`
    Posix,
    /// `pcre`
    Perl,
}

impl Dialect {
    fn word(self) -> &'static str {
        match self {
            Dialect::Posix => "regexp",
            Dialect::Perl => "pcre",
        }
    }
}

/// The rules of one table.
#[derive(Debug)]
pub(crate) struct Patterns {
    spec: TableSpec,
    steps: Vec<Step>,
    set: Option<RegexSet>,
}

/// Reads the rules of a file.
pub(crate) fn open(spec: &TableSpec, dialect: Dialect, notes: &Notes) -> Result<Patterns, String> {
    let text = text::read(Path::new(&spec.name)).map_err(|error| format!("open {error}"))?;
    Ok(Patterns::of(spec, dialect, &text, notes))
}

impl Patterns {
    fn of(spec: &TableSpec, dialect: Dialect, text: &[u8], notes: &Notes) -> Patterns {
        let steps = rules::read(&spec.name, dialect, text, notes);
        let mut patterns = Patterns { spec: spec.clone(), steps, set: None };
        patterns.make_set();
        patterns
    }

    /// Joins what can be joined.
    fn make_set(&mut self) {
        let mut texts = Vec::new();
        for step in &mut self.steps {
            for test in step.tests_mut() {
                if let Some(text) = test.matcher.portable() {
                    test.in_set = Some(texts.len());
                    texts.push(text.to_owned());
                }
            }
        }
        let set = (texts.len() >= SET_MIN).then(|| {
            RegexSetBuilder::new(&texts)
                .size_limit(PROGRAM_BYTES_MAX)
                .dfa_size_limit(STATES_BYTES_MAX)
                .build()
                .ok()
        });
        self.set = set.flatten();
    }

    fn first(&self, key: &str, set: Option<&RegexSet>) -> Found {
        // Where `$` may match before a last line end, the automaton's `\z` does not.
        let set = set.filter(|_| !key.ends_with('\n'));
        let matches = set.map(|set| set.matches(key.as_bytes()));
        let holds = |test: &rules::Test| {
            let matched = match (&matches, test.in_set) {
                (Some(matches), Some(index)) => matches.matched(index),
                _ => test.matcher.is_match(key).map_err(|reason| trouble(&self.spec, reason))?,
            };
            Ok(matched != test.negated)
        };
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match step {
                Step::If { test, otherwise } => {
                    if !holds(test)? {
                        at = *otherwise;
                    }
                }
                Step::Rule(Rule { test, and, template }) => {
                    if holds(test)? && and.as_ref().map_or(Ok(true), holds)? {
                        return self.result(&test.matcher, template, key);
                    }
                }
            }
        }
        Ok(None)
    }

    fn result(&self, matcher: &Matcher, template: &Template, key: &str) -> Found {
        if let Some(text) = template.plain() {
            return Ok(Some(text.into()));
        }
        let groups = matcher.groups(key).map_err(|reason| trouble(&self.spec, reason))?;
        Ok(Some(template.filled(key, &groups).into()))
    }
}

impl Table for Patterns {
    fn find(&self, key: &str) -> Found {
        self.first(key, self.set.as_ref())
    }
}

#[cfg(test)]
mod tests;
