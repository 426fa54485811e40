//! The elements of a list of patterns (`mynetworks`, `relay_domains` and their kind): what is negated, files whose content
//! stands in the list, lookup tables.

use crate::lookup::{LookupTrouble, TableId, TableSpec, TableType, Tables};

/// Files within files within a list: no deeper than this.
pub const INCLUDE_DEPTH_MAX: usize = 8;
/// The most patterns that a list may hold, files included; a list is walked for every client.
pub const PATTERNS_MAX: usize = 100_000;

/// Gives a table that a list names its id, or says why it cannot be served there.
pub type TableIds<'a> = &'a dyn Fn(TableSpec) -> Result<TableId, String>;

/// A lookup table as an element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListTable {
    pub(crate) id: TableId,
    /// It wants whole keys only.
    pub(crate) is_pattern: bool,
    /// Its place among the elements.
    pub(crate) rank: u32,
    /// What a match means: `!type:name` is no member.
    pub(crate) member: bool,
}

impl ListTable {
    /// Whether the table has a name, or one of its parent domains: those without the dot before them with
    /// `parents == Some(true)`, with it with `Some(false)`, none of them with `None`.
    ///
    /// # Errors
    /// The table cannot be asked.
    pub(crate) async fn has(
        &self,
        tables: &impl Tables,
        name: &str,
        parents: Option<bool>,
    ) -> Result<bool, LookupTrouble> {
        let parents = parents.filter(|_| !self.is_pattern);
        let mut key = name;
        loop {
            if tables.lookup(self.id, key).await?.is_some() {
                return Ok(true);
            }
            match (parents, key.get(1..).and_then(|rest| rest.find('.'))) {
                (Some(bare), Some(dot)) => key = &key[dot + 1 + usize::from(bare)..],
                _ => return Ok(false),
            }
        }
    }
}

/// An element; files have been read.
pub(crate) enum Element<'a> {
    /// `type:name`.
    Table(ListTable),
    /// Anything else.
    Pattern {
        /// As written.
        written: &'a str,
        /// Without what negates it.
        pattern: &'a str,
        /// Its place among the elements.
        rank: u32,
        /// What a match means.
        member: bool,
    },
}

/// Reads a list; `load` gives the text of an included file.
///
/// # Errors
/// What is wrong with which element, in one sentence; what `each` says.
pub(crate) fn each_element(
    text: &str,
    load: &dyn Fn(&str) -> Result<String, String>,
    ids: TableIds<'_>,
    mut each: impl FnMut(Element<'_>) -> Result<(), String>,
) -> Result<(), String> {
    Reader { load, ids, next_rank: 0, each: &mut each }.read(text, true, 0)
}

struct Reader<'a> {
    load: &'a dyn Fn(&str) -> Result<String, String>,
    ids: TableIds<'a>,
    next_rank: u32,
    each: &'a mut dyn FnMut(Element<'_>) -> Result<(), String>,
}

impl Reader<'_> {
    fn read(&mut self, text: &str, member: bool, depth: usize) -> Result<(), String> {
        for written in crate::config::split_list(text) {
            let negations = written.bytes().take_while(|&byte| byte == b'!').count();
            let pattern = &written[negations..];
            let member = member == (negations % 2 == 0);
            if pattern.starts_with('/') {
                if depth == INCLUDE_DEPTH_MAX {
                    return Err(format!("{pattern}: files include files more than {INCLUDE_DEPTH_MAX} deep"));
                }
                let content = (self.load)(pattern).map_err(|reason| format!("{pattern}: {reason}"))?;
                self.read(&without_comments(&content), member, depth + 1)
                    .map_err(|reason| format!("in {pattern}: {reason}"))?;
                continue;
            }
            let rank = self.next_rank;
            self.next_rank += 1;
            let is_table = pattern.split_once(':').is_some_and(|(kind, _)| is_table_type(kind));
            (self.each)(match is_table && !pattern.starts_with('[') {
                true => {
                    let spec = TableSpec::parse(pattern, TableType::Hash)?;
                    let is_pattern = spec.is_pattern();
                    Element::Table(ListTable { id: (self.ids)(spec)?, is_pattern, rank, member })
                }
                false => Element::Pattern { written, pattern, rank, member },
            })?;
        }
        Ok(())
    }
}

/// An included file's text without its comment lines.
fn without_comments(content: &str) -> String {
    let kept = content.lines().filter(|line| !line.trim_start().starts_with('#'));
    kept.collect::<Vec<_>>().join("\n")
}

/// Whether a name before a colon is that of a kind of lookup table rather than the beginning of an IPv6 address.
fn is_table_type(text: &str) -> bool {
    text.bytes().any(|byte| !byte.is_ascii_hexdigit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        || text == "cdb"
}
