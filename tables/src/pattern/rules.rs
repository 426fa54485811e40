//! The file of a table of patterns.
//!
//! ```text
//! /pattern/flags text     !/pattern/flags text     /pattern/flags!/other/flags text
//! if /pattern/flags       if !/pattern/flags       endif
//! ```
//! Any character may stand for the slashes. A rule that cannot be read is told and left out.

use super::matcher::Matcher;
use super::{Dialect, perl, posix};
use crate::notes::Notes;
use crate::text::{LogicalLines, is_space, trim};

/// One thing to be tried.
#[derive(Debug)]
pub(super) enum Step {
    /// Go on if it holds, else at `otherwise`.
    If { test: Test, otherwise: usize },
    /// If it holds, this is the answer.
    Rule(Rule),
}

/// A rule with a result.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) test: Test,
    /// Must hold, too.
    pub(super) and: Option<Test>,
    pub(super) template: Template,
}

/// An expression that must match, or must not.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) matcher: Matcher,
    pub(super) negated: bool,
    /// Its place in the common automaton.
    pub(super) in_set: Option<usize>,
}

impl Step {
    pub(super) fn tests_mut(&mut self) -> impl Iterator<Item = &mut Test> {
        let (first, second) = match self {
            Step::If { test, .. } => (test, None),
            Step::Rule(Rule { test, and, .. }) => (test, and.as_mut()),
        };
        std::iter::once(first).chain(second)
    }
}

/// A result, with the places of groups.
#[derive(Debug, Default)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Template {
    /// The text if no group is in it.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with its groups; one that took part in no match is empty.
    pub(super) fn filled(&self, key: &str, groups: &[Option<(usize, usize)>]) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Group(number) => {
                    if let Some((start, end)) = groups.get(*number).copied().flatten() {
                        text.push_str(&String::from_utf8_lossy(&key.as_bytes()[start..end]));
                    }
                }
            }
        }
        text
    }

    fn groups_max(&self) -> Option<usize> {
        let numbers = self.0.iter().map(|piece| match piece {
            Piece::Group(number) => *number,
            Piece::Text(_) => 0,
        });
        numbers.max().filter(|number| *number > 0)
    }

    /// Reads a replacement text: `$1`, `${1}`, `$(1)`, `$$`.
    fn read(text: &str, dialect: Dialect) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            plain.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            let (name, after) = match rest.chars().next() {
                Some('$') => {
                    plain.push('$');
                    rest = &rest[1..];
                    continue;
                }
                Some(open @ ('{' | '(')) => {
                    let close = if open == '{' { '}' } else { ')' };
                    rest[1..]
                        .split_once(close)
                        .ok_or_else(|| format!("truncated macro reference: \"${rest}\""))?
                }
                _ => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()))
                }
            };
            rest = after;
            if name.is_empty() {
                return Err(format!("empty macro name: \"${rest}\""));
            }
            let number: usize =
                name.parse().map_err(|_| format!("non-numeric replacement index \"{name}\""))?;
            if number < 1 {
                let words = if dialect == Dialect::Posix { "out-of-range" } else { "out of range" };
                return Err(format!("{words} replacement index \"{name}\""));
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Group(number));
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }
}

/// `if` within `if` beyond this is refused; a generated file might ask for a million.
const NESTING_MAX: usize = 1000;

/// Reads all rules.
pub(super) fn read(name: &str, dialect: Dialect, text: &[u8], notes: &Notes) -> Vec<Step> {
    let mut steps = Vec::new();
    // The places of open `if`s, and the lines that they stand in.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let warn = |line: usize, text: &str| {
        notes.warn(format!("{} map {name}, line {line}: {text}", dialect.word()));
    };
    for line in LogicalLines::of(text) {
        let text = match line.text() {
            Ok(text) => text,
            Err(reason) => {
                warn(line.first, &reason);
                continue;
            }
        };
        let say = |text: &str| warn(line.first, text);
        match read_line(dialect, text, &say) {
            Ok(Line::Rule(rule)) => steps.push(Step::Rule(rule)),
            Ok(Line::If(test)) if open.len() < NESTING_MAX => {
                open.push((steps.len(), line.first));
                steps.push(Step::If { test, otherwise: 0 });
            }
            Ok(Line::If(_)) => say("too many IF statements within each other: skipping this rule"),
            Ok(Line::Endif) => match open.pop() {
                Some((at, _)) => close(&mut steps, at),
                None => say("ignoring ENDIF without matching IF"),
            },
            Err(reason) => say(&reason),
        }
    }
    while let Some((at, line)) = open.pop() {
        notes.warn(format!("{} map {name}, line {line}: IF has no matching ENDIF", dialect.word()));
        close(&mut steps, at);
    }
    steps
}

fn close(steps: &mut [Step], at: usize) {
    let end = steps.len();
    if let Step::If { otherwise, .. } = &mut steps[at] {
        *otherwise = end;
    }
}

enum Line {
    Rule(Rule),
    If(Test),
    Endif,
}

fn keyword<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let head = line.get(..word.len())?;
    let rest = &line[word.len()..];
    let ends = rest.bytes().next().is_none_or(|byte| !byte.is_ascii_alphanumeric());
    (head.eq_ignore_ascii_case(word) && ends).then_some(rest)
}

fn read_line(dialect: Dialect, line: &str, say: &dyn Fn(&str)) -> Result<Line, String> {
    let line = trimmed(line);
    if !line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return read_rule(dialect, line, say).map(Line::Rule);
    }
    if let Some(rest) = keyword(line, "if") {
        let (test, _, rest) = read_test(dialect, trimmed(rest))?;
        let extra = trimmed(rest);
        if !extra.is_empty() {
            say(&format!("ignoring extra text after IF statement: \"{extra}\""));
            say("do not prepend whitespace to statements between IF and ENDIF");
        }
        return Ok(Line::If(test));
    }
    if let Some(rest) = keyword(line, "endif") {
        if !trimmed(rest).is_empty() {
            say("ignoring extra text after ENDIF");
        }
        return Ok(Line::Endif);
    }
    Err("ignoring unrecognized request".to_owned())
}

fn trimmed(text: &str) -> &str {
    std::str::from_utf8(trim(text.as_bytes())).expect("white space does not cut a character")
}

fn read_rule(dialect: Dialect, line: &str, say: &dyn Fn(&str)) -> Result<Rule, String> {
    let (test, groups, rest) = read_test(dialect, line)?;
    let (and, rest) = match rest.starts_with('!') && dialect == Dialect::Posix {
        true => {
            let (and, _, rest) = read_test(dialect, rest)?;
            (Some(and), rest)
        }
        false => (None, rest),
    };
    if rest.bytes().next().is_some_and(|byte| !is_space(byte)) {
        let option = rest.chars().next().unwrap_or_default();
        return Err(format!("unknown regexp option \"{option}\": skipping this rule"));
    }
    let text = trimmed(rest);
    if text.is_empty() {
        say("no replacement text: using empty string");
    }
    let template = Template::read(text, dialect).map_err(|reason| {
        // Said by Postfix without a place; ours has one.
        say(&reason);
        "bad replacement syntax: skipping this rule"
    })?;
    if let Some(number) = template.groups_max() {
        if test.negated {
            return Err("$number found in negative match replacement text: skipping this rule".to_owned());
        }
        if number > groups {
            return Err(format!("out of range replacement index \"{number}\": skipping this rule"));
        }
    }
    Ok(Rule { test, and, template })
}

/// Reads `!/pattern/flags` (any number of `!`): the expression, its number of groups, what follows.
fn read_test(dialect: Dialect, text: &str) -> Result<(Test, usize, &str), String> {
    let mut negated = false;
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('!') {
        negated = !negated;
        rest = trimmed_start(after);
    }
    let mut characters = rest.char_indices();
    let Some((_, delimiter)) = characters.next() else {
        return Err("no regexp: skipping this rule".to_owned());
    };
    let start = delimiter.len_utf8();
    let mut end = None;
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == delimiter {
            end = Some(at);
            break;
        }
    }
    let end = end.ok_or_else(|| {
        let verb = if dialect == Dialect::Posix { "skipping" } else { "ignoring" };
        format!("no closing regexp delimiter \"{delimiter}\": {verb} this rule")
    })?;
    let (pattern, after) = (&rest[start..end], &rest[end + start..]);
    let ends = |c: char| c.is_ascii() && is_space(c as u8) || (c == '!' && dialect == Dialect::Posix);
    let flags_end = after.find(ends).unwrap_or(after.len());
    let flags = &after[..flags_end];
    let matcher = match dialect {
        Dialect::Posix => posix::matcher(pattern, flags),
        Dialect::Perl => perl::matcher(pattern, flags),
    }?;
    let groups = matcher.group_count();
    Ok((Test { matcher, negated, in_set: None }, groups, &after[flags_end..]))
}

fn trimmed_start(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii() && is_space(c as u8))
}
