//! queue_command: what the queue commands share: options, the configuration, the connection to the engine.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use ringpost_core::control::{Answer, Refusal, Request};
use ringpost_core::queue_id::QueueId;
use ringpost_shards::control::client::{Connection, ControlError};
use ringpost_shards::control::offline::OfflineQueue;
use ringpost_shards::control::view::QueueView;
use ringpost_shards::failure::{EX_CONFIG, EX_UNAVAILABLE, Failure};
use ringpost_shards::settings::QueueSettings;

use crate::configuration::ConfigurationArguments;

/// Exit code of a fatal error in Postfix's commands, but for those with codes of their own.
pub const FATAL: u8 = 1;

/// The options of one command as they were given: letters in order, each with its value if it takes one.
pub struct Options {
    /// `-c`.
    pub configuration: Option<PathBuf>,
    /// The other options; `-v` is left out, there is nothing more to be told.
    pub letters: Vec<(char, String)>,
    /// The words that are no options.
    pub words: Vec<String>,
}

impl Options {
    /// Reads `words`: `plain` are the letters without a value, `valued` those with one. A letter that is neither, and
    /// a word that is no text, end in `usage`.
    pub fn read(words: Vec<OsString>, plain: &str, valued: &str, usage: &str) -> Result<Options, Failure> {
        let fail = || Failure::new(FATAL, format!("usage: {usage}"));
        let mut options = Options { configuration: None, letters: Vec::new(), words: Vec::new() };
        let mut parser = Parser::from_args(words);
        while let Some(argument) = parser.next().map_err(|_| fail())? {
            match argument {
                Arg::Short('v') => {}
                Arg::Short('c') => options.configuration = Some(parser.value().map_err(|_| fail())?.into()),
                Arg::Short(letter) if plain.contains(letter) => {
                    options.letters.push((letter, String::new()));
                }
                Arg::Short(letter) if valued.contains(letter) => {
                    let value = parser.value().and_then(|value| value.string()).map_err(|_| fail())?;
                    options.letters.push((letter, value));
                }
                Arg::Value(word) => options.words.push(word.string().map_err(|_| fail())?),
                Arg::Short(_) | Arg::Long(_) => return Err(fail()),
            }
        }
        Ok(options)
    }

    /// Whether a letter was given.
    pub fn has(&self, letter: char) -> bool {
        self.letters.iter().any(|(given, _)| *given == letter)
    }

    /// The queue of the configuration that is meant.
    pub fn queue_settings(&self) -> Result<QueueSettings, Failure> {
        let config = ConfigurationArguments::of(self.configuration.clone()).load()?;
        Ok(QueueSettings::from_config(&config))
    }

    /// Its directory.
    pub fn queue_directory(&self) -> Result<PathBuf, Failure> {
        Ok(self.queue_settings()?.queue_directory)
    }

    /// Who changes the queue: the engine, or, while none runs, this process.
    pub fn changer(&self) -> Result<Result<QueueDoor, ControlError>, Failure> {
        let settings = self.queue_settings()?;
        Ok(match Connection::open(&settings.queue_directory) {
            Ok(connection) => Ok(QueueDoor::Engine(connection)),
            Err(ControlError::Down) => OfflineQueue::open(settings).map(QueueDoor::Changing),
            Err(error) => Err(error),
        })
    }

    /// The engine; while none runs, the queue itself for those who may read it, after a call of `down`.
    pub fn reader(&self, down: impl FnOnce()) -> Result<Result<QueueDoor, ControlError>, Failure> {
        let queue_directory = self.queue_directory()?;
        Ok(match Connection::open(&queue_directory) {
            Ok(connection) => Ok(QueueDoor::Engine(connection)),
            Err(ControlError::Down) => QueueView::open(&queue_directory).map(|view| {
                down();
                QueueDoor::Reading(view)
            }),
            Err(error) => Err(error),
        })
    }

    /// A connection to the engine of the configuration that is meant.
    pub fn connect(&self) -> Result<Result<Connection, ControlError>, Failure> {
        Ok(Connection::open(&self.queue_directory()?))
    }
}

/// Who answers for the queue.
pub enum QueueDoor {
    /// The engine.
    Engine(Connection),
    /// None runs: this process reads the files.
    Reading(QueueView),
    /// None runs: this process has the queue.
    Changing(OfflineQueue),
}

impl QueueDoor {
    /// See [`Connection::request`].
    pub fn request(
        &mut self,
        request: &Request,
        each: impl FnMut(Answer<'_>) -> io::Result<()>,
    ) -> Result<u64, ControlError> {
        match self {
            QueueDoor::Engine(connection) => connection.request(request, each),
            QueueDoor::Reading(view) => view.request(request, each),
            QueueDoor::Changing(queue) => queue.request(request, each),
        }
    }

    /// The command is done.
    pub fn close(self) -> Result<(), ControlError> {
        match self {
            QueueDoor::Engine(_) | QueueDoor::Reading(_) => Ok(()),
            QueueDoor::Changing(queue) => queue.close(),
        }
    }
}

/// A printed queue id. Ids of other shapes name nothing here.
pub fn queue_id(text: &str) -> Option<QueueId> {
    QueueId::parse(text.as_bytes()).map(|(id, _)| id)
}

/// What a failed request means for a command whose fatal errors have the code `code`. An output that nobody reads any
/// more is no failure.
pub fn failure(error: ControlError, code: u8) -> Result<(), Failure> {
    match error {
        ControlError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        error => Err(Failure::new(code, error.to_string())),
    }
}

/// As Postfix's commands print what is not fatal.
pub fn say(name: &str, text: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{name}: {text}");
}

/// The exit code for a command of our own.
pub fn own_code(error: &ControlError) -> u8 {
    match error {
        ControlError::Refused(Refusal::NotAllowed, _) | ControlError::Denied(_) => {
            ringpost_shards::failure::EX_NOPERM
        }
        ControlError::Refused(Refusal::NotConfigured, _) => EX_CONFIG,
        _ => EX_UNAVAILABLE,
    }
}
