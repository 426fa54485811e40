//! What goes in and out of the scheduler besides ids and times.

use super::{MessageId, SiteHandle};
use crate::dsn::Status;
use smallvec::SmallVec;
use std::rc::Rc;

/// Recipients of one message, as indexes into its envelope; up to four without an allocation.
pub type Recipients = SmallVec<[u32; 4]>;

/// Names one delivery from its start to its [`DeliveryReport`]; never reused while in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub(super) u64);

/// One delivery request: this message, to these recipients, over one session of this site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To be named in [`Scheduler::delivery_finished`](super::Scheduler::delivery_finished).
    pub delivery_id: DeliveryId,
    /// The message.
    pub id: MessageId,
    /// The site; its names are in [`Scheduler::site_names`](super::Scheduler::site_names).
    pub site: SiteHandle,
    /// At least one, at most the transport's recipient limit.
    pub recipients: Recipients,
    /// More work is queued for this site right now.
    pub more_queued: bool,
    /// Mail for this site comes back-to-back: the connection is worth keeping although nothing more may be queued when
    /// this delivery ends.
    pub keep_connection: bool,
}

/// What the caller has to do; all of them count as done when taken, except where a later call is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Load the message if its bytes are not in memory, resolve its remaining recipients, then call
    /// [`activated`](super::Scheduler::activated), [`postponed`](super::Scheduler::postponed) or
    /// [`corrupted`](super::Scheduler::corrupted).
    Activate {
        /// The message.
        id: MessageId,
    },
    /// Resolve at most so many more recipients of this active message, those that follow the ones already handed in,
    /// then call [`refilled`](super::Scheduler::refilled).
    Refill {
        /// The message.
        id: MessageId,
        /// At least 1, at most as many as are left.
        recipients_max: u32,
    },
    /// Start this delivery: it has a slot. Ends with
    /// [`delivery_finished`](super::Scheduler::delivery_finished).
    Deliver(Delivery),
    /// The site is dead, or its transport has failed: record these recipients as deferred without an attempt, with the
    /// text `delivery temporarily suspended: REASON`.
    DeferNow {
        /// The message.
        id: MessageId,
        /// The site.
        site: SiteHandle,
        /// Its recipients for that site.
        recipients: Recipients,
        /// 4.4.1 for a dead site, 4.3.0 for a transport that has failed.
        status: Status,
        /// The text of the trouble that made the site dead, or the transport fail.
        reason: Rc<str>,
    },
    /// `defer_transports` names the site's transport: record these recipients as deferred without an attempt, with the
    /// text `deferred transport`.
    DeferTransport {
        /// The message.
        id: MessageId,
        /// The site.
        site: SiteHandle,
        /// Its recipients for that site.
        recipients: Recipients,
    },
    /// Warn the operator that one site fills the active queue, as `qmgr_clog_warn_time` wants.
    WarnOfClog {
        /// The site.
        site: SiteHandle,
        /// Active messages for it.
        messages: u32,
        /// Active messages altogether.
        active: u32,
    },
    /// Every recipient is finished, or an operator deleted the message: remove it. The scheduler has forgotten it.
    MessageDone {
        /// The message.
        id: MessageId,
    },
    /// The attempt is over and recipients remain: record the due time. The message is deferred; its bytes need not
    /// stay in memory.
    Retry {
        /// The message.
        id: MessageId,
        /// When it is tried again; wall clock, milliseconds since the epoch.
        due_at_ms: u64,
    },
    /// The attempt is over, recipients remain and the message is too old: log `status=expired`, bounce the
    /// remaining recipients, remove it. The scheduler has forgotten it; a caller that cannot store the bounce now
    /// hands the message in again with [`recovered`](super::Scheduler::recovered).
    Expire {
        /// The message.
        id: MessageId,
    },
    /// An operator's hold has taken effect: record it. The bytes need not stay in memory.
    Held {
        /// The message.
        id: MessageId,
    },
}

/// What the caller found out about a message that it was told to activate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// When the message was accepted; wall clock, milliseconds since the epoch.
    pub arrival_ms: u64,
    /// Bytes of it that are held in memory while it is active.
    pub bytes: u32,
    /// The reverse-path is empty: `bounce_queue_lifetime` applies.
    pub null_sender: bool,
    /// An operator wants it returned to the sender: it expires at the end of this attempt, whatever its age.
    pub force_expired: bool,
    /// Recipients that are not in the plan because resolving them failed softly (already recorded as deferred).
    pub deferred: u32,
    /// Recipients that are still to be read; [`Action::Refill`] asks for them.
    pub unread: u32,
}

/// What the caller read of a message when it was told to refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refilled {
    /// Recipients that were read and are not in the plan, as in [`Resolved::deferred`].
    pub deferred: u32,
    /// Recipients that are still to be read.
    pub unread: u32,
}

/// How a delivery ended. `done + deferred` is the number of its recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryReport<'a> {
    /// Recipients that need no further attempt: delivered or bounced.
    pub done: u32,
    /// Recipients to be tried again.
    pub deferred: u32,
    /// Connection or handshake trouble, with its text: recipients were deferred for a reason other than a reply
    /// inside the mail transaction, and no session of this request completed its transaction normally.
    pub trouble: Option<&'a str>,
}

/// Whether the caller keeps the bytes of a message that has just arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// Keep them until the first attempt ends.
    KeepBytes,
    /// Drop them: too much mail is waiting; they will be loaded again at [`Action::Activate`].
    DropBytes,
}

/// The queue that a message is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// Accepted, not yet looked at.
    Incoming,
    /// Being resolved or delivered.
    Active,
    /// Waiting for its due time, or due and waiting for room among the active.
    Deferred,
    /// Held by an operator: never touched, never expires.
    Hold,
    /// Its stored form is damaged: kept for the operator, never touched.
    Corrupt,
}
