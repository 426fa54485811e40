//! Debian's Postfix as it lies unpacked in the peers' directory, run privately: program files where they are;
//! configuration, queue, data and log below one directory. Nothing of it is installed.
//!
//! It wants to start as root and to have its two accounts (`postfix`, `postdrop`).

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories of the queue that only Postfix's own user sees.
const QUEUES: [&str; 11] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "saved", "trace",
    "private",
];

/// A private Postfix: its files, not yet running.
#[derive(Debug, Clone)]
pub struct PrivatePostfix {
    libraries: PathBuf,
    library_path: String,
    programs: PathBuf,
    directory: PathBuf,
}

impl PrivatePostfix {
    /// Of the Postfix unpacked below `peers`, with its files below `directory`. Its user must be able to reach both.
    pub fn new(peers: &Path, directory: &Path) -> PrivatePostfix {
        let tree = peers.join("tree");
        let libraries = tree.join("usr/lib/postfix");
        let machine = std::env::consts::ARCH;
        let library_path = format!("{}:{}/usr/lib/{machine}-linux-gnu", libraries.display(), tree.display());
        PrivatePostfix {
            libraries,
            library_path,
            programs: tree.join("usr/sbin"),
            directory: directory.to_path_buf(),
        }
    }

    /// The configuration directory.
    pub fn configuration(&self) -> PathBuf {
        self.directory.join("etc")
    }

    /// The queue directory.
    pub fn queue(&self) -> PathBuf {
        self.directory.join("spool")
    }

    /// Lines of `main.cf` that it needs besides what is compared.
    pub fn main_cf(&self) -> Vec<String> {
        vec![
            format!("queue_directory = {}", self.queue().display()),
            format!("data_directory = {}", self.directory.join("data").display()),
            format!("command_directory = {}", self.programs.display()),
            format!("daemon_directory = {}", self.libraries.join("sbin").display()),
            format!("shlib_directory = {}", self.libraries.display()),
            format!("meta_directory = {}", self.configuration().display()),
            "mail_owner = postfix".to_owned(),
            "setgid_group = postdrop".to_owned(),
            // Its master clears the environment; its daemons need this to find their libraries where they lie.
            format!("import_environment = MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH={}", self.library_path),
        ]
    }

    /// Makes its directories and writes its two files.
    ///
    /// # Errors
    /// When they cannot be made, or this system has no account of it.
    pub fn prepare(&self, main_cf: &str, master_cf: &str) -> io::Result<()> {
        let configuration = self.configuration();
        fs::create_dir_all(&configuration)?;
        fs::write(configuration.join("main.cf"), main_cf)?;
        fs::write(configuration.join("master.cf"), master_cf)?;
        let (owner, group) = (account("/etc/passwd", "postfix")?, account("/etc/group", "postdrop")?);
        let queue = self.queue();
        make_directory(&self.directory.join("data"), 0o755, Some(owner), None)?;
        make_directory(&queue, 0o755, None, None)?;
        for name in QUEUES {
            make_directory(&queue.join(name), 0o700, Some(owner), None)?;
        }
        make_directory(&queue.join("maildrop"), 0o1730, Some(owner), Some(group))?;
        make_directory(&queue.join("public"), 0o2710, Some(owner), Some(group))?;
        make_directory(&queue.join("pid"), 0o755, None, None)
    }

    /// The command that runs it in the foreground.
    pub fn master(&self) -> Command {
        let mut command = Command::new(self.libraries.join("sbin/master"));
        // "-d": stays in the foreground.
        command.arg("-c").arg(self.configuration()).arg("-d").env("LD_LIBRARY_PATH", &self.library_path);
        command
    }

    /// One of its programs (`postmap`, `postconf` …), on this configuration.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("LD_LIBRARY_PATH", &self.library_path).env("MAIL_CONFIG", self.configuration());
        command
    }
}

fn make_directory(path: &Path, mode: u32, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    chown(path, owner, group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The number in the third field of the line for `name`.
fn account(file: &str, name: &str) -> io::Result<u32> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let number = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    number
        .ok_or_else(|| io::Error::other(format!("no {name} in {file}: the scripts that run Postfix make it")))
}
