//! smtp: the delivery agent. One task for each connection; it takes delivery after delivery of its site.
//!
//! Receives: deliveries from the queue manager.
//! Sends:    mail to servers; the result of every recipient back to the queue manager; the delivery lines.
//! Owns:     the connections, also those that wait for more mail (Postfix's scache, within one shard).
//! Limits:   `smtp_mx_address_limit` addresses and `smtp_mx_session_limit` sessions a delivery; a connection waits for
//!           more mail only where mail comes back-to-back, or for `smtp_connection_cache_destinations`; it then
//!           waits `smtp_connection_cache_time_limit`, is used for `smtp_connection_reuse_time_limit` and
//!           `smtp_connection_reuse_count_limit` mails; the scheduler bounds connections by bounding deliveries.
//! On failure: the next server, then a deferral; a kept connection that turns out dead costs only a new one.
//! Standards: RFC 5321 section 5 (finding servers), section 4.5.3.2 (time limits); RFC 2920.

mod attempt;
mod connection;
mod route;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringpost_core::envelope::Reason;
use ringpost_core::logline::{self, Delays, Relay};
use ringpost_core::qmgr::{Delivery, SiteHandle};
use ringpost_core::smtp::ClientSettings;
use ringpost_reactor::local::{OneshotSender, oneshot};

use crate::message::ActiveMessage;
use crate::qmgr;
use crate::race::{First, race, unless_draining};
use crate::settings::Settings;
use crate::shard::Shard;

use self::connection::Connection;

/// The SMTP client of one shard.
pub struct SmtpTransport {
    client: Rc<ClientSettings>,
    idle: RefCell<HashMap<SiteHandle, Vec<OneshotSender<Delivery>>, foldhash::fast::RandomState>>,
}

impl SmtpTransport {
    /// A client without connections.
    pub fn new(settings: &Settings) -> SmtpTransport {
        SmtpTransport { client: Rc::new(settings.smtp.client.clone()), idle: RefCell::default() }
    }

    /// Gives the delivery to a connection of its site that waits for work; back if there is none.
    fn give_to_idle(&self, mut delivery: Delivery) -> Result<(), Delivery> {
        let mut idle = self.idle.borrow_mut();
        let Some(waiting) = idle.get_mut(&delivery.site) else { return Err(delivery) };
        while let Some(place) = waiting.pop() {
            match place.send(delivery) {
                Ok(()) => return Ok(()),
                Err(back) => delivery = back,
            }
        }
        Err(delivery)
    }

    fn forget_closed(&self, site: SiteHandle) {
        let mut idle = self.idle.borrow_mut();
        if let Some(waiting) = idle.get_mut(&site) {
            waiting.retain(|place| !place.is_closed());
            if waiting.is_empty() {
                idle.remove(&site);
            }
        }
    }
}

/// Starts a delivery on an idle connection of its site, or on a new one.
pub fn start(shard: &Rc<Shard>, delivery: Delivery) {
    if let Err(delivery) = shard.transport.give_to_idle(delivery) {
        shard.handle.spawn(serve(shard.clone(), delivery));
    }
}

/// The life of a connection: from its first delivery to the end of its idle time.
async fn serve(shard: Rc<Shard>, delivery: Delivery) {
    let site = delivery.site;
    serve_site(&shard, delivery).await;
    shard.transport.forget_closed(site);
}

async fn serve_site(shard: &Rc<Shard>, mut delivery: Delivery) {
    let limits = &shard.settings.smtp;
    let always_kept =
        !limits.cache_destinations.is_empty() && limits.always_keeps(&shard.qmgr.nexthop(delivery.site));
    let mut connection: Option<Connection> = None;
    loop {
        let end = attempt::deliver(shard, &mut connection, &delivery).await;
        if connection.as_ref().is_some_and(|open| !may_be_reused(shard, open, always_kept)) {
            quit(shard, connection.take());
        }
        if let Some(next) = qmgr::delivery_ended(shard, &delivery, end) {
            delivery = next;
            continue;
        }
        let Some(mut open) = connection.take() else { return };
        if !always_kept && !delivery.keep_connection {
            return quit(shard, Some(open));
        }
        match wait_for_work(shard, &mut open, delivery.site).await {
            Some(next) => {
                delivery = next;
                connection = Some(open);
            }
            None => return quit(shard, Some(open)),
        }
    }
}

fn may_be_reused(shard: &Shard, open: &Connection, always_kept: bool) -> bool {
    let limits = &shard.settings.smtp;
    let age = shard.handle.now().since(open.opened_at);
    (always_kept || limits.keep_connections)
        && age < limits.reuse_time
        && (limits.reuse_count == 0 || open.session.mails_begun() < limits.reuse_count)
}

/// The next delivery of the site; None when the connection has waited long enough, or the server ended it.
async fn wait_for_work(shard: &Rc<Shard>, open: &mut Connection, site: SiteHandle) -> Option<Delivery> {
    let (sender, work) = oneshot();
    shard.transport.idle.borrow_mut().entry(site).or_default().push(sender);
    let limit = shard.settings.smtp.cache_time;
    let mut watch = shard.drain.watch();
    let ended = race(open.stream.recv(), shard.handle.sleep(limit));
    let outcome = match unless_draining(&mut watch, race(work, ended)).await {
        Some(First::Left(Ok(delivery))) => return Some(delivery),
        Some(First::Right(First::Left(_))) => Idle::ServerSpoke,
        _ => Idle::LongEnough,
    };
    if let Idle::ServerSpoke = outcome {
        open.spoiled = true;
    }
    None
}

enum Idle {
    LongEnough,
    ServerSpoke,
}

/// Says QUIT without waiting for the answer, which nobody needs; the connection closes behind it.
fn quit(shard: &Rc<Shard>, connection: Option<Connection>) {
    let Some(mut open) = connection.filter(|open| !open.spoiled) else { return };
    let mut out = Vec::new();
    if open.session.quit(&mut out) {
        let handle = shard.handle.clone();
        let limit = Duration::from_secs(u64::from(shard.transport.client.timeouts.quit));
        shard.handle.spawn(async move {
            // A server that is gone already has closed the connection for us.
            let _ = handle.timeout(limit, open.stream.send(out)).await;
        });
    }
}

/// The delivery lines of recipients that are put off without an attempt.
pub fn log_without_attempt(shard: &Shard, message: &ActiveMessage, recipients: &[u32], reason: &Reason) {
    let now_us = shard.handle.wall().as_micros();
    let delays =
        Delays::between(message.envelope.arrival_us(), message.active_at_us.get(), now_us, now_us, now_us);
    let status = reason.status.to_string();
    for (_, recipient) in message.envelope.select(recipients.iter().copied()) {
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
            status: logline::Status::Deferred,
            text: reason.text.as_bytes(),
        };
        shard.log.write(|lines, out, now_s| lines.delivery(out, now_s, &line));
    }
}
