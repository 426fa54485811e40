//! transcript: tells the postmaster of sessions that had errors, with what was said (`notify_classes`).
//!
//! Receives: excerpts from smtpd and smtp, which their sessions keep and judge.
//! Sends: one message from the double-bounce address to `error_notice_recipient`, or to `bounce_notice_recipient` if
//! all that happened is of class `bounce`; it goes to cleanup, which stores it like any message. Two warnings.
//! Owns: the shard's budget of such messages.
//! Limits: [`REPORTS_AT_ONCE_MAX`] messages at once and one each [`REPORT_INTERVAL_MS`]; a transcript is as long as
//! `ringpost_core::transcript` keeps it.
//! On failure: the message is not sent, and the log says so: it is no promise to anybody, unlike a notice.
//! Loops: about sessions that carry such a message, or a notice, nothing is reported; and one that cannot be
//! delivered is discarded, because it comes from the double-bounce address.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use ringpost_core::dsn::{
    Allowance, REPORT_INTERVAL_MS, REPORTS_AT_ONCE_MAX, ReportBudget, SessionKind, SessionReport,
};
use ringpost_core::envelope::{BodyKind, Recipient};
use ringpost_core::transcript::{ErrorClass, ErrorClasses, Excerpt};

use crate::cleanup::{self, LocalMail};
use crate::shard::Shard;

/// The reports of one shard.
#[derive(Debug)]
pub struct Transcripts {
    budget: RefCell<ReportBudget>,
}

impl Transcripts {
    /// Nothing was reported yet.
    pub fn new(now_ms: u64) -> Transcripts {
        Transcripts { budget: RefCell::new(ReportBudget::new(now_ms)) }
    }
}

/// Whether mail of this sender is a report or a notice: about a session that carries it nothing is reported.
pub fn is_ours(shard: &Shard, sender: &str) -> bool {
    sender.eq_ignore_ascii_case(&shard.settings.notices.double_bounce)
}

/// Reports a session with `peer`, whose process in the log is `process` with `number`. Returns at once; a stop waits
/// until the message is stored.
pub fn report(shard: &Rc<Shard>, kind: SessionKind, number: u32, peer: &str, excerpt: &Excerpt) {
    let notices = &shard.settings.notices;
    let only_bounces = excerpt.met == ErrorClasses::NONE.with(ErrorClass::Bounce);
    let to = if only_bounces { &notices.bounce_to } else { &notices.errors_to };
    if to.is_empty() {
        return;
    }
    let process = match kind {
        SessionKind::Server => "smtpd",
        SessionKind::Client => "smtp",
    };
    let now_ms = shard.handle.now().as_nanos() / 1_000_000;
    match shard.transcripts.budget.borrow_mut().take(now_ms) {
        Allowance::Granted { refused_before: 0 } => {}
        Allowance::Granted { refused_before } => shard.log.warning(
            process,
            number,
            format_args!("postmaster notify: {refused_before} transcripts of sessions were not sent"),
        ),
        Allowance::Refused { is_first } => {
            if is_first {
                let seconds = REPORT_INTERVAL_MS / 1000;
                shard.log.warning(
                    process,
                    number,
                    format_args!(
                        "postmaster notify: {REPORTS_AT_ONCE_MAX} transcripts of sessions at once; from now on one in \
                         {seconds} seconds"
                    ),
                );
            }
            return;
        }
    }
    let settings = &shard.settings;
    let (mail_name, origin) = (&settings.mail_name, &settings.myorigin);
    let from_format = notices.from_format;
    let content = SessionReport { kind, peer, excerpt, mail_name, origin, from_format, to }.content();
    let shard = shard.clone();
    shard.qmgr.work_begins();
    shard.clone().handle.spawn(async move {
        let notices = &shard.settings.notices;
        let mail = LocalMail {
            sender: &notices.double_bounce,
            recipient: Recipient {
                address: if only_bounces { &notices.bounce_to } else { &notices.errors_to },
                ..Recipient::default()
            },
            content: vec![Bytes::from(content)],
            body: BodyKind::SevenBit,
            smtputf8: false,
            is_probe: false,
        };
        match cleanup::store_local(&shard, mail).await {
            Ok(_queue_id) => shard.counters.notices.one(),
            Err(error) => shard.log.warning(process, number, format_args!("postmaster notify: {error}")),
        }
        shard.qmgr.work_ends(&shard);
    });
}
