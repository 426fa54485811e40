//! The programs that others wrote: Postfix's own test tools, swaks, Python.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::wait;

/// Finds a tool of the unpacked Postfix (`smtp-source`, `smtp-sink`), or says what to do.
///
/// # Panics
/// When the tool is missing and `RINGPOST_REQUIRE_PEERS` is set, as `make test` does.
pub fn postfix_tool(name: &str) -> Result<PathBuf, String> {
    let directory = std::env::var_os("RINGPOST_PEERS")
        .map_or_else(|| crate::scratch::target_directory().join("peers"), PathBuf::from);
    let path = directory.join("bin").join(name);
    found(path.exists().then_some(path), name)
}

/// Finds a program on the usual path.
///
/// # Panics
/// As [`postfix_tool`].
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path =
        ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().map(|directory| Path::new(directory).join(name));
    found(path.into_iter().find(|path| path.exists()), name)
}

fn found(path: Option<PathBuf>, name: &str) -> Result<PathBuf, String> {
    let why = || format!("no {name} here: run scripts/install-test-needs");
    assert!(path.is_some() || std::env::var_os("RINGPOST_REQUIRE_PEERS").is_none(), "{}", why());
    path.ok_or_else(why)
}

/// Runs a program to its end and gives what it printed.
///
/// # Panics
/// When it cannot be started.
pub fn run(program: &Path, words: &[&str]) -> Output {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()))
}

/// Postfix's smtp-sink, listening; ended when dropped.
#[derive(Debug)]
pub struct SmtpSink {
    child: Child,
    counts: PathBuf,
}

impl SmtpSink {
    /// Starts `tool` on `address:port` with `words` before its address, and waits until it listens.
    ///
    /// `scratch` takes what it prints: with `-c` its running counts.
    pub fn start(tool: &Path, words: &[&str], address: std::net::SocketAddrV4, scratch: &Path) -> SmtpSink {
        let counts = scratch.join("smtp-sink.counts");
        let output = std::fs::File::create(&counts).expect("the scratch directory is writable");
        let mut command = Command::new(tool);
        command.arg("-c").args(words);
        // As root it wants a user to become once it listens.
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        let child = command
            .arg(address.to_string())
            .arg("1024")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file has as many descriptors as it is asked for"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", tool.display()));
        let mut sink = SmtpSink { child, counts };
        wait::until("smtp-sink listens", || {
            let ended = sink.child.try_wait().expect("a started child can be asked");
            let said = || std::fs::read_to_string(&sink.counts).unwrap_or_default();
            assert!(ended.is_none(), "smtp-sink did not start: {}", said());
            (!crate::address::is_free(address)).then_some(())
        });
        sink
    }

    /// The messages that it has counted so far.
    ///
    /// With `-c` smtp-sink rewrites one line `sess=N quit=N mesg=N` after a carriage return.
    pub fn messages(&self) -> u64 {
        let text = std::fs::read_to_string(&self.counts).unwrap_or_default();
        let last = text.rsplit("mesg=").next().filter(|_| text.contains("mesg="));
        last.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        // It has no children and keeps nothing; a failure means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
