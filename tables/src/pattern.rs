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

use regex::bytes::{RegexSet, RegexSetBuilder};
use ringpost_core::lookup::{Found, LookupTrouble, TableSpec};

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
    set: Option<Set>,
}

/// The expressions that are matched together.
#[derive(Debug)]
struct Set {
    automaton: RegexSet,
    /// The step that each of them belongs to, in the order of the steps.
    steps: Vec<usize>,
    /// The steps that must be looked at although none of theirs matches: they are negated, decide where to go on, or
    /// have an expression that is not in the automaton. In order.
    open: Vec<usize>,
}

/// Reads the rules of a file.
pub(crate) fn open(spec: &TableSpec, dialect: Dialect, notes: &Notes) -> Result<Patterns, String> {
    let text = text::rules(spec)?;
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
        let (mut texts, mut steps, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (at, step) in self.steps.iter_mut().enumerate() {
            let mut is_open = matches!(step, Step::If { .. });
            let mut has_plain = false;
            for test in step.tests_mut() {
                if let Some(text) = test.matcher.portable() {
                    test.in_set = Some(texts.len());
                    texts.push(text.to_owned());
                    steps.push(at);
                    has_plain |= !test.negated;
                }
            }
            // Without a match of an expression that has to match, a rule cannot hold.
            is_open |= !has_plain;
            if is_open {
                open.push(at);
            }
        }
        if texts.len() >= SET_MIN {
            let built = RegexSetBuilder::new(&texts)
                .size_limit(PROGRAM_BYTES_MAX)
                .dfa_size_limit(STATES_BYTES_MAX)
                .build();
            // Too large a set is tried one by one.
            self.set = built.ok().map(|automaton| Set { automaton, steps, open });
        }
    }

    fn first(&self, key: &str, set: Option<&Set>) -> Found {
        // Where `$` may match before a last line end, the automaton's `\z` does not.
        match set.filter(|_| !key.ends_with('\n')) {
            Some(set) => self.first_by_set(key, set),
            None => {
                let mut at = 0;
                while at < self.steps.len() {
                    match self.step(at, key, None)? {
                        Next::At(next) => at = next,
                        Next::Answer(value) => return Ok(Some(value)),
                    }
                }
                Ok(None)
            }
        }
    }

    /// As one by one, but steps that cannot hold are passed by: most keys match nothing.
    fn first_by_set(&self, key: &str, set: &Set) -> Found {
        if !set.automaton.is_match(key.as_bytes()) {
            return self.first_of(key, &[], set.open.iter().copied());
        }
        let matches = set.automaton.matches(key.as_bytes());
        let mut matched: Vec<usize> = matches.iter().collect();
        matched.sort_unstable();
        let mut candidates: Vec<usize> = matched.iter().map(|&index| set.steps[index]).collect();
        candidates.extend(&set.open);
        candidates.sort_unstable();
        candidates.dedup();
        self.first_of(key, &matched, candidates.into_iter())
    }

    /// `matched` are the expressions of the automaton that match, in order.
    fn first_of(&self, key: &str, matched: &[usize], candidates: impl Iterator<Item = usize>) -> Found {
        let mut from = 0;
        for at in candidates {
            if at < from {
                continue;
            }
            match self.step(at, key, Some(matched))? {
                Next::At(next) => from = next,
                Next::Answer(value) => return Ok(Some(value)),
            }
        }
        Ok(None)
    }

    fn step(&self, at: usize, key: &str, matched: Option<&[usize]>) -> Result<Next, LookupTrouble> {
        let holds = |test: &rules::Test| {
            let is_match = match (matched, test.in_set) {
                (Some(matched), Some(index)) => matched.binary_search(&index).is_ok(),
                _ => test.matcher.is_match(key).map_err(|reason| trouble(&self.spec, reason))?,
            };
            Ok(is_match != test.negated)
        };
        match &self.steps[at] {
            Step::If { test, otherwise } => Ok(Next::At(if holds(test)? { at + 1 } else { *otherwise })),
            Step::Rule(Rule { test, and, template }) => {
                if holds(test)? && and.as_ref().map_or(Ok(true), holds)? {
                    return self.result(&test.matcher, template, key).map(Next::Answer);
                }
                Ok(Next::At(at + 1))
            }
        }
    }

    fn result(&self, matcher: &Matcher, template: &Template, key: &str) -> Result<Box<str>, LookupTrouble> {
        if let Some(text) = template.plain() {
            return Ok(text.into());
        }
        let groups = matcher.groups(key).map_err(|reason| trouble(&self.spec, reason))?;
        Ok(template.filled(key, &groups).into())
    }
}

/// What follows a step.
enum Next {
    /// Go on here.
    At(usize),
    /// The table's answer.
    Answer(Box<str>),
}

impl Table for Patterns {
    fn find(&self, key: &str) -> Found {
        self.first(key, self.set.as_ref())
    }
}

#[cfg(test)]
mod tests;
