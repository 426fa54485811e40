//! smtp: the delivery agent. One task for each connection; it takes delivery after delivery of its site.
//!
//! Receives: deliveries from the queue manager.
//! Sends:    mail to servers; the result of every recipient back to the queue manager; the delivery lines; to
//!           `transcript` what was said, if there were errors.
//! Owns:     the connections, also those that wait for more mail (Postfix's scache); an idle one goes to another site
//!           with the same server, or to another shard, that needs it (`hand_over`).
//! Limits:   `smtp_mx_address_limit` addresses and `smtp_mx_session_limit` sessions a delivery; a connection waits for
//!           more mail only where mail comes back-to-back, or for `smtp_connection_cache_destinations`; it then
//!           waits `smtp_connection_cache_time_limit`, is used for `smtp_connection_reuse_time_limit` and
//!           `smtp_connection_reuse_count_limit` mails; the scheduler bounds connections by bounding deliveries.
//! On failure: the next server, then a deferral; a kept connection that turns out dead costs only a new one (RSET goes
//!           before the first mail after a wait, in one flight with it, and until a reply to the mail itself nothing
//!           has been delivered); a server of several that was not to be had is passed by for a while.
//! Standards: RFC 5321 section 5 (finding servers), section 4.5.3.2 (time limits); RFC 2920.

mod attempt;
mod channel;
mod connection;
mod endpoint;
mod hand_over;
mod idle;
mod idle_board;
mod outgoing;
mod route;
mod statistics;
mod tls;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::envelope::Reason;
use ringpost_core::logline::{self, Delays, Relay};
use ringpost_core::qmgr::{Delivery, SiteHandle};
use ringpost_core::smtp::DeadServers;

use crate::message::ActiveMessage;
use crate::qmgr;
use crate::race::{First, race, unless_draining};
use crate::recipients::Chosen;
use crate::shard::Shard;
use crate::verify;

use self::connection::Connection;
use self::hand_over::Questions;
use self::idle::{Idle, Work};
use self::idle_board::Bucket;
use self::statistics::Statistics;

pub use self::connection::CarriedConnection;
pub use self::hand_over::{Wanted, connection_answered, connection_wanted};
pub use self::idle_board::IdleBoard;
pub use self::statistics::{log_last_statistics, start_statistics};

/// The SMTP client of one shard.
pub struct SmtpTransport {
    idle: Idle,
    questions: Questions,
    statistics: Statistics,
    dead_servers: RefCell<DeadServers>,
}

impl SmtpTransport {
    /// The client of shard `shard`, without connections.
    pub fn new(shard: usize, board: Option<Arc<IdleBoard>>) -> SmtpTransport {
        SmtpTransport {
            idle: Idle::new(shard, board),
            questions: Questions::default(),
            statistics: Statistics::default(),
            dead_servers: RefCell::default(),
        }
    }
}

/// What the client does at a shard's start.
pub fn begin(shard: &Shard) {
    if shard.index == 0 {
        for warning in &shard.settings.smtp.tls.warnings {
            shard.log.warning("smtp", 0, format_args!("{warning}"));
        }
    }
}

/// Starts a delivery on an idle connection of its site, or on a new one.
pub fn start(shard: &Rc<Shard>, delivery: Delivery) {
    if let Err(delivery) = shard.transport.idle.give(delivery) {
        shard.handle.spawn(serve(shard.clone(), delivery));
    }
}

/// The life of a connection on this shard: from its first delivery here to the end of its idle time.
async fn serve(shard: Rc<Shard>, delivery: Delivery) {
    let site = delivery.site;
    serve_site(&shard, delivery).await;
    shard.transport.idle.forget_closed(site);
}

async fn serve_site(shard: &Rc<Shard>, mut delivery: Delivery) {
    let limits = &shard.settings.smtp;
    let site = delivery.site;
    let bucket = shard.transport.idle.board().and_then(|_| shard.qmgr.site_names(site));
    let bucket = bucket.map(|names| Bucket::of_site(&names.transport, &names.nexthop));
    let always_kept = !limits.cache_destinations.is_empty() && limits.always_keeps(&shard.qmgr.nexthop(site));
    let mut connection: Option<Connection> = None;
    loop {
        if connection.is_none() {
            connection = hand_over::of_site(shard, site, bucket).await;
        }
        shard.transport.statistics.by_site(connection.is_some());
        let end = attempt::deliver(shard, &mut connection, &delivery).await;
        if connection.as_ref().is_some_and(|open| !may_be_reused(shard, open, always_kept)) {
            quit(shard, connection.take());
        }
        let has_moved = connection.as_mut().is_some_and(|open| std::mem::take(&mut open.has_moved));
        let keeps = always_kept || delivery.keep_connection || has_moved;
        if let Some(next) = qmgr::delivery_ended(shard, &delivery, end) {
            delivery = next;
            continue;
        }
        let Some(open) = connection.take() else { return };
        // What was agreed upon under older settings carries no mail of newer ones.
        if !keeps || !shard.is_newest() {
            return quit(shard, Some(open));
        }
        match wait_for_work(shard, open, site, bucket).await {
            Some((next, open)) => (delivery, connection) = (next, Some(open)),
            None => return,
        }
    }
}

fn may_be_reused(shard: &Shard, open: &Connection, always_kept: bool) -> bool {
    let limits = &shard.settings.smtp;
    let age = shard.handle.now().since(open.opened_at);
    (always_kept || limits.keep_connections)
        && age < limits.reuse_time
        && (limits.reuse_count == 0 || open.session.mails_begun() < limits.reuse_count)
        && (open.endpoint.tls().reuse || !open.is_secure())
}

/// The next delivery of the site, with the connection. None, and the connection is closed or gone to another site or
/// shard, when it has waited long enough or the server ended it.
async fn wait_for_work(
    shard: &Rc<Shard>,
    mut open: Connection,
    site: SiteHandle,
    bucket: Option<Bucket>,
) -> Option<(Delivery, Connection)> {
    let since = shard.handle.now();
    let (waiting, work) = shard.transport.idle.wait(site, bucket, open.endpoint.clone(), since);
    let mut watch = shard.drain.watch();
    let ended = race(open.stream.recv(), shard.handle.sleep(shard.settings.smtp.cache_time));
    let outcome = unless_draining(&mut watch, race(work, ended)).await;
    drop(waiting);
    match outcome {
        Some(First::Left(Ok(Work::Deliver(delivery)))) => {
            open.session.has_rested();
            return Some((delivery, open));
        }
        Some(First::Left(Ok(Work::Lend(borrower)))) => {
            open.session.has_rested();
            open.has_moved = true;
            if let Err(open) = borrower.send(open) {
                quit(shard, Some(open));
            }
            return None;
        }
        Some(First::Left(Ok(Work::HandOver { shard: to, ticket }))) => {
            hand_over::hand_over(shard, open, to, ticket).await;
            return None;
        }
        // The server spoke or went: no QUIT.
        Some(First::Right(First::Left(_))) => open.spoiled = true,
        _ => {}
    }
    quit(shard, Some(open));
    None
}

/// Ends the idle connections: those of a generation of settings do not serve the next.
pub fn end_idle(shard: &Shard) {
    shard.transport.idle.let_all_go();
}

/// Says QUIT without waiting for the answer, which nobody needs; the connection closes behind it.
fn quit(shard: &Rc<Shard>, connection: Option<Connection>) {
    let Some(mut open) = connection.filter(|open| !open.spoiled) else { return };
    let mut out = Vec::new();
    if open.session.quit(&mut out) {
        let handle = shard.handle.clone();
        let limit = Duration::from_secs(u64::from(shard.client_settings.timeouts.quit));
        shard.handle.spawn(async move {
            // A server that is gone already has closed the connection for us.
            let _ = handle.timeout(limit, open.stream.send_last(out)).await;
        });
    }
}

/// The delivery lines of recipients that are put off without an attempt.
pub fn log_without_attempt(
    shard: &Rc<Shard>,
    message: &ActiveMessage,
    chosen: &Chosen<'_>,
    recipients: &[u32],
    reason: &Reason,
) {
    let now_us = shard.handle.wall().as_micros();
    let delays =
        Delays::between(message.envelope.arrival_us(), message.active_at_us.get(), now_us, now_us, now_us);
    let status = reason.status.to_string();
    chosen.for_each(recipients.iter().copied(), |_, recipient| {
        let deferred = logline::Status::Deferred;
        let line = logline::Delivery {
            process: "error",
            number: shard.index as u64,
            queue_id: message.queue_id.as_str(),
            to: recipient.address.as_bytes(),
            orig_to: (!recipient.original.is_empty()).then_some(recipient.original.as_bytes()),
            relay: Relay::None,
            conn_use: 0,
            delays,
            dsn: &status,
            status: verify::logged(shard, message, deferred, &reason.text),
            text: reason.text.as_bytes(),
        };
        shard.log.write(|lines, out, now_s| lines.delivery(out, now_s, &line));
    });
}
