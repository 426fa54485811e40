//! pflogsumm, which administrators run over Postfix's mail log, counts in ours exactly what source and sinks saw:
//! messages, recipients, bytes, sessions, in all and for each domain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ringpost_tests::address::{SINK_PORT, unique_loopback};
use ringpost_tests::client::message_content;
use ringpost_tests::dns::{DnsServer, Zone};
use ringpost_tests::peers::{self, program};
use ringpost_tests::sink::{Answer, Message, Stage};
use ringpost_tests::{Client, EngineSetup, Sink, wait};

/// Sessions that send at the same time; enough that both shards get some.
const SESSIONS: usize = 8;

/// Messages of each session; all bytes together stay below 512 KiB, where pflogsumm begins to round.
const MESSAGES: usize = 12;

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
fn recipients(session: usize, number: usize) -> Vec<String> {
    let of = |domain: &str| format!("user-{session}-{number}@{domain}");
    let other = |domain: &str| format!("Other-{session}-{number}@{domain}");
    match number % 6 {
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
    match (session, number % 12) {
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

/// Sends the messages of one session; the number of messages by the domain of their senders.
fn send_all(address: SocketAddrV4, session: usize) -> BTreeMap<String, u64> {
    let mut client = Client::greeted(address);
    let mut sent = BTreeMap::new();
    for number in 0..MESSAGES {
        let (sender, recipients) = (sender(session, number), recipients(session, number));
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let content = message_content(&format!("m-{session}-{number}"), 400 + 10 * number);
        client.message(&sender, &recipients, &content);
        // A sender without a domain counts for the client's name.
        let domain = if sender.is_empty() { "localhost".to_owned() } else { domain_of(&sender) };
        *sent.entry(domain).or_default() += 1;
    }
    client.quit();
    sent
}

#[test]
fn pflogsumm_counts_what_source_and_sinks_saw() {
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
        .parameter("minimal_backoff_time", "1s")
        .parameter("maximal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let engine = setup.start();
    let address = setup.address();

    let sessions: Vec<_> =
        (0..SESSIONS).map(|session| thread::spawn(move || send_all(address, session))).collect();
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for session in sessions {
        for (domain, count) in session.join().expect("a session ends well") {
            *sent.entry(domain).or_default() += count;
        }
    }
    // A stranger is refused before any recipient was taken, and after one.
    let mut rejected = 0;
    for number in 0..10 {
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
            client.send(&message_content(&format!("stranger-{number}"), 500));
            client.send(b".\r\n");
            client.reply().queue_id();
            *sent.entry("stranger.test".to_owned()).or_default() += 1;
        }
        client.quit();
    }

    // All that can be delivered or returned is; what cannot has been tried more than once.
    let count =
        |wanted: fn(usize) -> bool| SESSIONS * (0..MESSAGES).filter(|number| wanted(number % 6)).count();
    let stuck = count(|kind| kind >= 4);
    let returned = count(|kind| kind == 1 || kind == 3) - 1;
    let finished = sent.values().sum::<u64>() as usize - stuck + returned;
    engine.wait_for_log_count("removed", finished, |line| line.text == "removed");
    wait::until("the full mailboxes are asked again", || {
        let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = answered.deferrals.get("full.test").copied().unwrap_or(0);
        (asked >= 2 * count(|kind| kind == 4) as u64).then_some(())
    });
    engine.wait_for_log_count("the dead server", count(|kind| kind == 5), |line| {
        line.text.contains("@dead.test>, ") && line.text.contains("status=deferred")
    });
    engine.stop();

    let log = setup.home().join("maillog");
    let output = peers::run(&pflogsumm, &["--smtpd-stats", log.to_str().expect("test paths are text")]);
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
    let dead_deferrals = domains.get("dead.test").map_or(0, |numbers| numbers[2]);
    assert!(dead_deferrals >= count(|kind| kind == 5) as u64, "{report}");

    assert_eq!(total(&report, "received"), sent.values().sum::<u64>(), "{report}");
    assert_eq!(
        total(&report, "delivered"),
        by_domain.values().map(|(count, _)| count).sum::<u64>(),
        "{report}"
    );
    let deferred = count(|kind| matches!(kind, 1 | 2 | 4 | 5)) as u64;
    let deferrals = answered.deferrals.values().sum::<u64>() + dead_deferrals;
    assert_eq!(total(&report, "deferred"), deferred, "{report}");
    assert!(report.contains(&format!("{deferred}   deferred  ({deferrals}  deferrals)")), "{report}");
    assert_eq!(total(&report, "bounced"), answered.bounces, "{report}");
    assert_eq!(answered.bounces, (count(|kind| kind == 1) + 2 * count(|kind| kind == 3)) as u64);
    assert_eq!(total(&report, "rejected"), rejected, "{report}");
    for none in ["forwarded", "reject warnings", "held", "discarded"] {
        assert_eq!(total(&report, none), 0, "{none}: {report}");
    }
    assert_eq!(total(&report, "connections"), (SESSIONS + 10) as u64, "{report}");
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
    let told: BTreeMap<String, u64> = domain_lines(&report, "Host/Domain Summary: Messages Received")
        .into_iter()
        .map(|(domain, numbers)| (domain, numbers[0]))
        .collect();
    assert_eq!(told, sent, "{report}");
}
