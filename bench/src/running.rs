//! A source or sink as a child process: its output goes to files, and it is ended when it is dropped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No measurement takes longer; a relay that hangs ends the comparison with an error.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How often a condition is looked at again: a small share of the shortest run.
pub const LOOK: Duration = Duration::from_millis(2);

/// The child.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: &'static str,
    output: PathBuf,
}

impl Running {
    /// Starts it; standard output goes to `directory/name`, errors to `directory/name.errors`.
    ///
    /// # Errors
    /// When it cannot be run, or the files cannot be made.
    pub fn start(mut command: Command, directory: &Path, name: &'static str) -> io::Result<Running> {
        let output = directory.join(name);
        let file = fs::File::create(&output)?;
        let errors = fs::File::create(output.with_extension("errors"))?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {}: {error}", command.get_program().display()))
        })?;
        Ok(Running { child, name, output })
    }

    /// Waits until it accepts a connection on that port.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub fn wait_for_port(&mut self, port: u16) -> io::Result<()> {
        self.wait_for_address(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).to_string())
    }

    /// Waits until it accepts a connection at `address`.
    ///
    /// # Errors
    /// As [`Running::wait_for_port`].
    pub fn wait_for_address(&mut self, address: &str) -> io::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(Some(status)));
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(None));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits for its end with status 0, and says when that was.
    ///
    /// # Errors
    /// When it ends otherwise, or takes too long.
    pub fn wait_for_success(&mut self) -> io::Result<Instant> {
        self.wait_so_long(PATIENCE)
    }

    /// As [`Running::wait_for_success`] with a patience of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn wait_so_long(&mut self, patience: Duration) -> io::Result<Instant> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let now = Instant::now();
                return if status.success() { Ok(now) } else { Err(self.failure(Some(status))) };
            }
            if start.elapsed() > patience {
                return Err(self.failure(None));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The JSON that it has printed.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn report(&self) -> io::Result<Value> {
        Ok(serde_json::from_slice(&fs::read(&self.output)?)?)
    }

    fn failure(&self, status: Option<ExitStatus>) -> io::Error {
        let how = status.map_or_else(
            || format!("was not done within {PATIENCE:?}"),
            |status| format!("ended with {status}"),
        );
        let said = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let (printed, errors) = (said(&self.output), said(&self.output.with_extension("errors")));
        io::Error::other(format!("the {} {how}: {}\n{}", self.name, errors.trim(), printed.trim()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
