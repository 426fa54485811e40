//! configuration: finds and reads the files that `-c` or `MAIL_CONFIG` names.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use ringpost_core::config::{Config, Source, Sources, names};
use ringpost_shards::failure::{EX_CONFIG, Failure};

use crate::host;

/// A main.cf larger than this is no configuration.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Which configuration to use.
#[derive(Args, Clone, Debug)]
pub struct ConfigurationArguments {
    /// Directory with main.cf and, if wanted, master.cf; without it the built-in configuration
    #[arg(short = 'c', long = "config-dir", value_name = "DIR", env = "MAIL_CONFIG")]
    directory: Option<PathBuf>,
    /// A parameter that wins over main.cf; may be given several times
    #[arg(short = 'o', value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    match name.trim() {
        "" => Err("expected name=value".to_owned()),
        name => Ok((name.to_owned(), value.trim().to_owned())),
    }
}

impl ConfigurationArguments {
    /// The configuration of a directory, or of the one that `MAIL_CONFIG` names, or the built-in one.
    pub fn of(directory: Option<PathBuf>) -> ConfigurationArguments {
        let directory = directory.or_else(|| std::env::var_os("MAIL_CONFIG").map(PathBuf::from));
        ConfigurationArguments { directory, settings: Vec::new() }
    }

    /// Where the configuration comes from, for the log.
    pub fn origin(&self) -> String {
        self.directory.as_ref().map_or("(built in)".to_owned(), |directory| directory.display().to_string())
    }

    /// The queue directory, also of a configuration that is wrong in other places: the engine has one that was right.
    pub fn queue_directory(&self) -> Result<PathBuf, Failure> {
        let name = names::QUEUE_DIRECTORY;
        let wrong = match self.load() {
            Ok(config) => return Ok(config.view().text(name).into()),
            Err(failure) => failure,
        };
        let main = self.directory.as_deref().map(|directory| directory.join("main.cf"));
        let text = match &main {
            Some(path) => read(path).map_err(|_| wrong)?,
            None => return Err(wrong),
        };
        let source = Source { name: "main.cf", text: &text };
        let config = Config::as_far_as_sound(&source, &self.settings, &host::facts());
        let directory = config.view().expanded(name.as_str());
        directory.map(PathBuf::from).map_err(|reason| Failure::config(format!("queue_directory: {reason}")))
    }

    /// Reads and checks the configuration.
    pub fn load(&self) -> Result<Config, Failure> {
        let files = self.directory.as_deref().map(Files::read).transpose()?;
        let main = files.as_ref().map(|files| Source { name: &files.main_name, text: &files.main });
        let master = files
            .as_ref()
            .and_then(|files| files.master.as_ref().map(|text| Source { name: &files.master_name, text }));
        let host = host::facts();
        let load = |path: &str| read(Path::new(path)).map_err(|error| error.to_string()).and_then(text_of);
        let sources = Sources { main, master, overrides: &self.settings, host: &host, load: &load };
        Config::load(sources).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::config(lines.join("\n"))
        })
    }
}

struct Files {
    main_name: String,
    main: Vec<u8>,
    master_name: String,
    master: Option<Vec<u8>>,
}

impl Files {
    fn read(directory: &Path) -> Result<Files, Failure> {
        let (main, master) = (directory.join("main.cf"), directory.join("master.cf"));
        let fail = |path: &Path, error: std::io::Error| {
            Failure::new(EX_CONFIG, format!("cannot read {}: {error}", path.display()))
        };
        let main_text = read(&main).map_err(|error| fail(&main, error))?;
        let master_text = match read(&master) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail(&master, error)),
        };
        Ok(Files {
            main_name: main.display().to_string(),
            main: main_text,
            master_name: master.display().to_string(),
            master: master_text,
        })
    }
}

/// The bytes of a file of a configuration; one that is too large is an error.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is too large"));
    }
    fs::read(path)
}

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())
}
