//! `service/type/field`: which entries of `master.cf` are meant.

use super::entry::FIELDS;
use super::options::Subject;
use super::said::{Fatal, printable};

/// `*` stands for anything.
const ANY: &str = "*";

/// The parts of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<String>,
}

impl Pattern {
    /// The parts of `word`; none if one of them has a `*` that does not stand alone.
    fn parse(word: &str) -> Option<Pattern> {
        let parts: Vec<String> = word.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let sound = parts.iter().all(|part| part == ANY || !part.contains('*'));
        sound.then_some(Pattern { parts })
    }

    /// What is to be shown; parts at the end may be left out.
    pub fn shown(subject: Subject, word: &str) -> Result<Pattern, Fatal> {
        let (max, usage) = match subject {
            Subject::Entries => (2, "-M option requires service_name[/type]"),
            Subject::Fields => (3, "-F option requires service_name[/type[/field]]"),
            _ => (3, "-P option requires service_name[/type[/parameter]]"),
        };
        let pattern = Pattern::parse(word).filter(|pattern| (1..=max).contains(&pattern.parts.len()));
        let pattern = pattern.ok_or(usage)?;
        if subject == Subject::Fields
            && let Some(field) = pattern.third()
        {
            field_index(field)?;
        }
        Ok(pattern)
    }

    /// What is to be changed; nothing may be left out.
    pub fn edited(subject: Subject, word: &str) -> Result<Pattern, Fatal> {
        let (count, usage) = match subject {
            Subject::Entries => (2, "-Me, -MX or -M# requires service_name/type"),
            Subject::Fields => (3, "-Fe or -FX requires service_name/type/field_name"),
            _ => (3, "-Pe or -PX requires service_name/type/parameter"),
        };
        let pattern = Pattern::parse(word).filter(|pattern| pattern.parts.len() == count);
        let pattern = pattern.ok_or(usage)?;
        match (subject, pattern.parts.get(2).map(String::as_str)) {
            (Subject::Fields, Some(ANY)) => Err("-Fe does not accept wild-card field name".into()),
            (Subject::Settings, Some(ANY)) => Err("-Pe does not accept wild-card parameter name".into()),
            (Subject::Fields, Some(field)) => field_index(field).map(|_| pattern),
            _ => Ok(pattern),
        }
    }

    /// Whether an entry is meant.
    pub fn matches(&self, name: &str, kind: &str) -> bool {
        let means =
            |index: usize, text: &str| self.parts.get(index).is_none_or(|part| part == ANY || part == text);
        means(0, name) && means(1, kind)
    }

    /// The field or parameter; `None` for all.
    pub fn third(&self) -> Option<&str> {
        self.parts.get(2).map(String::as_str).filter(|part| *part != ANY)
    }
}

/// The place of a field by its name.
pub(super) fn field_index(field: &str) -> Result<usize, Fatal> {
    let index = FIELDS.iter().position(|name| *name == field);
    index.ok_or_else(|| format!("invalid service attribute name: \"{}\"", printable(field)))
}
