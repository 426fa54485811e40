//! desk: where lookups wait for a table that blocks.
//!
//! Receives: keys from tasks of any shard. Sends: answers, which wake the task from the helper's thread.
//! Owns:     the helper threads of one table, each with one [`Backend`](crate::remote::Backend).
//! Limits:   [`WAITING_MAX`] lookups wait; threads are [`Connector::connections_max`], started when there is work, ended
//!           after a minute without.
//! On failure: a lookup that finds the queue full, or waited longer than [`WAIT_MAX`] for a thread, is trouble.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ringpost_core::lookup::{Found, LookupTrouble};

use crate::remote::Connector;

/// Lookups that may wait for a thread: some seconds of a server that answers a few hundred a second.
pub const WAITING_MAX: usize = 1000;
/// A lookup that has not reached a thread by then is trouble; its client would soon give up.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// A thread without work ends after this, and its connection with it (Postfix's `ipc_idle` for its own services).
const IDLE: Duration = Duration::from_secs(60);
/// Helper threads need little stack of their own; client libraries want some.
const STACK_BYTES: usize = 1 << 20;

/// The desk of one table; its threads end with it.
#[derive(Debug)]
pub struct Desk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Box<str>,
    connector: Connector,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    key: Box<str>,
    asked: Instant,
    slip: Arc<Slip>,
}

/// Where the answer to one lookup is put.
#[derive(Debug, Default)]
struct Slip(Mutex<SlipState>);

#[derive(Debug, Default)]
enum SlipState {
    #[default]
    Asked,
    Awaited(Waker),
    Answered(Found),
    /// Nobody waits any more.
    GivenUp,
}

impl Slip {
    fn state(&self) -> MutexGuard<'_, SlipState> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn answer(&self, found: Found) {
        let mut state = self.state();
        match std::mem::replace(&mut *state, SlipState::Answered(found)) {
            SlipState::Awaited(waker) => {
                drop(state);
                waker.wake();
            }
            SlipState::GivenUp => *state = SlipState::GivenUp,
            SlipState::Asked | SlipState::Answered(_) => {}
        }
    }
}

/// Tells the threads that nobody waits for this answer any more.
struct GiveUp<'a>(&'a Slip);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        *self.0.state() = SlipState::GivenUp;
    }
}

impl Desk {
    /// A desk for the table `name`; no thread is started yet.
    pub fn new(name: &str, connector: Connector) -> Desk {
        let state = Mutex::new(State::default());
        Desk { shared: Arc::new(Shared { name: name.into(), connector, state, work: Condvar::new() }) }
    }

    /// What the table holds for `key`. Whoever drops this future gives the lookup up, not the connection.
    pub async fn ask(&self, key: &str) -> Found {
        let slip = Arc::new(Slip::default());
        self.shared.submit(Job { key: key.into(), asked: Instant::now(), slip: slip.clone() })?;
        let _guard = GiveUp(&slip);
        poll_fn(|context| {
            let mut state = slip.state();
            match std::mem::replace(&mut *state, SlipState::Awaited(context.waker().clone())) {
                SlipState::Answered(found) => Poll::Ready(found),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.work.notify_all();
        for job in waiting {
            job.slip.answer(Err(self.shared.trouble("the table was closed")));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn trouble(&self, reason: &str) -> LookupTrouble {
        LookupTrouble { table: self.name.clone(), reason: reason.into() }
    }

    fn submit(self: &Arc<Self>, job: Job) -> Result<(), LookupTrouble> {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX {
            return Err(self.trouble("too many lookups wait for it"));
        }
        state.waiting.push_back(job);
        if state.idle < state.waiting.len() && state.threads < self.connector.connections_max.max(1) {
            state.threads += 1;
            let shared = self.clone();
            let thread = std::thread::Builder::new().name("table".into()).stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn(move || shared.work()) {
                state.threads -= 1;
                if state.threads == 0 {
                    state.waiting.pop_back();
                    return Err(self.trouble(&format!("cannot start a thread: {error}")));
                }
            }
        }
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// The life of a helper thread.
    fn work(&self) {
        let mut backend = (self.connector.connect)();
        while let Some(job) = self.next_job() {
            if matches!(*job.slip.state(), SlipState::GivenUp) {
                continue;
            }
            let found = match job.asked.elapsed() > WAIT_MAX {
                true => Err(self.trouble("the lookup waited too long for a connection")),
                false => backend.lookup(&job.key),
            };
            job.slip.answer(found);
        }
    }

    /// The next lookup; `None` when the thread is to end, which it has then been counted for.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.state();
        state.idle += 1;
        let begun = Instant::now();
        let job = loop {
            if let Some(job) = state.waiting.pop_front() {
                break Some(job);
            }
            let left = IDLE.saturating_sub(begun.elapsed());
            if state.closed || left.is_zero() {
                break None;
            }
            state = self.work.wait_timeout(state, left).expect("no holder of this lock panics").0;
        };
        state.idle -= 1;
        if job.is_none() {
            state.threads -= 1;
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Backend;
    use ringpost_core::lookup::at_once;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::{Context, Wake};

    /// Answers each lookup with what the test says.
    struct Told(Arc<Mutex<Receiver<Found>>>);

    impl Backend for Told {
        fn lookup(&mut self, _key: &str) -> Found {
            self.0.lock().unwrap().recv().unwrap_or(Ok(None))
        }
    }

    fn desk(connections_max: usize) -> (Desk, Sender<Found>) {
        let (say, answers) = channel();
        let answers = Arc::new(Mutex::new(answers));
        let connect = Box::new(move || Box::new(Told(answers.clone())) as Box<dyn Backend>);
        (Desk::new("test:desk", Connector { connections_max, connect }), say)
    }

    struct Unpark(std::thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    #[test]
    fn an_answer_wakes_the_asker() {
        let (desk, say) = desk(1);
        let mut lookup = Box::pin(desk.ask("key"));
        assert_eq!(at_once(lookup.as_mut()), None);
        say.send(Ok(Some("value".into()))).unwrap();
        assert_eq!(block_on(lookup).unwrap().as_deref(), Some("value"));
    }

    #[test]
    fn a_server_that_hangs_makes_trouble_not_a_queue_without_end() {
        let (desk, say) = desk(2);
        let mut lookups: Vec<_> = (0..WAITING_MAX + 3).map(|_| Box::pin(desk.ask("key"))).collect();
        let refused = lookups.iter_mut().filter_map(|lookup| at_once(lookup.as_mut())).count();
        assert!((1..=3).contains(&refused), "{refused} were refused");
        drop(lookups);
        drop(say);
    }

    #[test]
    fn closing_answers_those_that_wait() {
        let (desk, say) = desk(1);
        let first = desk.shared.clone();
        let slips: Vec<_> = (0..3)
            .map(|_| {
                let slip = Arc::new(Slip::default());
                let job = Job { key: "k".into(), asked: Instant::now(), slip: slip.clone() };
                first.submit(job).unwrap();
                slip
            })
            .collect();
        drop(desk);
        drop(say);
        assert!(slips[1..].iter().any(|slip| matches!(*slip.state(), SlipState::Answered(_))));
    }
}
