//! hand_over: an idle connection goes to the shard that needs it.
//!
//! Who is about to open a connection looks at the [board](super::idle::IdleBoard) first, which costs a load for each
//! other shard; a shard that shows an idle connection in the site's bucket is asked for it. So there is a question
//! at most for each connection that would otherwise be opened, none for a delivery on a connection at hand, and
//! nothing at all in an engine with one shard. Only what is [at rest](super::idle::AT_REST) is handed over: mail that
//! keeps both shards busy leaves each its own connections. The window is not touched, because an idle connection holds
//! no slot, and who asks has one.
//!
//! Receives: questions and answers of other shards, from `mesh`.
//! Sends:    the same; whole connections with what their session has learned, boxed.
//! Owns:     the questions that wait for their answer, at most one for each delivery.
//! Limits:   [`ANSWER_WAIT`].
//! On failure: no answer in time, or a full ring: the asker opens a connection. One that comes too late is told QUIT.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringpost_core::qmgr::{SiteHandle, SiteNames};
use ringpost_reactor::local::{OneshotSender, oneshot};

use super::connection::{CarriedConnection, Connection};
use super::idle::Bucket;
use super::quit;
use crate::mesh::MeshMessage;
use crate::shard::Shard;

/// How long an answer is waited for: many turns of a busy shard, and no more than a connection to a distant server takes.
const ANSWER_WAIT: Duration = Duration::from_millis(100);

/// The questions of one shard.
#[derive(Default)]
pub struct Questions {
    last: Cell<u32>,
    open: RefCell<HashMap<u32, OneshotSender<CarriedConnection>, foldhash::fast::RandomState>>,
}

/// A connection of the site that another shard has to spare, and that still lives.
pub async fn from_other_shard(
    shard: &Rc<Shard>,
    site: SiteHandle,
    bucket: Option<Bucket>,
) -> Option<Connection> {
    let other = shard.transport.idle.board()?.find(shard.index, bucket?)?;
    let site = Box::new(shard.qmgr.site_names(site)?);
    let questions = &shard.transport.questions;
    let ticket = questions.last.get().wrapping_add(1);
    questions.last.set(ticket);
    let (sender, answer) = oneshot();
    questions.open.borrow_mut().insert(ticket, sender);
    let question = MeshMessage::ConnectionWanted { ticket, site };
    let asked = shard.mesh.borrow_mut().try_send(other, question);
    let answer = match asked {
        Ok(()) => shard.handle.timeout(ANSWER_WAIT, answer).await.ok(),
        Err(_) => None,
    };
    questions.open.borrow_mut().remove(&ticket);
    let mut connection = Connection::adopt(shard, answer?.ok()?);
    connection.is_alive(shard).await.then_some(connection)
}

/// Another shard asks for a connection.
pub fn connection_wanted(shard: &Rc<Shard>, from: usize, ticket: u32, site: &SiteNames) {
    let is_wanted = |known| shard.qmgr.is_site(known, site);
    let now = shard.handle.now();
    if shard.drain.begun() || !shard.transport.idle.hand_over(is_wanted, now, from, ticket) {
        answer(shard, from, ticket, None);
    }
}

/// The task of a connection that is to go to another shard ends with this.
pub async fn hand_over(shard: &Rc<Shard>, connection: Connection, to: usize, ticket: u32) {
    let carried = connection.carry().await;
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
    // Without a connection the asker only hears that nobody will answer.
    let Some(connection) = connection else { return };
    let late = match asker {
        Some(asker) => asker.send(connection).err(),
        None => Some(connection),
    };
    if let Some(late) = late {
        quit(shard, Some(Connection::adopt(shard, late)));
    }
}
