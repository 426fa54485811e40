//! The queue commands as an operator calls them, and what they tell.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::client::message_content;
use crate::engine::binary;
use crate::{Engine, EngineSetup, wait};

/// Runs a queue command on the configuration of `setup`.
pub fn command(setup: &EngineSetup, words: &[&str]) -> Output {
    command_with_input(setup, words, "")
}

/// As [`command`], with something on standard input.
pub fn command_with_input(setup: &EngineSetup, words: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command.arg(words[0]).arg("-c").arg(setup.home()).args(&words[1..]);
    run(command, input)
}

/// Runs a command to its end, in UTC.
///
/// # Panics
/// When it cannot be started.
pub fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("MAIL_CONFIG");
    command.env("TZ", "UTC0");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    // A command that does not read its input closes it.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    child.wait_with_output().unwrap_or_else(|error| panic!("{command:?} does not end: {error}"))
}

/// What a command printed.
///
/// # Panics
/// When that is no text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the commands print UTF-8")
}

/// The output of a command that succeeds, without complaints.
///
/// # Panics
/// When that is not so.
pub fn succeeds(setup: &EngineSetup, words: &[&str]) -> String {
    let output = command(setup, words);
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    text(&output.stdout)
}

/// What a `postsuper` that succeeds prints on standard error.
///
/// # Panics
/// When that is not so.
pub fn postsuper(setup: &EngineSetup, words: &[&str], input: &str) -> String {
    let output = command_with_input(setup, &[&["postsuper"], words].concat(), input);
    assert!(output.status.success() && output.stdout.is_empty(), "{words:?}: {output:?}");
    text(&output.stderr)
}

/// The messages that `postqueue -j` lists.
///
/// # Panics
/// When that is not so.
pub fn listed(setup: &EngineSetup) -> Vec<serde_json::Value> {
    let lines = succeeds(setup, &["postqueue", "-j"]);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// The name of the queue that a message is in.
pub fn queue_of(setup: &EngineSetup, id: &str) -> Option<String> {
    let messages = listed(setup);
    let message = messages.into_iter().find(|message| message["queue_id"] == id)?;
    message["queue_name"].as_str().map(str::to_owned)
}

/// Waits until a message is in that queue.
pub fn wait_until_in(setup: &EngineSetup, id: &str, queue: &str) {
    wait::until(&format!("{id} is in {queue}"), || {
        (queue_of(setup, id).as_deref() == Some(queue)).then_some(())
    });
}

/// Nothing listens where this relay sends: what it takes is deferred for the rest of the test.
///
/// # Panics
/// When that is not so.
pub fn deferring(name: &str) -> (EngineSetup, Engine) {
    let setup = EngineSetup::new(name);
    let engine = setup.start();
    (setup, engine)
}

/// Sends a message of 2,000 bytes and gives its queue id.
pub fn submit(engine: &Engine, recipients: &[&str], track: &str) -> String {
    let mut client = engine.client();
    let id = client.message("a@client.test", recipients, &message_content(track, 2000));
    client.quit();
    id
}

/// The command that runs a queue command as the user nobody.
pub fn as_nobody(setup: &EngineSetup, words: &[&str]) -> Command {
    let mut command = nobody();
    command.arg(binary()).arg(words[0]).arg("-c").arg(setup.home()).args(&words[1..]);
    command
}

/// The beginning of a command that is run as the user nobody.
pub fn nobody() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
}

/// Whether this can be done here: it wants the superuser, and a target directory that nobody can reach into.
pub fn nobody_can_run_commands() -> bool {
    let mut probe = nobody();
    probe.arg(binary()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    rustix::process::geteuid().is_root() && probe.status().is_ok_and(|status| status.success())
}

/// Names and contents of all files below a directory.
///
/// # Panics
/// When that is not so.
pub fn files_below(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let bytes = std::fs::read(&path).expect("it can be read");
            files.push((path, bytes));
        }
    }
    files.sort();
    files
}
