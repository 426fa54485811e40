//! pflogsumm, which administrators run over Postfix's mail log, counts in ours exactly what source and sinks saw:
//! messages, recipients, bytes, sessions, in all and for each domain.
//!
//! The ignored test does it at the volume of an hour: `RINGPOST_PFLOGSUMM_MESSAGES` (100,000 without it) sent evenly
//! over `RINGPOST_PFLOGSUMM_SECONDS` (as fast as it goes without it).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringpost_tests::address::{SINK_PORT, unique_loopback};
use ringpost_tests::client::message_content;
use ringpost_tests::commands::listed;
use ringpost_tests::dns::{DnsServer, Zone};
use ringpost_tests::peers::{self, program};
use ringpost_tests::sink::{Answer, Message, Stage};
use ringpost_tests::{Client, EngineSetup, Sink, wait};

/// Sessions that send at the same time; enough that both shards get some.
const SESSIONS: usize = 8;

/// How much is sent.
#[derive(Clone, Copy)]
struct Volume {
    /// Messages of each session.
    messages: usize,
    /// Over which these are spread.
    spread: Duration,
    /// Sessions of somebody who may not relay.
    strangers: usize,
    /// Of so many messages, two can neither be delivered nor returned.
    stuck_every: usize,
    back_off_s: u32,
    /// How long the end may take to come after the last message.
    patience: Duration,
}

impl Volume {
    /// One of six ways for a message to go.
    fn way(&self, number: usize) -> usize {
        match self.stuck_every - number % self.stuck_every {
            1 => 5,
            2 => 4,
            _ => number % self.stuck_every % 4,
        }
    }

    fn count(&self, wanted: impl Fn(usize) -> bool) -> usize {
        SESSIONS * (0..self.messages).filter(|number| wanted(self.way(*number))).count()
    }
}

/// In `mynetworks`, and not.
const FRIEND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What the sinks answered, by recipient domain.
#[derive(Debug, Default)]
struct Answered {
    deferrals: BTreeMap<String, u64>,
    bounces: u64,
    /// Recipients and messages that have been put off once.
    put_off: BTreeSet<String>,
}

impl Answered {
    fn defer(&mut self, domain: &str, recipients: usize) {
        *self.deferrals.entry(domain.to_owned()).or_default() += recipients as u64;
    }
}

/// What the sink of `domain` says: each domain has one way of its own to take or refuse mail.
fn answer(domain: &str, stage: &Stage<'_>, answered: &Mutex<Answered>) -> Answer {
    let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
    match (domain, stage) {
        ("greylisted.test", Stage::Rcpt(recipient)) if answered.put_off.insert((*recipient).to_owned()) => {
            answered.defer(domain, 1);
            Answer::say("450 4.7.1 Greylisted, come back")
        }
        ("full.test", Stage::Rcpt(_)) => {
            answered.defer(domain, 1);
            Answer::say("452 4.2.2 Mailbox full")
        }
        ("nobody.test", Stage::Rcpt(recipient)) => {
            answered.bounces += 1;
            Answer::Say(format!("550 5.1.1 <{recipient}>: no such user, status=sent"))
        }
        ("busy.test", Stage::EndOfData(message)) => {
            let track = message.track().expect("only the test's own messages go there");
            if answered.put_off.insert(track) {
                answered.defer(domain, message.recipients.len());
                return Answer::say("451 4.3.0 Busy");
            }
            Answer::Usual
        }
        ("spam.test", Stage::EndOfData(message)) => {
            answered.bounces += message.recipients.len() as u64;
            Answer::say("554 5.7.1 Looks like spam")
        }
        _ => Answer::Usual,
    }
}

/// Who gets the message with this number of that session.
fn recipients(volume: Volume, session: usize, number: usize) -> Vec<String> {
    let of = |domain: &str| format!("user-{session}-{number}@{domain}");
    let other = |domain: &str| format!("Other-{session}-{number}@{domain}");
    match volume.way(number) {
        0 => vec![of("good.test"), other("good.test"), of("second.test")],
        1 => vec![of("good.test"), of("greylisted.test"), of("nobody.test")],
        2 => vec![of("busy.test"), other("busy.test")],
        3 => vec![of("spam.test"), other("spam.test"), of("good.test")],
        4 => vec![of("full.test"), of("second.test")],
        // Nobody listens there.
        _ => vec![of("dead.test"), of("good.test")],
    }
}

/// Who sends it; notices go back there, but for the null sender.
fn sender(session: usize, number: usize) -> String {
    match (session, number) {
        (0, 9) => String::new(),
        _ => format!("author-{session}@home-{}.test", session % 3),
    }
}

/// The lines of a section that has one for each domain: their leading numbers, by domain.
fn domain_lines(report: &str, title: &str) -> BTreeMap<String, Vec<u64>> {
    let (_, section) = report.split_once(title).unwrap_or_else(|| panic!("no {title} in\n{report}"));
    // The title's rule, the names of the columns, their rule; then lines until an empty one.
    let lines = section.lines().skip(4).take_while(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            let domain = words.pop().expect("a line that is not empty").to_owned();
            (domain, words.iter().map_while(|word| word.parse().ok()).collect())
        })
        .collect()
}

/// The number before `name` among the grand totals.
fn total(report: &str, name: &str) -> u64 {
    let line = report.lines().find(|line| {
        line.split_once(&format!("  {name}")).is_some_and(|(before, _)| {
            !before.trim().is_empty() && before.trim().bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{report}"));
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("found by its number")
}

fn domain_of(address: &str) -> String {
    address.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase()
}

/// A message that the relay took: its mark, and the domain that it counts for as a sender's.
struct Sent {
    track: String,
    domain: String,
}

/// Sends the messages of one session.
fn send_all(address: SocketAddrV4, session: usize, volume: Volume) -> Vec<Sent> {
    let mut client = Client::greeted(address);
    let start = Instant::now();
    let mut sent = Vec::with_capacity(volume.messages);
    for number in 0..volume.messages {
        let due = volume.spread.mul_f64(number as f64 / volume.messages as f64);
        thread::sleep(due.saturating_sub(start.elapsed()));
        let (sender, recipients) = (sender(session, number), recipients(volume, session, number));
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let track = format!("m-{session}-{number}");
        client.message(&sender, &recipients, &message_content(&track, 400 + 10 * (number % 100)));
        // A sender without a domain counts for the client's name.
        let domain = if sender.is_empty() { "localhost".to_owned() } else { domain_of(&sender) };
        sent.push(Sent { track, domain });
    }
    client.quit();
    sent
}

/// A stranger is refused before any recipient was taken, and after one. How often, and what was taken.
fn intrude(address: SocketAddrV4, strangers: usize) -> (u64, Vec<Sent>) {
    let (mut rejected, mut sent) = (0, Vec::new());
    for number in 0..strangers {
        let mut client = Client::try_connect_from(STRANGER, address).expect("the relay listens");
        assert_eq!(client.reply().code, 220);
        client.expect("EHLO stranger.test", "250");
        client.expect(&format!("MAIL FROM:<s-{number}@stranger.test>"), "250");
        client.expect("RCPT TO:<x@second.test>", "554 5.7.1");
        rejected += 1;
        if number % 2 == 0 {
            client.expect(&format!("RCPT TO:<stranger-{number}@good.test>"), "250");
            client.expect("RCPT TO:<y@second.test>", "554 5.7.1");
            rejected += 1;
            client.expect("DATA", "354");
            let track = format!("stranger-{number}");
            client.send(&message_content(&track, 500));
            client.send(b".\r\n");
            client.reply().queue_id();
            sent.push(Sent { track, domain: "stranger.test".to_owned() });
        }
        client.quit();
    }
    (rejected, sent)
}

/// pflogsumm as it is, but that it prints large numbers of bytes to the last digit too.
fn exact_pflogsumm(pflogsumm: &Path, directory: &Path) -> PathBuf {
    let mut script = std::fs::read_to_string(pflogsumm).expect("it is a script");
    for rounds_above in ["$divByOneKAt   = 524288;", "$divByOneMegAt = 536870912;"] {
        assert!(script.contains(rounds_above), "this pflogsumm has no {rounds_above}");
        let (name, _) = rounds_above.split_once('=').expect("it is an assignment");
        script = script.replace(rounds_above, &format!("{name}= 1e15;"));
    }
    let copy = directory.join("pflogsumm");
    std::fs::write(&copy, script).expect("the scratch directory is writable");
    copy
}

fn environment(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .map_or(usual, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value}")))
}

#[test]
fn pflogsumm_counts_what_source_and_sinks_saw() {
    compare(Volume {
        messages: 12,
        spread: Duration::ZERO,
        strangers: 10,
        stuck_every: 6,
        back_off_s: 1,
        patience: wait::PATIENCE,
    });
}

#[test]
#[ignore = "an hour's volume takes minutes, or as long as one wants"]
fn pflogsumm_counts_an_hours_volume() {
    compare(Volume {
        messages: environment("RINGPOST_PFLOGSUMM_MESSAGES", 100_000) as usize / SESSIONS,
        spread: Duration::from_secs(environment("RINGPOST_PFLOGSUMM_SECONDS", 0)),
        strangers: 1000,
        stuck_every: 60,
        back_off_s: 20,
        patience: 20 * wait::PATIENCE,
    });
}

fn compare(volume: Volume) {
    let pflogsumm = match program("pflogsumm") {
        Ok(pflogsumm) => pflogsumm,
        Err(why) => ringpost_tests::skip!("{why}"),
    };
    let answered: Arc<Mutex<Answered>> = Arc::default();
    let mut zone = Zone::default().a("dead.test", unique_loopback());
    let mut sinks = Vec::new();
    for domain in [
        "good.test",
        "second.test",
        "greylisted.test",
        "nobody.test",
        "busy.test",
        "spam.test",
        "full.test",
        "home-0.test",
        "home-1.test",
        "home-2.test",
    ] {
        let ip = unique_loopback();
        zone = zone.a(domain, ip);
        let answered = Arc::clone(&answered);
        let script = move |stage: &Stage<'_>| answer(domain, stage, &answered);
        sinks.push(Sink::scripted(SocketAddrV4::new(ip, SINK_PORT), script));
    }
    let dns = DnsServer::start(zone);
    let setup = EngineSetup::new("pflogsumm")
        .parameter("ringpost_shards", "2")
        .parameter("relayhost", "")
        .parameter("smtp_tcp_port", &SINK_PORT.to_string())
        .parameter("ringpost_dns_servers", &dns.address().to_string())
        .parameter("mynetworks", &FRIEND.to_string())
        .parameter("relay_domains", "good.test")
        .parameter("smtpd_soft_error_limit", "1000")
        .parameter("smtpd_hard_error_limit", "1000")
        .parameter("minimal_backoff_time", &format!("{}s", volume.back_off_s))
        .parameter("maximal_backoff_time", &format!("{}s", volume.back_off_s))
        .parameter("queue_run_delay", "1s");
    let engine = setup.start();
    let address = setup.address();

    let begun = Instant::now();
    let sessions: Vec<_> =
        (0..SESSIONS).map(|session| thread::spawn(move || send_all(address, session, volume))).collect();
    let (rejected, mut sent) = intrude(address, volume.strangers);
    for session in sessions {
        sent.extend(session.join().expect("a session ends well"));
    }
    // All that can be delivered or returned is; what cannot has been tried more than once.
    let stuck = volume.count(|way| way >= 4);
    wait::until_within(volume.patience, "only what nobody takes is queued", || {
        (listed(&setup).len() == stuck).then_some(())
    });
    wait::until_within(volume.patience, "the full mailboxes are asked again", || {
        let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = answered.deferrals.get("full.test").copied().unwrap_or(0);
        (asked >= 2 * volume.count(|way| way == 4) as u64).then_some(())
    });
    let dead = volume.count(|way| way == 5);
    wait::until_within(volume.patience, "the dead server's mail is deferred", || {
        (lines_of_dead(&setup).len() >= dead).then_some(())
    });
    engine.stop();
    let took = begun.elapsed();

    let log = setup.home().join("maillog");
    let script = exact_pflogsumm(&pflogsumm, setup.home());
    let words = [&*script.to_string_lossy(), "--smtpd-stats", &*log.to_string_lossy()];
    let output = peers::run(Path::new("/usr/bin/perl"), &words);
    let report = String::from_utf8(output.stdout).expect("the report is text");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", output.status);

    let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
    let delivered: Vec<Arc<Message>> = sinks.iter().flat_map(Sink::messages).collect();
    let mut by_domain: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for message in &delivered {
        for recipient in &message.recipients {
            let of_domain = by_domain.entry(domain_of(recipient)).or_default();
            *of_domain = (of_domain.0 + 1, of_domain.1 + message.content.len() as u64);
        }
    }
    let domains = domain_lines(&report, "Host/Domain Summary: Message Delivery");
    // No sink hears of what does not reach it; the log's own lines are counted.
    let dead_deferrals = lines_of_dead(&setup).len() as u64;

    assert_eq!(total(&report, "received"), sent.len() as u64, "{report}");
    assert_eq!(
        total(&report, "delivered"),
        by_domain.values().map(|(count, _)| count).sum::<u64>(),
        "{report}"
    );
    let deferred = volume.count(|way| matches!(way, 1 | 2 | 4 | 5)) as u64;
    let deferrals = answered.deferrals.values().sum::<u64>() + dead_deferrals;
    assert_eq!(total(&report, "deferred"), deferred, "{report}");
    assert!(report.contains(&format!("{deferred}   deferred  ({deferrals}  deferrals)")), "{report}");
    assert_eq!(total(&report, "bounced"), answered.bounces, "{report}");
    assert_eq!(answered.bounces, (volume.count(|way| way == 1) + 2 * volume.count(|way| way == 3)) as u64);
    assert_eq!(total(&report, "rejected"), rejected, "{report}");
    for none in ["forwarded", "reject warnings", "held", "discarded"] {
        assert_eq!(total(&report, none), 0, "{none}: {report}");
    }
    assert_eq!(total(&report, "connections"), (SESSIONS + volume.strangers) as u64, "{report}");
    for none in ["Warnings", "Fatal Errors", "Panics"] {
        assert!(report.contains(&format!("\n{none}: none\n")), "{none}: {report}");
    }
    assert!(!report.contains("Messages with no size data"), "{report}");

    // Domain by domain: recipients, bytes, deferrals.
    let mut wanted: BTreeMap<String, Vec<u64>> =
        by_domain.iter().map(|(domain, &(count, bytes))| (domain.clone(), vec![count, bytes, 0])).collect();
    for (domain, &deferrals) in &answered.deferrals {
        wanted.entry(domain.clone()).or_insert_with(|| vec![0; 3])[2] = deferrals;
    }
    wanted.insert("dead.test".to_owned(), vec![0, 0, dead_deferrals]);
    let told: BTreeMap<String, Vec<u64>> =
        domains.into_iter().map(|(domain, numbers)| (domain, numbers[..3].to_vec())).collect();
    assert_eq!(told, wanted, "{report}");
    assert_eq!(total(&report, "bytes delivered"), by_domain.values().map(|(_, bytes)| bytes).sum::<u64>());

    // Every message reached some sink, and was there as large as the relay had queued it.
    let sizes: BTreeMap<String, u64> = delivered
        .iter()
        .filter_map(|message| Some((message.track()?, message.content.len() as u64)))
        .collect();
    let mut received: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for Sent { track, domain } in &sent {
        let of_domain = received.entry(domain.clone()).or_insert_with(|| vec![0; 2]);
        of_domain[0] += 1;
        of_domain[1] += sizes.get(track).unwrap_or_else(|| panic!("{track} reached nobody"));
    }
    let bytes_received: u64 = received.values().map(|numbers| numbers[1]).sum();
    assert_eq!(total(&report, "bytes received"), bytes_received, "{report}");
    let told: BTreeMap<String, Vec<u64>> = domain_lines(&report, "Host/Domain Summary: Messages Received")
        .into_iter()
        .map(|(domain, numbers)| (domain, numbers[..2].to_vec()))
        .collect();
    assert_eq!(told, received, "{report}");

    println!("{} messages in {:.0} s, {} lines of log", sent.len(), took.as_secs_f64(), lines(&log));
    println!("{}", report.split("\n\nPer-").next().unwrap_or_default());
}

/// The log's lines about mail for the dead server that stays.
fn lines_of_dead(setup: &EngineSetup) -> Vec<String> {
    let log = std::fs::read_to_string(setup.home().join("maillog")).expect("the relay made it");
    let of_dead =
        log.lines().filter(|line| line.contains("@dead.test>, ") && line.contains("status=deferred"));
    of_dead.map(str::to_owned).collect()
}

fn lines(log: &Path) -> usize {
    std::fs::read(log).expect("the relay made it").iter().filter(|byte| **byte == b'\n').count()
}
