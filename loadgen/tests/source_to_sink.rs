//! A source sends straight to a sink: what was acknowledged and what was accepted must agree, and dishonest sinks must
//! be found out.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
