//! error, retry, discard: the transports that deliver to nobody.
//!
//! Receives: recipients whose route names one of them; the nexthop is the reason.
//! Sends:    their delivery lines; outcomes into the message's progress and the spool.
//! Owns:     nothing.
//! On failure: while the spool takes no records everything is deferred, as with deliveries that cannot start.
//! Standards: Postfix's error(8) and discard(8).

use std::rc::Rc;

use ringpost_core::dsn::{Action, Class, Status};
use ringpost_core::envelope::Reason;
use ringpost_core::logline::{self, Delays, Relay};

use super::{DeliveryEnd, ending};
use crate::message::ActiveMessage;
use crate::settings::Agent;
use crate::shard::Shard;
use crate::{trace, verify};

/// Recipients of one message that are delivered to nobody, being gathered.
pub(super) struct Undelivered<'a> {
    shard: &'a Rc<Shard>,
    message: &'a ActiveMessage,
    end: DeliveryEnd,
}

impl<'a> Undelivered<'a> {
    /// None so far.
    pub(super) fn new(shard: &'a Rc<Shard>, message: &'a ActiveMessage) -> Undelivered<'a> {
        Undelivered { shard, message, end: DeliveryEnd::default() }
    }

    /// Ends the attempt for a recipient as `agent` does: [`Agent::Error`] returns it, [`Agent::Discard`] throws it away,
    /// and every other one defers it.
    pub(super) fn take(&mut self, agent: Agent, recipient: u32, nexthop: &str) {
        if agent != Agent::Retry && !self.shard.spool.ready_for_notes() {
            return self.defer(recipient, "4.3.0 queue file write error");
        }
        match agent {
            Agent::Discard => {
                let reason = reason(nexthop, Class::Success);
                self.log("discard", recipient, logline::Status::Sent, &reason);
                if trace::is_wanted(self.shard, self.message, recipient, false) {
                    self.end.reports.add(recipient, Action::Delivered, reason);
                } else {
                    self.end.sent.push(recipient);
                }
            }
            Agent::Error if self.shard.settings.soft_bounce => {
                let mut reason = reason(nexthop, Class::Permanent);
                reason.status = reason.status.with_class(Class::Persistent);
                self.log("error", recipient, logline::Status::SoftBounced, &reason);
                self.end.deferred.push((recipient, reason));
            }
            Agent::Error => {
                let reason = reason(nexthop, Class::Permanent);
                self.log("error", recipient, logline::Status::Bounced, &reason);
                self.end.reports.add(recipient, Action::Failed, reason);
            }
            Agent::Retry | Agent::Smtp => self.defer(recipient, nexthop),
        }
    }

    /// Defers a recipient; `text` may begin with a status code.
    pub(super) fn defer(&mut self, recipient: u32, text: &str) {
        let reason = reason(text, Class::Persistent);
        self.log("error", recipient, logline::Status::Deferred, &reason);
        self.end.deferred.push((recipient, reason));
    }

    /// Records the outcomes. Answers how many recipients are deferred.
    pub(super) fn finish(self) -> u32 {
        let Undelivered { shard, message, end } = self;
        let end = verify::settled(message, end);
        if end.sent.is_empty() && end.deferred.is_empty() && end.reports.is_empty() {
            return 0;
        }
        let counters = &shard.counters;
        counters.recipients_sent.add(end.sent.len() as u64 + u64::from(end.reports.confirmations()));
        counters.recipients_bounced.add(u64::from(end.reports.failures()));
        counters.recipients_deferred.add(end.deferred.len() as u64);
        ending::record(shard, message, &end);
        end.deferred.len() as u32
    }

    fn log(&self, process: &'static str, recipient: u32, status: logline::Status, reason: &Reason) {
        let chosen = self.message.at_hand(&[recipient]);
        let Some(address) = chosen.recipient(recipient) else { return };
        let status = verify::logged(self.shard, self.message, status, &reason.text);
        let now_us = self.shard.handle.wall().as_micros();
        let (arrival_us, active_us) = (self.message.envelope.arrival_us(), self.message.active_at_us.get());
        let dsn = reason.status.to_string();
        let line = logline::Delivery {
            process,
            number: self.shard.index as u64,
            queue_id: self.message.queue_id.as_str(),
            to: address.address.as_bytes(),
            orig_to: (!address.original.is_empty()).then_some(address.original.as_bytes()),
            relay: Relay::None,
            conn_use: 0,
            delays: Delays::between(arrival_us, active_us, now_us, now_us, now_us),
            dsn: &dsn,
            status,
            text: reason.text.as_bytes(),
        };
        self.shard.log.write(|lines, out, now_s| lines.delivery(out, now_s, &line));
    }
}

/// A text that may begin with a status code. One of another class than what happens is not believed.
fn reason(text: &str, class: Class) -> Reason {
    let (status, text) = match Status::read(text.as_bytes()) {
        Some((status, length)) => (status, text[length..].trim_start()),
        None => (Status::new(class, 0, 0), text),
    };
    let status = if status.class() == class { status } else { Status::new(class, 0, 0) };
    Reason { status, text: text.to_owned(), reply: String::new(), remote_mta: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_before_the_text_is_the_status_if_it_is_of_the_class() {
        let check = |text, class, expect: (&str, &str)| {
            let reason = reason(text, class);
            assert_eq!((reason.status.to_string().as_str(), reason.text.as_str()), expect);
        };
        check("5.1.2 no such domain", Class::Permanent, ("5.1.2", "no such domain"));
        check("no such domain", Class::Permanent, ("5.0.0", "no such domain"));
        check("4.7.1 later", Class::Permanent, ("5.0.0", "later"));
        check("later", Class::Persistent, ("4.0.0", "later"));
        check("far.example", Class::Success, ("2.0.0", "far.example"));
    }
}
