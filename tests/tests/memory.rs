//! What the relay's memory costs: idle sessions, and a long queue for a destination that is dead.

use std::time::{Duration, Instant};

use ringpost_tests::load::{Load, Plan};
use ringpost_tests::{Client, Engine, EngineSetup, skip, wait};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// ringpost's promise for an idle session.
const IDLE_SESSION_BYTES_MAX: u64 = 8 << 10;
/// And for a queue of 200,000 messages while 100 sessions send.
const LONG_QUEUE_BYTES_MAX: u64 = 256 << 20;
/// And for its idle processor time, in thousandths of a core.
const IDLE_CPU_PERMILLE_MAX: u64 = 5;

/// Raises this process's limit of open files, and says whether `wanted` fit; a relay inherits it.
fn can_open(wanted: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return true;
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok()
        || limit.maximum.is_some_and(|maximum| {
            maximum >= wanted
                && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: Some(maximum) })
                    .is_ok()
        })
}

#[test]
fn an_idle_session_costs_at_most_8_kib() {
    const SESSIONS: usize = 10_000;
    if !can_open(SESSIONS as u64 + 1000) {
        skip!("this process may not open {SESSIONS} sockets");
    }
    // Each shard has its share of the limit, and sessions may lie unevenly.
    let setup = EngineSetup::new("idle-sessions").parameter("ringpost_session_limit", "30000");
    let engine = setup.start();
    // What the first sessions cost once is not what each costs.
    let mut clients: Vec<Client> = (0..100).map(|_| engine.client()).collect();
    let before = engine.process().resident_bytes();
    // Greeted and past EHLO: where a session idles in life.
    clients.extend((0..SESSIONS).map(|_| engine.client()));
    let after = engine.process().resident_bytes();
    let each = after.saturating_sub(before) / SESSIONS as u64;
    println!("an idle session costs {each} bytes; {} MiB with {} sessions", after >> 20, clients.len());
    assert!(each <= IDLE_SESSION_BYTES_MAX, "an idle session costs {each} bytes");
    // All of them are alive.
    for client in clients.iter_mut().step_by(500) {
        client.expect("NOOP", "250 2.0.0");
    }
    drop(clients);
    engine.stop();
}

/// Fills the queue of a relay whose destination is dead, over 100 sessions.
fn fill(setup: &EngineSetup, engine: &Engine, messages: usize) {
    const SESSIONS: usize = 100;
    let load = Load::start(setup.address(), &Plan::new("queued", SESSIONS, messages / SESSIONS));
    let acknowledged = load.finish();
    assert_eq!(acknowledged.len(), messages, "back-pressure may slow a client down, not turn it away");
    let peak = engine.process().resident_bytes_peak();
    println!("{messages} queued: at most {} MiB resident", peak >> 20);
    assert!(peak <= LONG_QUEUE_BYTES_MAX, "{} MiB resident", peak >> 20);
}

/// Processor time over `window`, in thousandths of a core.
fn cpu_permille(engine: &Engine, window: Duration) -> u64 {
    let (begun, before) = (Instant::now(), engine.process().cpu_us());
    // The pause is what is measured; nothing is synchronised by it.
    std::thread::sleep(window);
    (engine.process().cpu_us() - before) * 1000
        / u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn assert_idle(engine: &Engine) {
    wait::until_within(Duration::from_secs(180), "the first attempts are over", || {
        (cpu_permille(engine, Duration::from_secs(1)) <= 10).then_some(())
    });
    // The kernel counts in ticks of 10 ms: 8 s tell half a percent apart.
    let permille = cpu_permille(engine, Duration::from_secs(8));
    println!("idle: {}.{} % of a core", permille / 10, permille % 10);
    assert!(permille < IDLE_CPU_PERMILLE_MAX, "an idle relay takes {permille} ‰ of a core");
}

#[test]
fn a_queue_of_20_000_takes_little_memory_and_no_processor_time() {
    let setup = EngineSetup::new("queue-20000");
    let engine = setup.start();
    fill(&setup, &engine, 20_000);
    assert_idle(&engine);
    // Many outcomes were written; the relay still answers and takes mail.
    let load = Load::start(setup.address(), &Plan::new("after", 4, 5));
    assert_eq!(load.finish().len(), 20);
    engine.stop();
    // And the start after it does not take it all into memory either.
    let engine = setup.start();
    let peak = engine.process().resident_bytes_peak();
    assert!(peak <= LONG_QUEUE_BYTES_MAX, "{} MiB resident after the restart", peak >> 20);
    engine.stop();
}

/// cargo test --release -p ringpost-tests --test memory -- --ignored --nocapture
#[test]
#[ignore = "takes minutes and 1 GiB of disk; for an optimised build"]
fn a_queue_of_200_000_takes_at_most_256_mib() {
    let setup = EngineSetup::new("queue-200000");
    let engine = setup.start();
    fill(&setup, &engine, 200_000);
    assert_idle(&engine);
    engine.stop();
}
