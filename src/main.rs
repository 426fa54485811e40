//! `ringpost`: the multi-call binary. Dispatches on the name that it was called by, or on its first word; exit codes
//! are those of sysexits, and Postfix's for Postfix's commands.

mod check;
mod configuration;
mod explain;
mod host;
mod install_links;
mod map_command;
mod postalias;
mod postcat;
mod postconf;
mod postkick;
mod postmap;
mod postqueue;
mod postsuper;
mod qshape;
mod queue_command;
mod reload;
mod replace;
mod serve;
mod why;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ringpost_shards::failure::Failure;

use crate::configuration::ConfigurationArguments;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// EX_USAGE: the command line.
const EX_USAGE: u8 = 64;

/// How long Postfix's commands wait after a fatal error, so that a script that tries again and again does little harm.
const FATAL_PAUSE: Duration = Duration::from_secs(1);

/// A command with options of its own, under the name that it is linked by.
struct NamedCommand {
    name: &'static str,
    usage: &'static str,
    run: Run,
    /// One of Postfix's: there may be a link of this name.
    linked: bool,
}

type Run = fn(Vec<OsString>) -> Result<(), Failure>;

const fn linked(name: &'static str, usage: &'static str, run: Run) -> NamedCommand {
    NamedCommand { name, usage, run, linked: true }
}

const fn unlinked(name: &'static str, usage: &'static str, run: Run) -> NamedCommand {
    NamedCommand { name, usage, run, linked: false }
}

const NAMED_COMMANDS: [NamedCommand; 11] = [
    linked("postmap", postmap::USAGE, postmap::run),
    linked("postalias", postalias::USAGE, postalias::run),
    linked("postqueue", postqueue::USAGE, postqueue::run),
    linked("mailq", postqueue::MAILQ_USAGE, postqueue::run_mailq),
    linked("postsuper", postsuper::USAGE, postsuper::run),
    linked("postcat", postcat::USAGE, postcat::run),
    linked("postconf", postconf::USAGE, postconf::run),
    linked("postkick", postkick::USAGE, postkick::run),
    linked("qshape", qshape::USAGE, qshape::run),
    unlinked("why", why::USAGE, why::run),
    unlinked("install-links", install_links::USAGE, install_links::run),
];

/// The queue commands, for the help text.
const MORE_COMMANDS: &str = "\
Lookup tables, also under links of these names:
  postmap        Build, query, list or change a table: -q KEY, -s, -d KEY, -i
  postalias      The same for files of aliases

Queue commands, also under links of these names:
  postqueue      List or flush the queue: -p, -j, -f, -i ID, -s SITE
  mailq          The same as postqueue -p
  postsuper      Change queued mail: -d, -h, -H, -r, -e, -f with an ID, - or ALL
  postcat        Show a queued message: -q ID
  postconf       Show and change main.cf and master.cf
  postkick       Wake the queue manager: public qmgr FADI
  qshape         Count queued messages by age and destination
  why            Tell what a message, or the mail for an address or domain, waits for (not as a link)
  install-links  Make those links in a directory";

/// A mail transfer agent for those who send a great deal of mail
#[derive(Parser)]
#[command(name = "ringpost", version, after_help = MORE_COMMANDS)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay in the foreground; SIGTERM stops it, SIGHUP reloads, SIGUSR1 writes figures.json to the queue directory
    Serve(ConfigurationArguments),
    /// Have the running relay read its configuration again; what is wrong with it changes nothing
    Reload(ConfigurationArguments),
    /// Tell of each parameter that is set whether it is honoured, without effect, or refused
    Check(ConfigurationArguments),
    /// Tell step by step how an address is rewritten, classed, checked and routed, and what decided
    Explain(explain::ExplainArguments),
}

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let own_name = words.first().map(|word| Path::new(word).file_name().unwrap_or_default().to_owned());
    if let Some(command) = own_name.and_then(|name| named(&name, true)) {
        words.remove(0);
        return run_named(command, words);
    }
    if let Some(command) = words.get(1).and_then(|name| named(name, false)) {
        words.drain(..2);
        return run_named(command, words);
    }
    run_own()
}

fn named(name: &std::ffi::OsStr, as_link: bool) -> Option<&'static NamedCommand> {
    NAMED_COMMANDS.iter().find(|command| *command.name == *name && (command.linked || !as_link))
}

fn run_named(command: &NamedCommand, words: Vec<OsString>) -> ExitCode {
    if let [word] = &words[..]
        && word == "--help"
    {
        println!("usage: {}", command.usage);
        return ExitCode::SUCCESS;
    }
    match (command.run)(words) {
        Ok(()) => ExitCode::SUCCESS,
        // Nothing to say: something was not found, and a script asks on at once.
        Err(failure) if failure.message.is_empty() => failure.code.into(),
        Err(failure) => {
            let code = report(command.name, &failure);
            std::thread::sleep(FATAL_PAUSE);
            code
        }
    }
}

fn run_own() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // --help and --version come here too, on standard output and with success.
            let _ = error.print();
            return if error.use_stderr() { EX_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match line.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report("ringpost", &failure),
    }
}

fn report(name: &str, failure: &Failure) -> ExitCode {
    let mut standard_error = std::io::stderr().lock();
    for line in failure.message.lines() {
        // Without standard error the exit code says it.
        let _ = writeln!(standard_error, "{name}: fatal: {line}");
    }
    failure.code.into()
}
