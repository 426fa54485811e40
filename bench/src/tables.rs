//! What lookup tables cost: a relay that rewrites, routes and checks by large tables, against the same relay without.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use crate::load::{Load, Work};
use crate::relay::Kind;
use crate::series::{Series, run_in_turns};

/// Entries of `virtual_alias_maps` (lmdb). Every message's recipient is one of them.
pub const ALIASES: u32 = 1_000_000;
/// Entries of `transport_maps` (lmdb): domains. Every message's is one of them.
pub const TRANSPORTS: u32 = 100_000;
/// Patterns of `header_checks` (regexp). None matches, so that every header line meets them all.
pub const HEADER_CHECKS: u32 = 200;
/// Entries of each of the five access tables.
pub const ACCESS_ENTRIES: u32 = 10_000;

/// Recipients: `{i}` is the message's number in its run.
const RECIPIENTS: &str = "user{i}@alias.test";

/// Builds the tables below `directory` and gives the `main.cf` lines that use them.
///
/// # Errors
/// When a file cannot be written, or `postmap` fails.
pub fn prepare(ringpost: &Path, directory: &Path) -> io::Result<Vec<String>> {
    fs::create_dir_all(directory)?;
    let table = |name: &str, lines: &mut dyn Iterator<Item = String>| -> io::Result<String> {
        let path = directory.join(name);
        let mut file = BufWriter::new(fs::File::create(&path)?);
        for line in lines {
            writeln!(file, "{line}")?;
        }
        file.into_inner()?.sync_all()?;
        Ok(path.display().to_string())
    };
    let built = |name: &str, lines: &mut dyn Iterator<Item = String>| -> io::Result<String> {
        let reference = format!("lmdb:{}", table(name, lines)?);
        let output = Command::new(ringpost).arg("postmap").arg(&reference).output()?;
        match output.status.success() {
            true => Ok(reference),
            false => Err(io::Error::other(format!(
                "postmap {reference}: {}",
                String::from_utf8_lossy(&output.stderr)
            ))),
        }
    };
    let aliases = built(
        "virtual",
        &mut (0..ALIASES).map(|n| format!("user{n}@alias.test box{n}@d{}.target.test", n % TRANSPORTS)),
    )?;
    // A route of ":" changes nothing: the mail still goes to the relayhost, and the table has been asked.
    let transports = built("transport", &mut (0..TRANSPORTS).map(|n| format!("d{n}.target.test :")))?;
    let checks = table(
        "header_checks",
        &mut (0..HEADER_CHECKS).map(|n| format!("/^(Subject|X-Mailer|From): .*unwanted phrase {n}/ REJECT")),
    )?;
    let entries = |what: &'static str| (0..ACCESS_ENTRIES).map(move |n| format!("{what}{n}.bad.test REJECT"));
    let clients = built("clients", &mut entries("host"))?;
    let helos = built("helos", &mut entries("mx"))?;
    let senders = built("senders", &mut entries("from"))?;
    let recipients = built("recipients", &mut entries("to"))?;
    let networks = table(
        "networks",
        &mut (0..ACCESS_ENTRIES.min(1000)).map(|n| format!("10.{}.{}.0/24 REJECT", n / 256, n % 256)),
    )?;
    Ok(vec![
        format!("virtual_alias_maps = {aliases}"),
        format!("transport_maps = {transports}"),
        format!("header_checks = regexp:{checks}"),
        format!(
            "smtpd_client_restrictions = check_client_access cidr:{networks}, check_client_access {clients}"
        ),
        format!("smtpd_helo_restrictions = check_helo_access {helos}"),
        format!("smtpd_sender_restrictions = check_sender_access {senders}"),
        format!("smtpd_recipient_restrictions = check_recipient_access {recipients}, permit"),
    ])
}

/// The same work without tables and with them, in turns.
///
/// # Errors
/// As [`prepare`], and when a run fails.
pub fn measure(
    ringpost: &Path,
    load: &Load,
    work: Work,
    runs: usize,
    directory: &Path,
) -> io::Result<[Series; 2]> {
    let settings = prepare(ringpost, &directory.join("tables"))?;
    let work = Work { recipient: Some(RECIPIENTS), ..work };
    let without = Series::new(Kind::Ringpost(ringpost.to_path_buf()), work);
    let mut with = without.clone();
    with.name += ", tables";
    with.settings = settings;
    let mut both = [without, with];
    run_in_turns(&mut both, runs, load, &directory.join("run"))?;
    Ok(both)
}

/// Processor time of both, for people.
pub fn text([without, with]: &[Series; 2]) -> String {
    format!(
        "processor time a message: {:.1} µs without tables, {:.1} µs with {ALIASES} virtual aliases and {TRANSPORTS} \
         transports (lmdb), {HEADER_CHECKS} header checks and 5 access tables: {:.2} ×",
        without.middle(|run| run.cpu_us),
        with.middle(|run| run.cpu_us),
        with.ratio(without, |run| run.cpu_us)
    )
}
