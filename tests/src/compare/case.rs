//! One configuration to compare, as a directory of `tests/compare/` holds it.

use std::path::{Path, PathBuf};

use crate::repository;

/// Nexthops that a configuration may name: `@SINK1@` … `@SINK4@`, each a sink with an address of its own.
pub const SINKS: usize = 4;

/// A configuration directory and the words of its dialogues.
#[derive(Debug, Clone)]
pub struct Case {
    /// The directory's name.
    pub name: String,
    /// `main.cf` with the placeholders `@DIR@` and `@SINK1@` … still in it.
    pub main_cf: String,
    /// More lines for `master.cf`; may be empty.
    pub master_cf: String,
    /// The other files: tables.
    pub files: Vec<(String, String)>,
    /// What `postmap` has to build: `type:file`, from the lines `# postmap type:file` in `main.cf`.
    pub builds: Vec<String>,
    /// The words of its dialogues.
    pub words: Words,
}

/// What dialogues are made of. In the file `words`, one a line: the kind, then the text.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// `client NAME ADDRESS`: who connects, told by XCLIENT; `[UNAVAILABLE]` for a client without name.
    pub clients: Vec<(String, String)>,
    /// `helo NAME`.
    pub helos: Vec<String>,
    /// `sender ADDRESS`; `<>` for the null sender.
    pub senders: Vec<String>,
    /// `recipient ADDRESS`.
    pub recipients: Vec<String>,
    /// `header LINE`; `\n` in it is a fold.
    pub headers: Vec<String>,
    /// `body LINE`; `\n` in it is a line's end, `body @N` is N bytes in lines of 80.
    pub bodies: Vec<String>,
    /// `command LINE`: said between transactions.
    pub commands: Vec<String>,
}

impl Case {
    /// Every case of `tests/compare/`, by name.
    ///
    /// # Panics
    /// When a directory there cannot be read.
    pub fn all() -> Vec<Case> {
        let root = repository::root().join("tests/compare");
        let mut directories: Vec<PathBuf> = std::fs::read_dir(&root)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", root.display()))
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        directories.sort();
        directories.iter().map(|directory| Case::read(directory)).collect()
    }

    fn read(directory: &Path) -> Case {
        let text = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
        };
        let main_cf = text("main.cf");
        let builds =
            main_cf.lines().filter_map(|line| line.strip_prefix("# postmap ")).map(str::to_owned).collect();
        let mut files = Vec::new();
        let mut master_cf = String::new();
        let entries = std::fs::read_dir(directory).expect("the directory was read a moment ago");
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.as_str() {
                "main.cf" | "words" => {}
                "master.cf" => master_cf = text(&name),
                _ => files.push((name.clone(), text(&name))),
            }
        }
        files.sort();
        let name = directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let words = Words::parse(&text("words")).unwrap_or_else(|wrong| panic!("{name}/words: {wrong}"));
        Case { name, main_cf, master_cf, files, builds, words }
    }
}

/// `@N` as N bytes of text, without the last line's end.
fn many_lines(word: &str) -> Option<String> {
    let bytes = word.strip_prefix('@')?.parse().ok()?;
    let line = format!("{}\r\n", "y".repeat(78));
    let mut text = line.repeat(bytes / line.len() + 1);
    text.truncate(bytes);
    Some(text)
}

impl Words {
    /// Reads the file `words`.
    ///
    /// # Errors
    /// The first line that is of no known kind.
    pub fn parse(text: &str) -> Result<Words, String> {
        let mut words = Words::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.to_owned();
            match kind {
                "client" => {
                    let (name, address) =
                        rest.split_once(' ').ok_or_else(|| format!("no address: {line}"))?;
                    words.clients.push((name.to_owned(), address.to_owned()));
                }
                "helo" => words.helos.push(rest),
                "sender" => words.senders.push(rest),
                "recipient" => words.recipients.push(rest),
                "header" => words.headers.push(rest.replace("\\n", "\r\n")),
                "body" => words.bodies.push(many_lines(&rest).unwrap_or_else(|| rest.replace("\\n", "\r\n"))),
                "command" => words.commands.push(rest),
                _ => return Err(format!("not known: {line}")),
            }
        }
        Ok(words)
    }
}
