//! Many sessions at once that send until they are told to stop or the relay goes away, and book what was acknowledged.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{Client, message_content};
use crate::random::Random;
use crate::wait;

/// What the sessions send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sessions at once.
    pub sessions: usize,
    /// Messages of each session; it ends earlier when told to stop or when the relay ends the connection.
    pub messages: usize,
    /// Bytes of the messages, smallest and largest; sizes lie evenly between.
    pub bytes: (usize, usize),
    /// Whether MAIL declares the size. Without it a relay asks for room for the largest message.
    pub declared: bool,
    /// Begins each tracking id; must differ between two loads of one test.
    pub name: String,
    /// The recipient of every message, or of each session's messages, chosen by its number.
    pub recipient: fn(usize) -> &'static str,
}

impl Plan {
    /// This many sessions with this many messages of 4 KiB each, to `you@sink.test`.
    pub fn new(name: &str, sessions: usize, messages: usize) -> Plan {
        Plan {
            sessions,
            messages,
            bytes: (4096, 4097),
            declared: false,
            name: name.to_owned(),
            recipient: |_| "you@sink.test",
        }
    }
}

/// A message that the relay has answered with 250.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The tracking id that it carries.
    pub track: String,
    /// The queue id of the reply.
    pub queue_id: String,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    count: AtomicUsize,
    acknowledged: Mutex<Vec<Acknowledged>>,
    refusals: Mutex<Vec<String>>,
}

/// Running sessions.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the sessions that `plan` says against the relay at `address`.
    pub fn start(address: SocketAddrV4, plan: &Plan) -> Load {
        let shared = Arc::new(Shared::default());
        let threads = (0..plan.sessions)
            .map(|session| {
                let (plan, shared) = (plan.clone(), Arc::clone(&shared));
                thread::spawn(move || {
                    let mut client = None;
                    for number in 0..plan.messages {
                        if shared.stop.load(Ordering::Acquire)
                            || !send(address, &plan, session, number, &mut client, &shared)
                        {
                            return;
                        }
                    }
                })
            })
            .collect();
        Load { shared, threads }
    }

    /// How many messages have been acknowledged so far.
    pub fn count(&self) -> usize {
        // Relaxed: a number to look at; the list is read under its lock.
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Waits until this many messages have been acknowledged.
    pub fn wait_for(&self, count: usize) {
        wait::until_within(Duration::from_secs(300), &format!("{count} messages are acknowledged"), || {
            (self.count() >= count).then_some(())
        });
    }

    /// The refusals so far, as the server said them.
    pub fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets every session finish the message that it is about, and gives what was acknowledged.
    pub fn stop(self) -> Vec<Acknowledged> {
        // Release pairs with the sessions' Acquire.
        self.shared.stop.store(true, Ordering::Release);
        self.finish()
    }

    /// Waits until all sessions have ended by themselves, and gives what was acknowledged.
    ///
    /// # Panics
    /// When a session panicked.
    pub fn finish(self) -> Vec<Acknowledged> {
        for thread in self.threads {
            thread.join().expect("a session ends without a panic");
        }
        std::mem::take(&mut *self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends one message over the kept connection; false when the relay ends the connection.
fn send(
    address: SocketAddrV4,
    plan: &Plan,
    session: usize,
    number: usize,
    client: &mut Option<Client>,
    shared: &Shared,
) -> bool {
    let track = format!("{}-{session}-{number}", plan.name);
    let (low, high) = plan.bytes;
    let seed = (session as u64) << 32 | number as u64;
    let bytes = Random::new(seed).between(low as u64, high as u64) as usize;
    if client.is_none() {
        *client = Client::try_greeted(address).ok();
    }
    let Some(open) = client else { return false };
    let recipient = (plan.recipient)(session);
    let content = message_content(&track, bytes);
    let size = if plan.declared { format!(" SIZE={}", content.len()) } else { String::new() };
    let mail = format!("MAIL FROM:<sender@client.test>{size}");
    match open.try_transaction(&mail, &[recipient], &content) {
        Ok(reply) if reply.code == 250 => {
            let queue_id = reply.queue_id().to_owned();
            let mut acknowledged = shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            acknowledged.push(Acknowledged { track, queue_id });
            shared.count.fetch_add(1, Ordering::Relaxed);
            true
        }
        Ok(reply) => {
            let mut refusals = shared.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.push(format!("{} {}", reply.code, reply.text()));
            drop(refusals);
            // A refused message leaves a transaction behind; 421 leaves no connection.
            reply.code != 421 && open.try_command("RSET").is_ok()
        }
        Err(_) => false,
    }
}
