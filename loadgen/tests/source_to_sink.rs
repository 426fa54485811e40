//! A source sends straight to a sink: what was acknowledged and what was accepted must agree, and dishonest sinks must
//! be found out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpost_loadgen::account::Account;
use ringpost_loadgen::message::{Plan, TrackingId};
use ringpost_loadgen::script::Script;
use ringpost_loadgen::sink::{Sink, SinkReport, SinkSettings};
use ringpost_loadgen::source::{Source, SourceReport, SourceSettings};

/// Longest any of these tests may take before it is given up.
const DEADLINE: Duration = Duration::from_secs(60);

fn plan() -> Plan {
    Plan {
        run: 0x1234,
        sender: "from@client.example".into(),
        recipients: 1,
        domains: 1,
        recipient_template: "r{n}@d{d}.example".into(),
        sizes: "1k-8k".parse().expect("a size"),
        seed: 1,
    }
}

fn source_settings(sink: &Sink, plan: Plan, messages: u64) -> SourceSettings {
    SourceSettings {
        target: sink.addresses()[0],
        plan: Arc::new(plan),
        sessions: 20,
        messages: Some(messages),
        rate: None,
        keep_connections: true,
        pipelining: true,
        threads: 1,
        timeout: Duration::from_secs(10),
        acknowledged: None,
    }
}

fn sink(script: &str) -> Sink {
    let script = Arc::new(Script::parse(script).expect("a script"));
    Sink::start(SinkSettings { script, ..SinkSettings::default() }).expect("a sink")
}

fn send(settings: SourceSettings) -> SourceReport {
    let source = Source::start(settings).expect("a source");
    let deadline = Instant::now() + DEADLINE;
    while !source.is_finished() {
        assert!(Instant::now() < deadline, "the source does not finish: {:?}", source.counters());
        std::thread::sleep(Duration::from_millis(5));
    }
    source.finish().expect("a report")
}

fn stop(sink: &mut Sink) -> SinkReport {
    sink.stop().expect("the sink's report")
}

/// How often each acknowledged message was delivered to each recipient: (fewest, most).
fn delivered(sink: &Sink, plan: &Plan, report: &SourceReport) -> (u32, u32) {
    let ledgers: Vec<_> = sink.ledgers().iter().map(|ledger| ledger.lock().expect("whole")).collect();
    let counts = report.acknowledged.iter().flat_map(|acknowledged| {
        let id = TrackingId { run: plan.run, sequence: acknowledged.sequence };
        (0..plan.recipients)
            .filter(|number| !acknowledged.refused_recipients.contains(number))
            .map(move |number| (id, plan.recipient_key(id.sequence, number)))
    });
    let counts: Vec<u32> =
        counts.map(|(id, key)| ledgers.iter().map(|ledger| ledger.fate(id, key).delivered).sum()).collect();
    (counts.iter().copied().min().unwrap_or(0), counts.iter().copied().max().unwrap_or(0))
}

#[test]
fn every_acknowledged_message_is_accepted_once() {
    for (keep_connections, pipelining, recipients) in
        [(true, true, 1), (true, false, 1), (false, true, 1), (true, true, 7), (true, false, 3)]
    {
        let mut sink = sink("");
        let plan = Plan { recipients, domains: 2, ..plan() };
        let messages = if keep_connections { 2000 } else { 300 };
        let settings =
            SourceSettings { keep_connections, pipelining, ..source_settings(&sink, plan.clone(), messages) };
        let report = send(settings);
        let sink_report = stop(&mut sink);
        assert_eq!(report.errors.len(), 0, "{:?}", report.errors);
        assert_eq!(report.acknowledged.len() as u64, messages);
        assert_eq!(delivered(&sink, &plan, &report), (1, 1));
        let figures = sink.figures(&sink_report);
        assert_eq!(figures.deliveries, messages * u64::from(recipients));
        assert_eq!((figures.damaged, figures.unidentified, figures.duplicated), (0, 0, 0));
        assert_eq!(figures.connections, if keep_connections { 20 } else { messages });
        assert!(figures.latency.is_some() && report.figures().reply_latency.is_some());
    }
}

#[test]
fn a_sink_that_loses_or_doubles_is_found_out() {
    let rule = |account| format!("[[rule]]\nstage = \"dot\"\ntimes = 3\naccount = \"{account}\"\n");
    for (script, lost, duplicated) in [("".to_owned(), 0, 0), (rule("lose"), 3, 0), (rule("twice"), 0, 3)] {
        let mut sink = sink(&script);
        let plan = plan();
        let report = send(source_settings(&sink, plan.clone(), 500));
        stop(&mut sink);
        let account = Account::settle(&plan, &report.acknowledged, sink.ledgers());
        assert_eq!(
            (account.acknowledged, account.lost, account.duplicated),
            (500, lost, duplicated),
            "{script}"
        );
        assert_eq!(account.lost_examples.len() as u64, lost);
        assert_eq!(account.is_exactly_once(false), lost + duplicated == 0);
    }
}

#[test]
fn messages_refused_for_a_time_arrive_under_new_ids() {
    let script = r#"
        [[rule]]
        stage = "dot"
        times = 5
        reply = "451 4.3.0 Later"
        [[rule]]
        stage = "mail"
        times = 5
        drop = true
        [[rule]]
        stage = "rcpt"
        times = 5
        reply = "450 4.2.0 Later"
        [[rule]]
        stage = "data"
        times = 5
        delay_ms = 5
    "#;
    for pipelining in [true, false] {
        let mut sink = sink(script);
        let plan = plan();
        let report = send(SourceSettings { pipelining, ..source_settings(&sink, plan.clone(), 300) });
        stop(&mut sink);
        assert_eq!((report.acknowledged.len(), report.repeated), (300, 15), "{:?}", report.errors);
        assert_eq!(report.errors.get("451 at dot"), Some(&5));
        assert_eq!(report.errors.get("450 at rcpt"), Some(&5));
        assert_eq!(delivered(&sink, &plan, &report), (1, 1));
    }
}

#[test]
fn refused_recipients_are_not_expected_to_arrive() {
    let mut sink =
        sink("[[rule]]\nstage = \"rcpt\"\nrecipient = \"r1@*\"\nreply = \"550 5.1.1 No such user\"\n");
    let plan = Plan { recipients: 3, ..plan() };
    let report = send(source_settings(&sink, plan.clone(), 100));
    let counters = sink.counters().deliveries.load(std::sync::atomic::Ordering::Relaxed);
    stop(&mut sink);
    let account = Account::settle(&plan, &report.acknowledged, sink.ledgers());
    assert_eq!((account.acknowledged, account.delivered, account.lost), (200, 200, 0));
    assert_eq!(counters, 200);
}

#[test]
fn large_messages_arrive_whole() {
    let mut sink = sink("");
    let plan = Plan { sizes: "3m".parse().expect("a size"), ..plan() };
    let report = send(SourceSettings { sessions: 4, ..source_settings(&sink, plan.clone(), 8) });
    let sink_report = stop(&mut sink);
    let figures = sink.figures(&sink_report);
    assert_eq!((figures.messages, figures.damaged, figures.bytes), (8, 0, 8 * 3 * 1024 * 1024));
    assert_eq!(delivered(&sink, &plan, &report), (1, 1));
}

#[test]
fn a_second_sink_on_the_same_port_is_refused() {
    let first = sink("");
    let listen = first.addresses().to_vec();
    let Err(error) = Sink::start(SinkSettings { listen, ..SinkSettings::default() }) else {
        panic!("two sinks on one port")
    };
    assert!(error.to_string().contains("cannot listen"), "{error}");
}

/// A port that nobody uses now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

fn loadgen(arguments: &str) -> (Option<i32>, serde_json::Value) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringpost-loadgen"))
        .args(arguments.split_whitespace())
        .output()
        .expect("the program starts");
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

#[test]
fn a_run_passes_only_if_everything_arrives() {
    // The sink itself stands in for a relay that loses nothing, and another one for a relay that loses everything.
    let port = free_port();
    let traffic = "--messages 400 --sessions 5 --json";
    let (status, report) =
        loadgen(&format!("run --target 127.0.0.1:{port} --sink 127.0.0.1:{port} {traffic}"));
    assert_eq!(status, Some(0), "{report}");
    assert_eq!(report["account"]["delivered"], 400);

    let hole = free_port();
    let relay =
        format!("{} sink --listen {{target_host}}:{{target_port}}", env!("CARGO_BIN_EXE_ringpost-loadgen"));
    let (status, report) =
        loadgen(&format!("run --target 127.0.0.1:{hole} --deadline 2 {traffic} -- {relay}"));
    assert_eq!(status, Some(1), "{report}");
    assert_eq!(report["account"]["lost"], 400);
    assert!(report["relay_cpu_us_per_message"].as_f64().is_some() && report["messages_per_commit"].is_null());
}

#[test]
fn torture_finds_out_a_relay_that_loses_mail() {
    let port = free_port();
    let relay =
        format!("{} sink --listen {{target_host}}:{{target_port}}", env!("CARGO_BIN_EXE_ringpost-loadgen"));
    let (status, report) = loadgen(&format!(
        "torture --target 127.0.0.1:{port} --kills 4 --life-min 50 --life-max 150 --seed 9 --sessions 5 --deadline 1 \
         --json -- {relay}"
    ));
    assert_eq!(status, Some(1), "{report}");
    assert_eq!((&report["kills"], &report["seed"]), (&4.into(), &9.into()));
    assert!(report["account"]["lost"].as_u64() > Some(0) && report["repeat"].as_str().is_some());
}

#[test]
fn wrong_command_lines_end_with_64() {
    for arguments in [
        "source",
        "source --target nowhere",
        "source --target 127.0.0.1:1 --size x",
        "source --target 127.0.0.1:1 --rate 0",
        "source --target 127.0.0.1:1 --recipients 2 --recipient-template a@b.example",
        "torture",
    ] {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_ringpost-loadgen"))
            .args(arguments.split_whitespace())
            .stderr(std::process::Stdio::null())
            .status()
            .expect("the program starts");
        assert_eq!(status.code(), Some(64), "{arguments}");
    }
}
