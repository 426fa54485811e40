//! sql: what the tables in databases have in common: the query that a key becomes.
//!
//! Receives: a `.cf` file; keys; from each kind of database how it quotes. Gives: queries; values of all columns of all
//! rows. Limits: as [`Frame`] has. Standards: Postfix's mysql_table(5), pgsql_table(5), sqlite_table(5).
//!
//! Nothing of a key gets into a query but through the quoting of the database that is asked.

use super::source::{Frame, Settings, Values};
use super::template::Template;
use crate::options::TableOptions;

/// The query of a table, and the frame around it.
#[derive(Debug)]
pub struct Query {
    template: Template,
    pub frame: Frame,
}

impl Query {
    /// The settings of [`Query::of`]; the later ones are how queries were written before Postfix 2.2.
    pub const SETTINGS: &'static [&'static str] =
        &["query", "table", "select_field", "where_field", "additional_conditions", "select_function"];

    /// As a `.cf` file says.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn of(settings: &Settings, options: &TableOptions) -> Result<Query, String> {
        let part = |name| settings.text(name).ok_or_else(|| settings.wrong("query", "a query"));
        let text = match (settings.text("query"), settings.text("select_function")) {
            (Some(query), _) => query.to_owned(),
            (None, Some(function)) => format!("SELECT {function}('%s')"),
            (None, None) => format!(
                "SELECT {} FROM {} WHERE {} = '%s' {}",
                part("select_field")?,
                part("table")?,
                part("where_field")?,
                settings.text_or("additional_conditions", "")
            ),
        };
        let template = Template::parse(&text).map_err(|reason| settings.about("query", &reason))?;
        Ok(Query { template, frame: Frame::of(settings, options)? })
    }

    /// Asks for `key`, if it is to be asked for: `run` sends the query that `quote` made, and takes the values.
    ///
    /// # Errors
    /// The database or the list of domains is in trouble, or there are too many values.
    pub fn find(
        &self,
        key: &str,
        mut run: impl FnMut(&dyn Fn(Quote) -> Option<String>, &mut Values<'_>) -> Result<(), String>,
    ) -> Result<Option<Box<str>>, String> {
        let Some(key) = self.frame.key(key)? else { return Ok(None) };
        let mut values = self.frame.values(&key);
        run(&|quote| self.template.query(&key, quote), &mut values)?;
        Ok(values.end())
    }
}

/// How a database writes a part of a key between the quotes that the query has around it.
pub type Quote = fn(&str, &mut String);

/// Apostrophes doubled: SQLite, and PostgreSQL with `standard_conforming_strings`.
pub fn double_apostrophes(part: &str, out: &mut String) {
    out.push_str(&part.replace('\'', "''"));
}

/// Apostrophes and backslashes doubled: PostgreSQL without `standard_conforming_strings`.
pub fn double_backslashes_too(part: &str, out: &mut String) {
    out.push_str(&part.replace('\\', "\\\\").replace('\'', "''"));
}

/// Backslashes before what MySQL reads specially, as `mysql_real_escape_string` sets them.
pub fn escape_by_backslash(part: &str, out: &mut String) {
    for character in part.chars() {
        match character {
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x1a' => out.push_str("\\Z"),
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notes::Notes;
    use crate::remote::scratch::Scratch;
    use ringpost_core::lookup::TableType;

    fn query(content: &str, key: &str, quote: Quote) -> Option<String> {
        let file = Scratch::file("query.cf", content);
        let known: &[&[&str]] = &[Query::SETTINGS, Frame::SETTINGS];
        let settings = Settings::read(&file.spec(TableType::Mysql), known, &[], &Notes::default()).unwrap();
        let query = Query::of(&settings, &TableOptions::default()).unwrap();
        let mut made = None;
        query
            .find(key, |make, _| {
                made = make(quote);
                Ok(())
            })
            .unwrap();
        made
    }

    #[test]
    fn keys_cannot_leave_their_quotes() {
        let content = "query = SELECT v FROM t WHERE u = '%u' AND d = '%d'\n";
        let key = "a'; drop table t; -- \\\"@x'y\\";
        let made = |quote| query(content, key, quote).unwrap();
        assert_eq!(
            made(double_apostrophes),
            "SELECT v FROM t WHERE u = 'a''; drop table t; -- \\\"' AND d = 'x''y\\'"
        );
        assert_eq!(
            made(double_backslashes_too),
            "SELECT v FROM t WHERE u = 'a''; drop table t; -- \\\\\"' AND d = 'x''y\\\\'"
        );
        assert_eq!(
            made(escape_by_backslash),
            "SELECT v FROM t WHERE u = 'a\\'; drop table t; -- \\\\\\\"' AND d = 'x\\'y\\\\'"
        );
        let mut out = String::new();
        escape_by_backslash("\0\n\r\x1a%_", &mut out);
        assert_eq!(out, "\\0\\n\\r\\Z%_");
    }

    #[test]
    fn queries_are_also_made_of_their_parts() {
        let old = "table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = AND active = 1\n";
        assert_eq!(
            query(old, "K", double_apostrophes).as_deref(),
            Some("SELECT v FROM t WHERE k = 'k' AND active = 1")
        );
        let function = "select_function = look\n";
        assert_eq!(query(function, "k", double_apostrophes).as_deref(), Some("SELECT look('k')"));
        let file = Scratch::file("query.cf", "table = t\n");
        let settings = Settings::read(&file.spec(TableType::Mysql), &[], &[], &Notes::default()).unwrap();
        assert!(Query::of(&settings, &TableOptions::default()).is_err());
    }
}
