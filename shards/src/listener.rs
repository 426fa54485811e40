//! listener: takes fresh clients on one address and finds the shard they shall live on.
//!
//! Receives: connections of this shard's SO_REUSEPORT listener; fresh clients of other shards over the mesh.
//! Sends:    the client to smtpd here, or over a ring to the least busy shard.
//! Owns:     the listening socket.
//! Limits:   `ringpost_session_limit` over all shards: at a shard's share the listener pauses, so that clients wait
//!           in the kernel's backlog (back-pressure) and other shards may take them.
//! On failure: an accept error (no open files, say) is logged, and the listener pauses a second.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringpost_reactor::local::OneshotReceiver;
use ringpost_reactor::{Listener, Stream};

use crate::mesh::MeshMessage;
use crate::race::{First, race, unless_draining};
use crate::shard::Lasting;
use crate::smtpd;

/// How long a listener rests after the system refused to accept.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Accepts on `listener`, which is at `address`, until the stop begins or a reload closes the address.
pub async fn run(
    shard: Rc<Lasting>,
    address: SocketAddr,
    listener: Listener,
    mut closed: OneshotReceiver<()>,
) {
    let mut watch = shard.drain.watch();
    loop {
        if shard.newest().sessions_full() {
            listener.pause();
            let room = race(&mut closed, shard.session_ended.notified());
            match unless_draining(&mut watch, room).await {
                None | Some(First::Left(_)) => return,
                Some(First::Right(())) => {}
            }
            if !shard.newest().sessions_full() {
                listener.resume();
            }
            continue;
        }
        match unless_draining(&mut watch, race(&mut closed, listener.accept())).await {
            None | Some(First::Left(_)) => return,
            Some(First::Right(Ok(stream))) => place(&shard, address, stream),
            Some(First::Right(Err(error))) => {
                shard.log.warning("smtpd", 0, format_args!("cannot accept a connection: {error}"));
                shard.handle.sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// Starts the session here, or hands the client to a shard that is clearly less busy.
fn place(shard: &Rc<Lasting>, address: SocketAddr, stream: Stream) {
    let target = shard.loads.place_for_client(shard.index);
    if target == shard.index {
        shard.loads.opened(target);
        begin(shard, address, stream);
        return;
    }
    shard.loads.opened(target);
    let message = MeshMessage::Session { address, stream: stream.pass() };
    match shard.mesh.borrow_mut().try_send(target, message) {
        Ok(()) => shard.counters.sessions_handed_over.one(),
        Err(MeshMessage::Session { stream, .. }) => {
            shard.loads.closed(target);
            shard.loads.opened(shard.index);
            begin(shard, address, shard.handle.adopt(stream));
        }
        Err(_) => unreachable!("a full ring gives back what it was given"),
    }
}

/// Starts the session of a client that is counted among this shard's. One that comes from a shard on which the address
/// was not closed yet finds nobody, as in the listener's backlog.
pub fn begin(shard: &Rc<Lasting>, address: SocketAddr, stream: Stream) {
    match shard.serving(address) {
        Some((newest, service)) => smtpd::start(&newest, service, stream),
        None => {
            shard.loads.closed(shard.index);
            shard.session_ended.notify_all();
            shard.quieter.notify();
        }
    }
}
