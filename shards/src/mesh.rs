//! mesh: what shards say to each other, and what the main thread says to them.
//!
//! Receives: messages of the other shards and of the control thread, one bounded SPSC ring per ordered pair.
//! Sends:    the same. A full ring never blocks: `try_send` gives the message back and the sender keeps its state.
//! Owns:     the rings' ends of one shard, and the padded load counters that all shards read.
//! Limits:   [`MESH_RING_CAPACITY`] messages a ring; fixed-size messages, no allocation to send one.
//! On failure: a full ring means the session stays where it was accepted; control requests are said again.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;

use crossbeam_utils::CachePadded;
use ringpost_core::anvil::{ClientCounts, ClientNews, PeakReport};
use ringpost_core::qmgr::SlotMessage;
use ringpost_core::verify::Verified;
use ringpost_reactor::PassedStream;
use ringpost_reactor::ring::{self, Full, Receiver, Sender};

use crate::control::Ask;
use crate::counters::ShardFigures;
use crate::shard::{Lasting, Shard, Step};
use crate::smtp::{self, CarriedConnection, Wanted};
use crate::{anvil, flush, listener, qmgr, verify};

/// Messages that one ring between two shards holds. A hand-over burst larger than this stays on the accepting
/// shard, so the figure only has to cover what arrives during one turn of the target.
pub const MESH_RING_CAPACITY: usize = 1024;
/// Control messages that wait for one shard: those who send them wait for answers, and try again when it is full.
pub const CONTROL_RING_CAPACITY: usize = 16;

/// Everything one shard may say to another.
pub enum MeshMessage {
    /// smtpd's listener → the least busy shard: a fresh client, before its banner. The receiver owns the stream;
    /// when the ring is full the sender keeps the client.
    Session {
        /// Where it was accepted: names the service in every generation of settings.
        address: SocketAddr,
        /// The connection, nothing read from it yet.
        stream: PassedStream,
    },
    /// smtpd → the client's home (anvil): what one client did here. When the ring is full the sender keeps it, and its
    /// next news contains it.
    ClientEvent {
        /// What happened since the last news, and what is open now.
        news: ClientNews,
        /// The sender's number for its question; 0 if it asks nothing.
        question: u32,
    },
    /// A client's home → who asked. When the ring is full it is lost, and the session that waits for it goes on after
    /// a while.
    ClientCounts {
        /// The number in [`MeshMessage::ClientEvent`].
        question: u32,
        /// `None` when the home does not count the client.
        counts: Option<ClientCounts>,
    },
    /// A home (anvil) → the shard that logs statistics. When the ring is full the sender keeps it for the next time.
    ClientPeak(PeakReport),
    /// The same at the stop: that were all. Said again until it is heard, for a while.
    PeaksTold,
    /// flush → every other shard: try the mail for this domain of `fast_flush_domains` now. Said again until it is
    /// heard.
    FlushSite {
        /// In lower case.
        domain: Arc<str>,
    },
    /// A queue manager ↔ another: destinations' windows. The sender's scheduler keeps what a full ring does not take,
    /// as a level or a count, and says it again.
    Slots(SlotMessage),
    /// smtp, which has a delivery and no connection → a shard that has idle ones: please hand one over. When the ring is
    /// full the sender asks the next, or opens its own.
    ConnectionWanted {
        /// The sender's number for its question.
        ticket: u32,
        /// The destination, or the server.
        wanted: Box<Wanted>,
    },
    /// The answer. The receiver owns the connection; when the ring is full the sender says QUIT on it, and who asked
    /// goes on without after a while.
    Connection {
        /// The number in [`MeshMessage::ConnectionWanted`].
        ticket: u32,
        /// `None` when there is none to spare.
        connection: Option<Box<CarriedConnection>>,
    },
    /// smtpd → an address's home (verify): send a probe. When the ring is full the session asks again after a while.
    ProbeWanted {
        /// The address, its domain in lower case.
        address: Box<str>,
        /// The sender's number for its question; 0 if it does not wait.
        question: u32,
    },
    /// The home → who asked. When the ring is full it is lost, and who asked looks into the table after a while.
    ProbeAnswer {
        /// The number in [`MeshMessage::ProbeWanted`].
        question: u32,
        /// What was found out.
        verified: Box<Verified>,
    },
    /// Who delivered a probe → the address's home. When the ring is full it is lost: what was found out is in the table.
    ProbeEnded {
        /// The address.
        address: Box<str>,
        /// What was found out.
        verified: Box<Verified>,
    },
}

/// What the control thread may say to a shard.
pub enum Control {
    /// All shards have started: accept and deliver.
    Go,
    /// SIGTERM: no new sessions, running transactions finish, then close the spool and end.
    Drain {
        /// The signal's number, for the log.
        signal: i32,
    },
    /// SIGUSR1: report the figures. The channel has room for one answer of every shard.
    Figures(SyncSender<ShardFigures>),
    /// A reload goes on; see [`Step`].
    Reload(Box<Step>),
    /// A control session wants to know or to change something; one answer comes back over the channel in it.
    Ask(Box<Ask>),
}

/// Sessions open on each shard, one padded counter each: written by its shard, read by all when they accept.
pub struct Loads(Vec<CachePadded<AtomicU32>>);

impl Loads {
    /// Counters for `shards` shards, all zero.
    pub fn new(shards: usize) -> Arc<Loads> {
        Arc::new(Loads((0..shards).map(|_| CachePadded::new(AtomicU32::new(0))).collect()))
    }

    /// One session more on `shard`. Counted where the choice is made, so that a burst spreads before it arrives.
    pub fn opened(&self, shard: usize) {
        // Relaxed: a statistic that steers, no data is published by it.
        self.0[shard].fetch_add(1, Ordering::Relaxed);
    }

    /// One session less on `shard`.
    pub fn closed(&self, shard: usize) {
        self.0[shard].fetch_sub(1, Ordering::Relaxed);
    }

    /// Sessions open on `shard` now.
    pub fn sessions(&self, shard: usize) -> u32 {
        self.0[shard].load(Ordering::Relaxed)
    }

    /// The shard a fresh client accepted on `here` should live on: `here`, unless another is clearly less busy
    /// (by more than two sessions and a sixteenth), since a hand-over costs a ring message and a wake-up.
    pub fn place_for_client(&self, here: usize) -> usize {
        let mine = self.sessions(here);
        let (least, sessions) = (0..self.0.len())
            .map(|shard| (shard, self.sessions(shard)))
            .min_by_key(|&(_, sessions)| sessions)
            .unwrap_or((here, mine));
        if mine >= sessions + 2 + sessions / 16 { least } else { here }
    }
}

/// One shard's sending ends, by the target's index; none to itself.
pub struct MeshSenders(pub Vec<Option<Sender<MeshMessage>>>);

impl MeshSenders {
    /// Hands a message to `shard`, or gives it back when the ring is full or `shard` is this one.
    pub fn try_send(&mut self, shard: usize, message: MeshMessage) -> Result<(), MeshMessage> {
        match &mut self.0[shard] {
            Some(ring) => ring.try_send(message).map_err(|Full(message)| message),
            None => Err(message),
        }
    }
}

/// One shard's ends of all rings.
pub struct MeshEnds {
    /// To the other shards.
    pub to: MeshSenders,
    /// From the other shards, each with its sender's index.
    pub from: Vec<(usize, Receiver<MeshMessage>)>,
    /// The control thread's ring to this shard.
    pub control: Receiver<Control>,
}

/// The rings between `shards` shards: the ends of each, with the control thread's sender to it.
pub fn rings(shards: usize) -> Vec<(MeshEnds, Sender<Control>)> {
    let mut ends: Vec<(MeshEnds, Sender<Control>)> = (0..shards)
        .map(|_| {
            let (sender, control) = ring::spsc(CONTROL_RING_CAPACITY);
            (MeshEnds { to: MeshSenders(Vec::new()), from: Vec::new(), control }, sender)
        })
        .collect();
    for from in 0..shards {
        for to in 0..shards {
            let ring = (from != to).then(|| ring::spsc(MESH_RING_CAPACITY));
            let (sender, receiver) = ring.unzip();
            ends[from].0.to.0.push(sender);
            ends[to].0.from.extend(receiver.map(|receiver| (from, receiver)));
        }
    }
    ends
}

/// Takes the messages of the shard `from` as long as there are shards: all that wait, then what follows from them,
/// then sleep.
pub async fn hear(lasting: Rc<Lasting>, from: usize, mut receiver: Receiver<MeshMessage>) {
    while let Some(message) = receiver.recv().await {
        let shard = lasting.newest();
        take(&shard, from, message);
        while let Some(message) = receiver.try_recv() {
            take(&shard, from, message);
        }
        qmgr::heard(&shard);
    }
}

fn take(shard: &Rc<Shard>, from: usize, message: MeshMessage) {
    match message {
        MeshMessage::Session { address, stream } => {
            listener::begin(shard.lasting(), address, shard.handle.adopt(stream));
        }
        MeshMessage::ClientEvent { news, question } => anvil::heard(shard, from, &news, question),
        MeshMessage::ClientCounts { question, counts } => anvil::answered(shard, question, counts),
        MeshMessage::ClientPeak(report) => anvil::peak_told(shard, report),
        MeshMessage::PeaksTold => anvil::shard_done(shard),
        MeshMessage::FlushSite { domain } => flush::site_here(shard, &domain),
        MeshMessage::Slots(message) => qmgr::hear_slots(shard, from, message),
        MeshMessage::ConnectionWanted { ticket, wanted } => {
            smtp::connection_wanted(shard, from, ticket, &wanted);
        }
        MeshMessage::Connection { ticket, connection } => {
            smtp::connection_answered(shard, ticket, connection.map(|boxed| *boxed));
        }
        MeshMessage::ProbeWanted { address, question } => verify::wanted(shard, from, address, question),
        MeshMessage::ProbeAnswer { question, verified } => verify::answered(shard, question, *verified),
        MeshMessage::ProbeEnded { address, verified } => verify::heard(shard, &address, &verified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_stays_unless_another_shard_is_clearly_less_busy() {
        let loads = Loads::new(2);
        assert_eq!(loads.place_for_client(0), 0);
        loads.opened(0);
        assert_eq!(loads.place_for_client(0), 0);
        loads.opened(0);
        assert_eq!(loads.place_for_client(0), 1);
        loads.opened(1);
        assert_eq!(loads.place_for_client(0), 0);
        loads.closed(1);
        assert_eq!(loads.place_for_client(0), 1);
    }
}
