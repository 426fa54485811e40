//! hand_over: an idle connection goes to the delivery that needs it, on this shard or another.
//!
//! Who is about to open a connection looks at the [board](super::idle_board::IdleBoard) first, which costs a load for
//! each other shard, once for the destination and once for each server; the shards that show an idle connection in the
//! bucket are asked for it, one after the other. So there are questions at most for each connection that would
//! otherwise be opened, none for a delivery on a connection at hand, and none at all in an engine with one shard. Only
//! what is [at rest](super::idle::AT_REST) goes to another shard: mail that keeps both shards busy leaves each its own
//! connections. The window is not touched, because an idle connection holds no slot, and who asks has one.
//!
//! Receives: questions and answers of other shards, from `mesh`.
//! Sends:    the same; whole connections with what their session has learned, boxed.
//! Owns:     the questions that wait for their answer, at most one for each delivery.
//! Limits:   [`ANSWER_WAIT`].
//! On failure: no answer in time, or a full ring: the asker opens a connection. One that comes too late is told QUIT.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use ringpost_core::qmgr::{SiteHandle, SiteNames};
use ringpost_reactor::local::{OneshotReceiver, OneshotSender, oneshot};

use super::connection::{CarriedConnection, Connection};
use super::endpoint::ServerEndpoint;
use super::idle_board::Bucket;
use super::quit;
use crate::mesh::MeshMessage;
use crate::shard::Shard;

/// How long answers are waited for, those of all shards together: many turns of a busy shard, and no more than a
/// connection to a distant server takes.
const ANSWER_WAIT: Duration = Duration::from_millis(100);

/// What a connection is wanted for.
#[derive(Clone)]
pub enum Wanted {
    /// Mail for this destination.
    Site(SiteNames),
    /// Mail that goes to this server.
    Endpoint(Arc<ServerEndpoint>),
}

/// The questions of one shard.
#[derive(Default)]
pub struct Questions {
    last: Cell<u32>,
    open: RefCell<HashMap<u32, OneshotSender<CarriedConnection>, foldhash::fast::RandomState>>,
}

/// A question that waits for its answer, until it is dropped.
struct Question<'a> {
    questions: &'a Questions,
    ticket: u32,
}

impl Questions {
    fn ask(&self) -> (Question<'_>, OneshotReceiver<CarriedConnection>) {
        let ticket = self.last.get().wrapping_add(1);
        self.last.set(ticket);
        let (sender, answer) = oneshot();
        self.open.borrow_mut().insert(ticket, sender);
        (Question { questions: self, ticket }, answer)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.open.borrow_mut().remove(&self.ticket);
    }
}

/// A connection of the site that another shard has to spare. It has rested.
pub async fn of_site(shard: &Rc<Shard>, site: SiteHandle, bucket: Option<Bucket>) -> Option<Connection> {
    from_others(shard, bucket?, || shard.qmgr.site_names(site).map(Wanted::Site)).await
}

/// A connection to this server that another site, here or on another shard, has to spare. It has rested.
pub async fn to_server(shard: &Rc<Shard>, endpoint: &Arc<ServerEndpoint>) -> Option<Connection> {
    if let Some(lent) = shard.transport.idle.borrow(endpoint)
        && let Ok(connection) = lent.await
    {
        return Some(connection);
    }
    let bucket = Bucket::of_endpoint(endpoint);
    from_others(shard, bucket, || Some(Wanted::Endpoint(Arc::clone(endpoint)))).await
}

async fn from_others(
    shard: &Rc<Shard>,
    bucket: Bucket,
    wanted: impl FnOnce() -> Option<Wanted>,
) -> Option<Connection> {
    let mut others = shard.transport.idle.board()?.others(shard.index, bucket).peekable();
    others.peek()?;
    let wanted = wanted()?;
    let ask_all = async {
        for other in others {
            if let Some(connection) = ask(shard, other, &wanted).await {
                return Some(connection);
            }
        }
        None
    };
    shard.handle.timeout(ANSWER_WAIT, ask_all).await.ok().flatten()
}

async fn ask(shard: &Rc<Shard>, other: usize, wanted: &Wanted) -> Option<Connection> {
    let (question, answer) = shard.transport.questions.ask();
    let message = MeshMessage::ConnectionWanted { ticket: question.ticket, wanted: Box::new(wanted.clone()) };
    shard.mesh.borrow_mut().try_send(other, message).ok()?;
    let carried = answer.await.ok()?;
    Some(Connection::adopt(shard, carried))
}

/// Another shard asks for a connection.
pub fn connection_wanted(shard: &Rc<Shard>, from: usize, ticket: u32, wanted: &Wanted) {
    let (idle, now) = (&shard.transport.idle, shard.handle.now());
    let goes = !shard.drain.begun()
        && match wanted {
            Wanted::Site(names) => {
                idle.hand_over_of(|known| shard.qmgr.is_site(known, names), now, from, ticket)
            }
            Wanted::Endpoint(endpoint) => idle.hand_over_to(endpoint, now, from, ticket),
        };
    if !goes {
        answer(shard, from, ticket, None);
    }
}

/// The task of a connection that is to go to another shard ends with this.
pub async fn hand_over(shard: &Rc<Shard>, connection: Connection, to: usize, ticket: u32) {
    let carried = connection.carry(shard.generation).await;
    answer(shard, to, ticket, carried);
}

fn answer(shard: &Rc<Shard>, to: usize, ticket: u32, connection: Option<Box<CarriedConnection>>) {
    let is_some = connection.is_some();
    let answer = MeshMessage::Connection { ticket, connection };
    let sent = shard.mesh.borrow_mut().try_send(to, answer);
    match sent {
        Ok(()) if is_some => shard.counters.connections_handed_over.one(),
        Err(MeshMessage::Connection { connection: Some(carried), .. }) => {
            quit(shard, Some(Connection::adopt(shard, *carried)));
        }
        Ok(()) | Err(_) => {}
    }
}

/// An answer has come.
pub fn connection_answered(shard: &Rc<Shard>, ticket: u32, connection: Option<CarriedConnection>) {
    let asker = shard.transport.questions.open.borrow_mut().remove(&ticket);
    // Without a connection the asker only hears that nobody will answer. One that was made under other settings, while a
    // reload goes from shard to shard, is none.
    let Some(connection) = connection else { return };
    if connection.generation != shard.generation {
        return quit(shard, Some(Connection::adopt(shard, connection)));
    }
    let late = match asker {
        Some(asker) => asker.send(connection).err(),
        None => Some(connection),
    };
    if let Some(late) = late {
        quit(shard, Some(Connection::adopt(shard, late)));
    }
}
