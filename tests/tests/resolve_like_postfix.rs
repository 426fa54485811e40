//! `ringpost explain` gives each address the standard form, the class, the transport and the nexthop that Postfix's
//! trivial-rewrite gives it, asked over its own socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringpost_tests::engine::binary;
use ringpost_tests::postfix::PrivatePostfix;
use ringpost_tests::{Scratch, peers, skip, wait};

/// Who makes the longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

const MASTER_CF: &str = "\
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
smtp unix - - n - - smtp
relay unix - - n - - smtp
";

const COMMON: &str = "\
compatibility_level = 3.6
myhostname = host.here.example
mydomain = here.example
inet_interfaces = 127.0.0.1
alias_maps =
local_recipient_maps =
virtual_alias_maps =
virtual_mailbox_maps =
";

/// All tables at once, a relay host, and names that are completed.
const EVERYTHING: &str = "\
myorigin = here.example
mydestination = here.example localhost inline:{{matched.example = x}}
relay_domains = inner.example, inline:{{listed.example = x}}
virtual_mailbox_domains = inline:{{box.example = x}}
append_dot_mydomain = yes
recipient_delimiter = +-
relayhost = [hub]:26
sender_dependent_relayhost_maps = inline:{{boss@here.example = [by-sender]}, {@quiet.example = DUNNO}, {<> = [by-null]}}
transport_maps = inline:{{u+x@far.example = slow:[by-extension]}}, inline:{{u@far.example = slow:[by-user]}, {.dotted.example = slow:},
  {dotted.example = :[changed]:27}, {back.example = error:5.7.1 closed}, {plain.example = error},
  {later.example = retry:}, {gone.example = discard:}, {same.example = :}, {a..b@far.example = slow:[bare]}}
relocated_maps = inline:{{moved = m@new.example}, {@left.example = nowhere}}
";

/// Few tables, the resolver's own switches the other way round.
const BARE: &str = "\
myorigin = $myhostname
mydestination = $myhostname
relay_domains = .parent.example
parent_domain_matches_subdomains = transport_maps
append_at_myorigin = no
swap_bangpath = no
allow_percent_hack = no
resolve_null_domain = yes
resolve_numeric_domain = yes
resolve_dequoted_address = no
default_transport = smtp:[default]
local_transport = error:no mail for users here
relay_transport = relay:[inside]
sender_dependent_default_transport_maps = inline:{{boss@here.example = slow:}, {@quiet.example = dunno}}
transport_maps = inline:{{far.example = slow:[parent]}, {* = star:}}
empty_address_recipient = nobody
";

const LOCALS: [&str; 16] = [
    "u",
    "u+x",
    "u-x",
    "moved",
    "moved+x",
    "MAILER-DAEMON",
    "a b",
    "a..b",
    "u%far.example",
    "u%here.example",
    "far.example!u",
    "one!two!u",
    "u@far.example",
    "u%x%localhost",
    "\"",
    "",
];

const DOMAINS: [&str; 27] = [
    "here.example",
    "HERE.example",
    "host.here.example",
    "localhost",
    "host",
    "inner.example",
    "x.inner.example",
    "listed.example",
    "box.example",
    "far.example",
    "x.far.example",
    "far.example.",
    "matched.example",
    "x.dotted.example",
    "dotted.example",
    "back.example",
    "plain.example",
    "later.example",
    "gone.example",
    "same.example",
    "left.example",
    "x.parent.example",
    "[127.0.0.1]",
    "[192.0.2.9]",
    "192.0.2.9",
    "far..example",
    "",
];

const SENDERS: [&str; 4] = ["", "boss@here.example", "a@quiet.example", "other@here.example"];

/// What was made of an address.
#[derive(Debug, PartialEq, Eq)]
struct Resolved {
    address: String,
    class: String,
    transport: String,
    nexthop: String,
    recipient: String,
}

struct TrivialRewrite {
    master: Child,
    socket: PathBuf,
}

impl Drop for TrivialRewrite {
    fn drop(&mut self) {
        // Its children end with it. It may have ended by itself, which the test has seen by then.
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

impl TrivialRewrite {
    fn start(peers: &Path, home: &Scratch, main_cf: &str) -> TrivialRewrite {
        let postfix = PrivatePostfix::new(peers, home.path());
        let log = format!("maillog_file = {0}/log\nmaillog_file_prefixes = {0}\n", home.path().display());
        let main_cf = format!("{}\n{log}{main_cf}", postfix.main_cf().join("\n"));
        postfix.prepare(&main_cf, MASTER_CF).unwrap_or_else(|error| panic!("Postfix's files: {error}"));
        let master = postfix.master().stdin(Stdio::null()).spawn().expect("Postfix's master runs");
        let socket = postfix.queue().join("private/rewrite");
        let service = TrivialRewrite { master, socket };
        wait::until("trivial-rewrite listens", || UnixStream::connect(&service.socket).is_ok().then_some(()));
        service
    }

    /// Asks with these attributes, and gives the value of one in the answer.
    fn ask(&self, attributes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a limit");
        read_attributes(&mut stream);
        let mut question = Vec::new();
        for (name, value) in attributes {
            question.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        question.push(0);
        stream.write_all(&question).expect("it reads");
        read_attributes(&mut stream)
    }

    fn resolve(&self, sender: &str, address: &str) -> Resolved {
        let external = match address {
            "" => String::new(),
            _ => value(
                &self.ask(&[("request", "rewrite"), ("rule", "local"), ("address", address)]),
                "address",
            ),
        };
        let question = [("request", "resolve"), ("sender", sender), ("address", &unquoted(&external))];
        let answer = self.ask(&question);
        let flags: u32 = value(&answer, "flags").parse().expect("flags are a number");
        let class = match flags & 0x1f00 {
            0x100 => "local",
            0x200 => "virtual alias",
            0x400 => "virtual mailbox",
            0x800 => "relay",
            _ => "default",
        };
        let recipient = quoted(&value(&answer, "recipient"));
        // Its queue manager gives those that are malformed this transport.
        let (transport, nexthop) = match flags & 4 {
            0 => (value(&answer, "transport"), value(&answer, "nexthop")),
            _ => ("error".to_owned(), "5.1.3 bad address syntax".to_owned()),
        };
        assert_eq!(flags & 8, 0, "no table is to fail for {address}");
        Resolved { address: external, class: class.to_owned(), transport, nexthop, recipient }
    }
}

fn read_attributes(stream: &mut UnixStream) -> Vec<(String, String)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while !bytes.ends_with(b"\0\0") {
        let length = stream.read(&mut piece).expect("it answers in time");
        assert!(length > 0, "it went away");
        bytes.extend_from_slice(&piece[..length]);
    }
    // The last two are the end of the last value, or of an empty one, and the end of the list.
    let text = String::from_utf8(bytes[..bytes.len() - 2].to_vec()).expect("it answers in UTF-8");
    let words: Vec<&str> = text.split('\0').collect();
    words.chunks(2).map(|pair| (pair[0].into(), pair.get(1).copied().unwrap_or_default().into())).collect()
}

fn value(attributes: &[(String, String)], name: &str) -> String {
    // There are flags of the service before those of the address.
    let found = attributes.iter().rfind(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no {name} in {attributes:?}"))
}

/// An address as commands and headers write it.
fn quoted(internal: &str) -> String {
    let (local, domain) = internal.rsplit_once('@').map_or((internal, None), |(l, d)| (l, Some(d)));
    let atom = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "()<>[]:;@\\,\"".contains(c))
    };
    let local = match local.split('.').all(atom) {
        true => local.to_owned(),
        false => format!("\"{}\"", local.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    domain.map_or(local.clone(), |domain| format!("{local}@{domain}"))
}

fn unquoted(external: &str) -> String {
    let Some(rest) = external.strip_prefix('"') else { return external.to_owned() };
    let mut out = String::new();
    let mut characters = rest.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.extend(characters.next()),
            '"' => break,
            c => out.push(c),
        }
    }
    out + characters.as_str()
}

fn explained(home: &Scratch, sender: &str, address: &str) -> Resolved {
    let mut command = Command::new(binary());
    command.args(["explain", "-c"]).arg(home.join("ours")).args(["--sender", sender, "--", address]);
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    let fact = |name: &str| {
        let prefix = format!("    {name:<12} ");
        text.lines().rev().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    let wanted = |name: &str| fact(name).unwrap_or_else(|| panic!("<{address}>: no {name}:\n{text}{errors}"));
    let resolved = text.lines().find_map(|line| line.strip_prefix("resolve <"));
    let (address, _) =
        resolved.and_then(|line| line.split_once("> for mail of <")).expect("it says what it resolves");
    Resolved {
        address: address.to_owned(),
        class: wanted("class"),
        transport: wanted("transport"),
        nexthop: wanted("nexthop"),
        recipient: fact("delivered to").unwrap_or_else(|| address.to_owned()),
    }
}

fn compare(name: &str, main_cf: &str) {
    if !rustix::process::geteuid().is_root() {
        skip!("Postfix starts as root only");
    }
    let tool = match peers::postfix_tool("postmap") {
        Ok(tool) => tool,
        Err(why) => skip!("{why}"),
    };
    let peers = tool.parent().and_then(Path::parent).expect("the tools lie in a directory of the peers");
    let home = Scratch::new(name);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let write = |name: &str, text: &str| fs::write(home.join(name), text).expect("the directory is writable");
    let main_cf = format!("{COMMON}{main_cf}");
    fs::create_dir(home.join("ours")).expect("the directory is writable");
    write("ours/main.cf", &main_cf);
    write("ours/master.cf", MASTER_CF);
    let postfix = TrivialRewrite::start(peers, &home, &main_cf);
    let mut differences = Vec::new();
    let mut compared = 0;
    for (number, local) in LOCALS.iter().enumerate() {
        for (place, domain) in DOMAINS.iter().enumerate() {
            let internal = if domain.is_empty() { (*local).to_owned() } else { format!("{local}@{domain}") };
            let address = if internal.is_empty() { String::new() } else { quoted(&internal) };
            let sender = SENDERS[(number + place) % SENDERS.len()];
            let (theirs, ours) = (postfix.resolve(sender, &address), explained(&home, sender, &address));
            compared += 1;
            if theirs != ours {
                differences
                    .push(format!("<{address}> from <{sender}>\n  Postfix  {theirs:?}\n  Ringpost {ours:?}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn with_every_table() {
    compare("resolve-everything", EVERYTHING);
}

#[test]
fn with_the_switches_the_other_way_round() {
    compare("resolve-bare", BARE);
}
