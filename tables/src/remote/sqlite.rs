//! `sqlite:/file.cf`: a database in a file.
//!
//! Owns:     the database, opened for reading only; opened anew when another file has its name.
//! Limits:   the time limit of all lookups, also while a writer has locked the file. On failure: trouble, and the file
//!           is opened anew. Standards: Postfix's sqlite_table(5).

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::lookup::{Found, TableSpec};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::source::{Frame, Settings, Values};
use super::sql::{Query, double_apostrophes};
use super::wire::Deadline;
use super::{Backend, Connector};
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::trouble;

const SETTINGS: &[&str] = &["dbpath"];
/// Readers of one file; more would wait for the same disk.
const READERS_MAX: usize = 4;
/// How many steps of SQLite's machine pass between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

struct Config {
    spec: TableSpec,
    path: String,
    query: Query,
    limit: Duration,
}

struct Sqlite {
    config: Arc<Config>,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    /// Device and number of the file.
    file: (u64, u64),
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Connector, String> {
    let settings = Settings::read(spec, &[SETTINGS, Query::SETTINGS, Frame::SETTINGS], &[], notes)?;
    let path = settings.text("dbpath").ok_or_else(|| settings.wrong("dbpath", "a file"))?;
    let query = Query::of(&settings, options)?;
    let config =
        Arc::new(Config { spec: spec.clone(), path: path.to_owned(), query, limit: options.time_limit });
    Ok(Connector::of(READERS_MAX, move || Sqlite { config: config.clone(), open: None }))
}

impl Backend for Sqlite {
    fn lookup(&mut self, key: &str) -> Found {
        let config = self.config.clone();
        let found = config.query.find(key, |make, values| match make(double_apostrophes) {
            Some(query) => self.run(&config, &query, values),
            None => Ok(()),
        });
        found.map_err(|reason| {
            self.open = None;
            trouble(&config.spec, reason)
        })
    }
}

impl Sqlite {
    fn run(&mut self, config: &Config, query: &str, values: &mut Values<'_>) -> Result<(), String> {
        let deadline = Deadline::after(config.limit);
        let file = std::fs::metadata(&config.path)
            .map_err(|error| format!("{}: {}", config.path, super::wire::words(&error)))?;
        let file = (file.dev(), file.ino());
        let open = match self.open.take().filter(|open| open.file == file) {
            Some(open) => self.open.insert(open),
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&config.path, flags).map_err(words)?;
                self.open.insert(Open { connection, file })
            }
        };
        let connection = &mut open.connection;
        connection.busy_timeout(config.limit).map_err(words)?;
        connection
            .progress_handler(STEPS_BETWEEN_LOOKS, Some(move || !deadline.is_ahead()))
            .map_err(words)?;
        let mut statement = connection.prepare(query).map_err(words)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(words)? {
            for column in 0..columns {
                match row.get_ref(column).map_err(words)? {
                    ValueRef::Null => {}
                    ValueRef::Integer(number) => values.take(&number.to_string())?,
                    ValueRef::Real(number) => values.take(&number.to_string())?,
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        values.take(&super::source::text_of(bytes.to_vec())?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn words(error: rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => "the time limit is over".to_owned(),
        // The statement, which other variants tell, has the key in it.
        _ => match error {
            rusqlite::Error::SqliteFailure(code, text) => text.unwrap_or_else(|| code.to_string()),
            rusqlite::Error::SqlInputError { msg, .. } => msg,
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::Scratch;
    use ringpost_core::lookup::TableType;

    fn database(content: &str) -> Scratch {
        let file = Scratch::path("lookup.db");
        Connection::open(file.name()).unwrap().execute_batch(content).unwrap();
        file
    }

    fn table(database: &str, more: &str, limit: Duration) -> Result<Box<dyn Backend>, String> {
        let file = Scratch::file("sqlite.cf", &format!("dbpath = {database}\n{more}"));
        let options = TableOptions { time_limit: limit, ..TableOptions::default() };
        Ok((open(&file.spec(TableType::Sqlite), &options, &Notes::default())?.connect)())
    }

    const LONG: Duration = Duration::from_secs(20);
    const ALIASES: &str = "CREATE TABLE alias (name TEXT, value, more);
        INSERT INTO alias VALUES ('a@b.test', 'one@b.test', 'two@b.test'), ('a@b.test', 3, NULL),
            ('o''hara@b.test', 'irish@b.test', ''), ('nul@b.test', x'610062', NULL), ('bad@b.test', x'fffe', NULL);";
    const QUERY: &str = "query = SELECT value, more FROM alias WHERE name = '%s'\n";

    #[test]
    fn all_columns_of_all_rows_are_the_value() {
        let database = database(ALIASES);
        let mut table = table(database.name(), QUERY, LONG).unwrap();
        assert_eq!(table.lookup("A@b.test").unwrap().as_deref(), Some("one@b.test,two@b.test,3"));
        assert_eq!(table.lookup("none@b.test"), Ok(None));
        assert_eq!(table.lookup("o'hara@b.test").unwrap().as_deref(), Some("irish@b.test"));
        assert!(table.lookup("nul@b.test").is_err());
        assert!(table.lookup("bad@b.test").is_err());
    }

    #[test]
    fn a_key_is_never_a_statement() {
        let database = database(ALIASES);
        let mut table = table(database.name(), QUERY, LONG).unwrap();
        for key in [
            "x' OR '1'='1",
            "x'; DROP TABLE alias; --",
            "x' UNION SELECT 'evil', 'evil",
            "\\' OR 1=1 --",
            "x'' OR 1=1 --",
            "%' OR 1=1 --",
        ] {
            assert_eq!(table.lookup(key), Ok(None), "{key}");
        }
        assert!(table.lookup("a@b.test").unwrap().is_some());
    }

    #[test]
    fn nothing_is_ever_written() {
        let database = database(ALIASES);
        let mut table = table(database.name(), "query = DELETE FROM alias RETURNING name\n", LONG).unwrap();
        assert!(table.lookup("k").unwrap_err().reason.contains("readonly"));
    }

    #[test]
    fn a_database_that_is_absent_broken_or_slow_is_trouble_and_may_come_back() {
        let absent = Scratch::path("absent.db");
        let mut table = table(absent.name(), QUERY, LONG).unwrap();
        assert!(table.lookup("a@b.test").unwrap_err().reason.contains("No such file"));
        std::fs::write(absent.name(), [b'x'; 5000]).unwrap();
        assert!(table.lookup("a@b.test").is_err());
        std::fs::remove_file(absent.name()).unwrap();
        Connection::open(absent.name()).unwrap().execute_batch(ALIASES).unwrap();
        assert!(table.lookup("a@b.test").unwrap().is_some());
        let other = database(
            "CREATE TABLE alias (name, value, more); INSERT INTO alias VALUES ('a@b.test', 'new', '');",
        );
        std::fs::rename(other.name(), absent.name()).unwrap();
        assert_eq!(table.lookup("a@b.test").unwrap().as_deref(), Some("new"));
    }

    #[test]
    fn a_query_without_end_is_ended() {
        let database = database(ALIASES);
        let endless = "query = WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c WHERE x < 0\n";
        let mut slow = table(database.name(), endless, Duration::from_millis(200)).unwrap();
        assert!(slow.lookup("k").unwrap_err().reason.contains("time limit"));
        let wide = "query = WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c\n";
        let mut wide = table(database.name(), wide, LONG).unwrap();
        assert!(wide.lookup("k").unwrap_err().reason.contains("bytes of values"));
    }

    #[test]
    fn a_file_without_what_is_needed_is_refused() {
        assert!(table("", "", LONG).is_err());
        assert!(table("/x", "query = SELECT '%q'\n", LONG).is_err());
    }
}
