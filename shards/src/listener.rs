//! listener: takes fresh clients on one address and finds the shard they shall live on.
//!
//! Receives: connections of this shard's SO_REUSEPORT listener; fresh clients of other shards over the mesh.
//! Sends:    the client to smtpd here, or over a ring to the least busy shard.
//! Owns:     the listening socket.
//! Limits:   `ringpost_session_limit` over all shards: at a shard's share the listener pauses, so that clients wait
//!           in the kernel's backlog (back-pressure) and other shards may take them.
//! On failure: an accept error (no open files, say) is logged, and the listener pauses a second.

use std::rc::Rc;
use std::time::Duration;

use ringpost_reactor::{Listener, Stream};

use crate::mesh::MeshMessage;
use crate::race::unless_draining;
use crate::shard::Shard;
use crate::smtpd;

/// How long a listener rests after the system refused to accept.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Accepts on `listener` for the listener number `service` of the configuration, until the stop begins.
pub async fn run(shard: Rc<Shard>, service: u16, listener: Listener) {
    let mut watch = shard.drain.watch();
    loop {
        if shard.sessions_full() {
            listener.pause();
            let room = shard.session_ended.notified();
            if unless_draining(&mut watch, room).await.is_none() {
                return;
            }
            if !shard.sessions_full() {
                listener.resume();
            }
            continue;
        }
        match unless_draining(&mut watch, listener.accept()).await {
            None => return,
            Some(Ok(stream)) => place(&shard, service, stream),
            Some(Err(error)) => {
                shard.log.warning("smtpd", 0, format_args!("cannot accept a connection: {error}"));
                shard.handle.sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// Starts the session here, or hands the client to a shard that is clearly less busy.
fn place(shard: &Rc<Shard>, service: u16, stream: Stream) {
    let target = shard.loads.place_for_client(shard.index);
    if target == shard.index {
        shard.loads.opened(target);
        smtpd::start(shard, service, stream);
        return;
    }
    shard.loads.opened(target);
    let message = MeshMessage::Session { service, stream: stream.pass() };
    match shard.mesh.borrow_mut().try_send(target, message) {
        Ok(()) => shard.counters.sessions_handed_over.one(),
        Err(MeshMessage::Session { service, stream }) => {
            shard.loads.closed(target);
            shard.loads.opened(shard.index);
            smtpd::start(shard, service, shard.handle.adopt(stream));
        }
        Err(_) => unreachable!("a full ring gives back what it was given"),
    }
}
