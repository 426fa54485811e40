//! A destination's limit over a longer time: two shards that both have mail for it keep it busy with as many deliveries
//! as it may have, and never with one more.
//!
//! `RINGPOST_LIMIT_SECONDS` (20) says for how long. It is not among the usual tests:
//! `cargo test -p ringpost-tests --test destination_limit -- --ignored --nocapture`

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringpost_tests::client::message_content;
use ringpost_tests::random::Random;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Engine, EngineSetup, Sink, wait};

const LIMIT: usize = 20;

/// How long the sink thinks about a message, ms. Between two messages a connection is in no transaction for the
/// millisecond of a round trip, and with twenty connections twenty such gaps fall into one thought: that is why it is long.
const THOUGHT_MS: (u64, u64) = (500, 1500);

/// Client sessions; enough that both shards get some.
const SESSIONS: usize = 16;

/// Transactions at the sink over time, exactly: the clock is read at every change.
struct Occupancy {
    open: usize,
    most: usize,
    begun: usize,
    /// Messages after whose beginning no more is measured: there is no work for all connections any longer.
    begun_last: usize,
    changed_at: Instant,
    /// Since the limit was first reached.
    watched: Option<Duration>,
    at_limit: Duration,
    random: Random,
}

impl Occupancy {
    fn change(&mut self, open: usize) {
        let now = Instant::now();
        let elapsed = now - self.changed_at;
        if let Some(watched) = &mut self.watched
            && self.begun < self.begun_last
        {
            *watched += elapsed;
            self.at_limit += if self.open == LIMIT { elapsed } else { Duration::ZERO };
        }
        self.begun += usize::from(open > self.open);
        (self.open, self.changed_at) = (open, now);
        self.most = self.most.max(open);
        if open == LIMIT {
            self.watched.get_or_insert_default();
        }
    }
}

fn locked(occupancy: &Mutex<Occupancy>) -> MutexGuard<'_, Occupancy> {
    occupancy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink that thinks about each message.
fn thoughtful_sink(setup: &EngineSetup, occupancy: &Arc<Mutex<Occupancy>>) -> Sink {
    let occupancy = Arc::clone(occupancy);
    Sink::scripted(setup.sink_address(), move |stage| {
        match stage {
            Stage::Mail(_) => {
                let mut occupancy = locked(&occupancy);
                let open = occupancy.open + 1;
                occupancy.change(open);
            }
            Stage::EndOfData(_) => {
                let thought = locked(&occupancy).random.between(THOUGHT_MS.0, THOUGHT_MS.1);
                thread::sleep(Duration::from_millis(thought));
                // Before the answer: when the relay has that, it may begin the next.
                let mut occupancy = locked(&occupancy);
                let open = occupancy.open - 1;
                occupancy.change(open);
            }
            _ => {}
        }
        Answer::Usual
    })
}

fn send(engine: &Engine, count: usize) {
    let sessions: Vec<_> = (0..SESSIONS).map(|_| engine.client()).collect();
    thread::scope(|scope| {
        for (session, mut client) in sessions.into_iter().enumerate() {
            scope.spawn(move || {
                for number in (session..count).step_by(SESSIONS) {
                    let content = message_content(&format!("m-{number}"), 500);
                    client.message("a@client.test", &["b@sink.test"], &content);
                }
                client.quit();
            });
        }
    });
}

#[test]
#[ignore = "takes RINGPOST_LIMIT_SECONDS, 20 if that is not set"]
fn two_shards_keep_a_destination_at_its_limit_and_never_above_it() {
    let seconds = std::env::var("RINGPOST_LIMIT_SECONDS").map_or(20, |text| {
        text.parse::<usize>()
            .unwrap_or_else(|_| panic!("RINGPOST_LIMIT_SECONDS wants a number, not {text:?}"))
    });
    // The mean thought is a second: so many messages last that long.
    let messages = LIMIT * (seconds + 2);
    let occupancy = Arc::new(Mutex::new(Occupancy {
        open: 0,
        most: 0,
        begun: 0,
        begun_last: messages - 2 * LIMIT,
        changed_at: Instant::now(),
        watched: None,
        at_limit: Duration::ZERO,
        random: Random::new(1),
    }));
    let setup = EngineSetup::new("destination-limit")
        .parameter("ringpost_shards", "2")
        .parameter("initial_destination_concurrency", &LIMIT.to_string())
        .parameter("default_destination_concurrency_limit", &LIMIT.to_string());
    let sink = thoughtful_sink(&setup, &occupancy);
    let engine = setup.start();
    send(&engine, messages);
    let patience = Duration::from_secs(2 * seconds as u64) + wait::PATIENCE;
    wait::until_within(patience, "all messages are taken", || (sink.count() == messages).then_some(()));
    engine.stop();
    let occupancy = locked(&occupancy);
    let watched = occupancy.watched.expect("the limit is reached");
    let share = occupancy.at_limit.as_secs_f64() / watched.as_secs_f64();
    println!(
        "{messages} messages, at most {} at once; at the limit for {:.1} of {:.1} s, {:.1}%",
        occupancy.most,
        occupancy.at_limit.as_secs_f64(),
        watched.as_secs_f64(),
        share * 100.0
    );
    assert_eq!(occupancy.most, LIMIT, "the limit is reached and never exceeded");
    assert!(share >= 0.95, "at the limit for {:.1}% of the time", share * 100.0);
}
