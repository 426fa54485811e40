//! Kills and stops while mail comes in and goes out: whatever was acknowledged is delivered, bounced or still queued.
//!
//! `RINGPOST_TORTURE_SEED` repeats a run's choices; `RINGPOST_TORTURE_KILLS` asks for more kills.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringpost_tests::load::{Load, Plan};
use ringpost_tests::random::Random;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{EngineSetup, Ledger, Sink, wait};

/// Enough sessions that every kill hits some between the dot and the 250.
const SESSIONS: usize = 24;

fn setup(name: &str) -> EngineSetup {
    EngineSetup::new(name).parameter("minimal_backoff_time", "1s").parameter("queue_run_delay", "1s")
}

/// Takes most mail, defers each tenth message at first, and refuses `no@sink.test` for good.
fn moody_sink(setup: &EngineSetup) -> Sink {
    let deferred: Mutex<HashSet<String>> = Mutex::default();
    let deferred = Arc::new(deferred);
    Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("no@sink.test") => Answer::say("550 5.1.1 no such user"),
        Stage::EndOfData(message) => {
            let track = message.track().unwrap_or_default();
            let mut deferred = deferred.lock().unwrap_or_else(PoisonError::into_inner);
            if track.ends_with('7') && deferred.insert(track) {
                Answer::say("451 4.3.0 later")
            } else {
                Answer::Usual
            }
        }
        _ => Answer::Usual,
    })
}

/// Waits until everything acknowledged has come out, and returns how many copies too many came.
fn settle_books(ledger: &mut Ledger, sink: &Sink) -> usize {
    let mut seen = 0;
    wait::until_within(Duration::from_secs(180), "every acknowledged message comes out", || {
        let messages = sink.messages();
        for message in &messages[seen..] {
            ledger.deliver(message);
        }
        seen = messages.len();
        ledger.lost().is_empty().then_some(())
    });
    ledger.repeated().iter().map(|(_, count)| count - 1).sum()
}

#[test]
fn nothing_acknowledged_is_lost_to_kills_at_random_moments() {
    let seed = Random::seed_from("RINGPOST_TORTURE_SEED");
    println!("RINGPOST_TORTURE_SEED={seed} repeats these choices");
    let mut random = Random::new(seed);
    let kills = std::env::var("RINGPOST_TORTURE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let setup = setup("torture");
    let sink = moody_sink(&setup);
    let mut ledger = Ledger::default();
    for round in 0..kills {
        let engine = setup.start();
        let plan = Plan {
            bytes: (200, 20_000),
            recipient: |session| if session % 8 == 3 { "no@sink.test" } else { "yes@sink.test" },
            ..Plan::new(&format!("round{round}"), SESSIONS, usize::MAX)
        };
        let load = Load::start(setup.address(), &plan);
        load.wait_for(random.between(20, 400) as usize);
        // The moment is the random choice; nothing waits for this pause.
        std::thread::sleep(Duration::from_micros(random.between(0, 20_000)));
        engine.kill();
        for message in load.finish() {
            ledger.acknowledge(message.track);
        }
        if round % 3 == 1 {
            // And once more while it recovers.
            let mut starting = setup.command().stderr(Stdio::null()).spawn().expect("the binary can be run");
            std::thread::sleep(Duration::from_micros(random.between(0, 60_000)));
            starting.kill().expect("a child that was not waited for can be killed");
            starting.wait().expect("a started child can be waited for");
        }
    }
    let engine = setup.start();
    let repeated = settle_books(&mut ledger, &sink);
    println!("{kills} kills: {} acknowledged, none lost, {repeated} copies too many", ledger.acknowledged());
    assert_eq!(ledger.lost(), [""; 0], "seed {seed}");
    engine.stop();
}

#[test]
fn a_stop_in_the_middle_of_the_work_loses_and_repeats_nothing() {
    let setup = setup("stopped");
    let sink = Sink::counting(setup.sink_address());
    let mut ledger = Ledger::default();
    for round in 0..3 {
        let engine = setup.start();
        let plan = Plan::new(&format!("stop{round}"), SESSIONS, usize::MAX);
        let load = Load::start(setup.address(), &plan);
        load.wait_for(200);
        engine.stop();
        for message in load.finish() {
            ledger.acknowledge(message.track);
        }
    }
    let engine = setup.start();
    let repeated = settle_books(&mut ledger, &sink);
    assert_eq!(ledger.lost(), [""; 0]);
    assert_eq!(repeated, 0, "a stop waits for the deliveries that are running: {:?}", ledger.repeated());
    engine.stop();
}

#[test]
fn a_queue_for_a_dead_destination_outlives_kills_and_stops_in_turn() {
    let setup = setup("dead-destination");
    let mut ledger = Ledger::default();
    for round in 0..4 {
        let engine = setup.start();
        let plan = Plan::new(&format!("dead{round}"), SESSIONS, usize::MAX);
        let load = Load::start(setup.address(), &plan);
        load.wait_for(150);
        if round % 2 == 0 {
            engine.kill();
        } else {
            engine.stop();
        }
        for message in load.finish() {
            ledger.acknowledge(message.track);
        }
    }
    let sink = Sink::counting(setup.sink_address());
    let engine = setup.start();
    settle_books(&mut ledger, &sink);
    assert_eq!(ledger.lost(), [""; 0]);
    engine.stop();
}
