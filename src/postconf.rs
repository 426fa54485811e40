//! `postconf`: shows and changes `main.cf` and `master.cf`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ringpost_core::config::postconf::{
    Action, FileText, Files, Options, Said, Subject, Surroundings, Values, bytes_of, edit_main, edit_master,
    printable, show, text_of,
};
use ringpost_core::config::{MAIN_CF, MAIN_CF_NAME, MASTER_CF, MASTER_CF_NAME};
use ringpost_core::lookup::TableType;
use ringpost_shards::failure::Failure;

use crate::configuration::{self, ConfigurationArguments};
use crate::host;
use crate::queue_command::{FATAL, say};
use crate::replace::replace;

/// How it is called.
pub const USAGE: &str = "postconf [-dfhHnopvx] [-c config_dir] [-C class,...] [parameter ...]\n       \
postconf [-epv] [-c config_dir] parameter=value ...\n       \
postconf -#|-X [-pv] [-c config_dir] parameter ...\n       \
postconf -M|-F|-P [-fhHovxeX#] [-c config_dir] [service[/type[/field or parameter]][=value] ...]\n       \
postconf -a|-A|-b|-l|-m|-t|-T mode [-v] [-c config_dir]";

/// `postconf`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let words = words.into_iter().map(|word| text_of(word.as_bytes()));
    let options = Options::read(words).map_err(|error| {
        if let Some(complaint) = &error.complaint {
            say("postconf", &printable(complaint));
        }
        fatal(&error.fatal)
    })?;
    let mut said = Said::default();
    let outcome = perform(&options, &mut said);
    for warning in &said.warnings {
        say("postconf", &format!("warning: {}", printable(warning)));
    }
    outcome?;
    match io::stdout().lock().write_all(&bytes_of(&said.out)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(fatal(&format!("write: {error}"))),
        _ => Ok(()),
    }
}

fn fatal(text: &str) -> Failure {
    Failure::new(FATAL, printable(text))
}

fn perform(options: &Options, said: &mut Said) -> Result<(), Failure> {
    match options.subject {
        Subject::Main | Subject::Entries | Subject::Fields | Subject::Settings => {
            let directory = Directory::of(options);
            match options.action {
                Action::Show => directory.show(options, said),
                _ => directory.edit(options, said),
            }
        }
        Subject::ExpandedTemplates | Subject::Templates => templates(options, said),
        Subject::Locks => {
            said.out.push_str("flock\nfcntl\ndotlock\n");
            Ok(())
        }
        Subject::Tables => {
            let mut kinds: Vec<&str> = TableType::ALL.into_iter().map(|(word, _)| word).collect();
            kinds.sort_unstable();
            kinds.iter().for_each(|kind| said.out.extend([kind, "\n"]));
            Ok(())
        }
        // There is no SASL yet, hence no kind of it.
        Subject::Sasl => Ok(()),
        Subject::Tls => match options.tls.as_str() {
            // As of a Postfix that was built without TLS.
            "compile-version" | "run-version" | "public-key-algorithms" => Ok(()),
            mode => {
                said.warnings.push(format!("unknown 'postconf -T' mode: {mode}"));
                Err(Failure::new(FATAL, ""))
            }
        },
    }
}

/// The configuration directory; `None` for the built-in files.
struct Directory(Option<PathBuf>);

impl Directory {
    fn of(options: &Options) -> Directory {
        let given = options.directory.as_ref().map(|text| OsString::from_vec(bytes_of(text)));
        Directory(given.or_else(|| std::env::var_os("MAIL_CONFIG")).map(PathBuf::from))
    }

    fn text(&self) -> String {
        self.0.as_ref().map(|directory| text_of(directory.as_os_str().as_bytes())).unwrap_or_default()
    }

    fn show(&self, options: &Options, said: &mut Said) -> Result<(), Failure> {
        let directory = self.text();
        let file = |name: &str, built_in: (&str, &str)| match &self.0 {
            Some(path) => (format!("{directory}/{name}"), read(&path.join(name))),
            None => (built_in.0.to_owned(), Ok(built_in.1.to_owned())),
        };
        let main = match options.values {
            // Nobody asks what is in it.
            Values::Defaults => (String::new(), Ok(String::new())),
            _ => file("main.cf", (MAIN_CF_NAME, MAIN_CF)),
        };
        let master = file("master.cf", (MASTER_CF_NAME, MASTER_CF));
        let files = Files {
            directory: &directory,
            main: FileText { name: &main.0, text: borrowed(&main.1) },
            master: FileText { name: &master.0, text: borrowed(&master.1) },
        };
        let facts = host::facts();
        let load = |path: &str| read(Path::new(&OsString::from_vec(bytes_of(path))));
        let surroundings = Surroundings { host: &facts, process_id: std::process::id(), load: &load };
        show(options, files, surroundings, said).map_err(|text| fatal(&text))
    }

    fn edit(&self, options: &Options, said: &mut Said) -> Result<(), Failure> {
        let Some(directory) = &self.0 else {
            return Err(fatal(
                "the built-in configuration cannot be changed: name a directory by -c or MAIL_CONFIG",
            ));
        };
        let name = if options.subject == Subject::Main { "main.cf" } else { "master.cf" };
        let path = directory.join(name);
        let file = format!("{}/{name}", self.text());
        let change = |content: Vec<u8>| {
            let text = text_of(&content);
            let (action, words) = (options.action, &options.words);
            let new = match options.subject {
                Subject::Main => edit_main(action, words, &file, &text, said),
                subject => edit_master(subject, action, words, &file, &text, said),
            };
            new.map(|text| bytes_of(&text)).map_err(EditError::Fatal)
        };
        replace(&path, change).map_err(|error| match error {
            EditError::Fatal(text) => fatal(&text),
            EditError::File(error) if error.kind() == io::ErrorKind::NotFound => {
                fatal(&format!("open {file} for reading: {}", reason(&error)))
            }
            EditError::File(error) => fatal(&format!("cannot change {file}: {}", reason(&error))),
        })
    }
}

enum EditError {
    Fatal(String),
    File(io::Error),
}

impl From<io::Error> for EditError {
    fn from(error: io::Error) -> Self {
        EditError::File(error)
    }
}

fn borrowed(text: &Result<String, String>) -> Result<&str, &str> {
    text.as_ref().map(String::as_str).map_err(String::as_str)
}

fn read(path: &Path) -> Result<String, String> {
    configuration::read(path).map(|bytes| text_of(&bytes)).map_err(|error| reason(&error))
}

/// What the system says, without the number that Rust adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// `-b` and `-t`: the texts of notices.
fn templates(options: &Options, said: &mut Said) -> Result<(), Failure> {
    let config = ConfigurationArguments::of(Directory::of(options).0)
        .load()
        .map_err(|failure| fatal(&failure.message))?;
    let expand_names = options.subject == Subject::ExpandedTemplates;
    let file = options.words.first().map(|word| String::from_utf8(bytes_of(word)));
    let file = file.transpose().map_err(|_| fatal("the name of the file is not UTF-8"))?;
    let templates = ringpost_shards::settings::templates(&config.view(), file.as_deref(), expand_names)
        .map_err(|failure| fatal(&failure.message))?;
    let named = [
        ("failure", &templates.failure),
        ("delay", &templates.delay),
        ("success", &templates.success),
        ("verify", &templates.verify),
    ];
    for (index, (name, template)) in named.into_iter().enumerate() {
        if index > 0 {
            said.out.push('\n');
        }
        let text = match expand_names {
            true => template.listed_text(name),
            false => template.listed(name),
        };
        said.out.push_str(&text_of(text.as_bytes()));
    }
    Ok(())
}
