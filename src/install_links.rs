//! `ringpost install-links`: makes the names under which Postfix's commands are called.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringpost_shards::failure::{EX_CANTCREAT, Failure};

use crate::queue_command::Options;
use crate::{EX_USAGE, NAMED_COMMANDS};

/// How it is called.
pub const USAGE: &str = "ringpost install-links directory";

/// Makes a symbolic link to this program for each command. A link that is there is replaced, a file is not.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let usage = |_| Failure::new(EX_USAGE, format!("usage: {USAGE}"));
    let options = Options::read(words, "", "", "").map_err(usage)?;
    let [directory] = &options.words[..] else { return Err(usage(Failure::software(""))) };
    let program = std::env::current_exe().map_err(|error| Failure::os("cannot find this program", error))?;
    for command in NAMED_COMMANDS.iter().filter(|command| command.linked) {
        let link = Path::new(directory).join(command.name);
        place(&program, &link).map_err(|error| {
            Failure::new(EX_CANTCREAT, format!("cannot make {}: {error}", link.display()))
        })?;
    }
    Ok(())
}

fn place(program: &Path, link: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(there) if there.file_type().is_symlink() => std::fs::remove_file(link)?,
        _ => {}
    }
    symlink(program, link)
}
