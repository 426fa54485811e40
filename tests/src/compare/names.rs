//! The names that both servers can look up: those of a scripted DNS server, and none that the machine's own knows.
//!
//! A private Postfix asks the servers of `/etc/resolv.conf` and nobody else can tell it otherwise. So the comparison
//! starts itself again in a mount namespace of its own, in which that file names a loopback address where the
//! comparison answers itself, and `/etc/hosts` knows `localhost` only. Both servers are started in there.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, ExitStatus};

use crate::address::unique_loopback;
use crate::dns::{DnsAnswer, DnsServer, Kind, Zone};
use crate::scratch::Scratch;

/// The first word of the program that was started inside; the address of the DNS server to be follows.
const INSIDE: &str = "--names-answered-at";
/// Where resolvers look for DNS servers.
const DNS_PORT: u16 = 53;

/// Whether this program runs inside already.
#[derive(Debug)]
pub enum Inside {
    /// It does; names are answered as long as this lives. The other words of the program.
    Here(DnsServer, Vec<String>),
    /// It ran inside and ended so.
    Ended(ExitStatus),
    /// This machine does not allow it, and why.
    Refused(String),
}

/// Runs this program again inside, or tells that it is.
///
/// # Panics
/// When the files that it wants to show inside cannot be written.
pub fn inside(words: Vec<String>) -> Inside {
    if let [first, address, rest @ ..] = words.as_slice()
        && first == INSIDE
        && let Ok(address) = address.parse::<Ipv4Addr>()
    {
        let server = DnsServer::start_on(SocketAddrV4::new(address, DNS_PORT), zone());
        return Inside::Here(server, rest.to_vec());
    }
    let files = Scratch::new("compare-names");
    let (resolv, hosts) = (files.join("resolv.conf"), files.join("hosts"));
    let address = unique_loopback();
    fs::write(&resolv, format!("nameserver {address}\n")).expect("the scratch directory is writable");
    fs::write(&hosts, "127.0.0.1 localhost\n").expect("the scratch directory is writable");
    let script = "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/hosts";
    let shown = |command: &mut Command| {
        command.arg("names").args([&resolv, &hosts]);
    };
    let mut trial = in_namespace(script);
    shown(&mut trial);
    match trial.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Inside::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => return Inside::Refused(format!("unshare: {error}")),
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Inside::Refused(format!("this program's own path: {error}")),
    };
    let mut command = in_namespace(&format!("{script} && shift 2 && exec \"$@\""));
    shown(&mut command);
    command.arg(program).args([INSIDE, &address.to_string()]).args(words);
    match command.status() {
        Ok(status) => Inside::Ended(status),
        Err(error) => Inside::Refused(format!("unshare: {error}")),
    }
}

/// `unshare` keeps what is mounted inside from the rest of the machine.
fn in_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", script]);
    command
}

/// What the configurations of `tests/compare` ask for.
fn zone() -> Zone {
    let here = Ipv4Addr::new(192, 0, 2, 10);
    Zone::default()
        .a("friend.example", here)
        .a("client.example", here)
        .mx("client.example", &[(10, "friend.example")])
        .a("good.example", here)
        .mx("null.example", &[(0, "")])
        .mx("dangling.example", &[(10, "nowhere.example")])
        .mx("loop.example", &[(10, "localhost-mx.example")])
        .a("localhost-mx.example", Ipv4Addr::LOCALHOST)
        .answer("broken.example", Kind::Mx, DnsAnswer::Failure)
        .answer("broken.example", Kind::A, DnsAnswer::Failure)
        .a("9.113.0.203.list.example", Ipv4Addr::new(127, 0, 0, 2))
        .answer(
            "9.113.0.203.list.example",
            Kind::Txt,
            DnsAnswer::Texts(vec!["listed for the comparison".to_owned()]),
        )
        .a("rhs.example.names.example", Ipv4Addr::new(127, 0, 0, 4))
}
