//! verify: finds out whether there is anybody at an address, by probes, for restrictions that want to know.
//!
//! Receives: questions of sessions; how probes ended, from those who deliver; questions and answers of other shards.
//! Sends:    probes, which are messages that are delivered up to RCPT only; answers to the sessions that wait.
//! Owns:     the probes on their way to the addresses whose home this shard is, and who waits for them. What was found
//!           out is kept in one table for all shards (`address_verify_map`), with one owner and a journal, which each
//!           generation of settings names anew.
//! Limits:   `address_verify_pending_request_limit` probes at a time, over all shards; `WAITING_MAX` sessions hear of
//!           one; the table's own limits.
//! On failure: a question that cannot be asked is `address verification problem`; a probe that is lost is sent again when
//!           somebody asks after `PROBE_SECONDS_MAX`; a full ring costs a session its early answer, and it looks into the
//!           table when its time has come.
//! Standards: Postfix's verify(8). Where Postfix's sessions look again every `address_verify_poll_delay`, ours are told at
//!           once, and wait no longer than Postfix's would.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringpost_core::envelope::{self, BodyKind, Recipient};
use ringpost_core::logline;
use ringpost_core::lookup::LookupTrouble;
use ringpost_core::qmgr::home_of;
use ringpost_core::rewrite::Context;
use ringpost_core::verify::{
    AddressStatus, IN_PROGRESS, PROBE_SECONDS_MAX, ProbeRecord, Verified, probe_sender,
};
use ringpost_reactor::local::{Notify, OneshotSender, oneshot};

use crate::cleanup::{self, LocalMail};
use crate::mesh::MeshMessage;
use crate::message::ActiveMessage;
use crate::qmgr::DeliveryEnd;
use crate::race::{First, race};
use crate::settings::ProbeSettings;
use crate::shard::{Lasting, Shard};

/// Sessions that are told at once how a probe ended; others look into the table.
const WAITING_MAX: usize = 1000;
/// The shard that cleans the table up for all.
const CLEANER: usize = 0;

/// What one shard knows of probes.
#[derive(Default)]
pub struct Verify {
    pending: RefCell<HashMap<Box<str>, Pending>>,
    questions: RefCell<HashMap<u32, OneshotSender<Verified>>>,
    last_question: Cell<u32>,
    /// The task that cleans the table up runs.
    cleans: Cell<bool>,
    /// Told when new settings hold.
    renewed: Notify,
}

/// A probe on its way.
struct Pending {
    since_s: u64,
    /// Shards with the numbers of their questions.
    waiting: Vec<(usize, u32)>,
}

/// Starts what keeps the table small, if there is one; it follows new settings.
pub fn start(shard: &Rc<Lasting>) {
    if shard.index != CLEANER {
        return;
    }
    if shard.verify.cleans.get() {
        shard.verify.renewed.notify();
    } else if cleanup_interval(&shard.newest()).is_some() {
        shard.verify.cleans.set(true);
        shard.handle.spawn(clean_up(shard.clone()));
    }
}

fn now_s(shard: &Shard) -> u64 {
    shard.handle.wall().as_secs()
}

fn home(shard: &Shard, address: &str) -> usize {
    usize::from(home_of("verify", address, shard.shards as u16))
}

// ---------------------------------------------------------------------------------------------------------------
// sessions

/// What is known of an address, after a probe if need be.
///
/// # Errors
/// It cannot be found out; why.
pub async fn status(shard: &Rc<Shard>, address: &str) -> Result<Verified, String> {
    let (Some(settings), Some(table)) = (&shard.settings.probes, &shard.probe_results) else {
        return Err("addresses are not verified here".into());
    };
    let address = in_full(shard, address);
    for tries_left in (0..settings.poll_count.max(1)).rev() {
        let record = table.lookup(&address).await.map_err(|trouble| trouble.to_string())?;
        let now_s = now_s(shard);
        let record = record.as_deref().and_then(ProbeRecord::parse);
        if let Some(record) = record.filter(|record| !record.is_expired(&settings.rules, now_s)) {
            if record.wants_refresh(&settings.rules, now_s) {
                let probed = ProbeRecord { probed_s: now_s, ..record.clone() };
                // Whether the note is kept or not, the address's home sends one probe at a time.
                let _ = table.update(&address, &probed.entry()).await;
                ask_home(shard, &address, 0);
            }
            return Ok(Verified { status: record.status, text: record.text });
        }
        if tries_left == 0 {
            ask_home(shard, &address, 0);
        } else if let Some(verified) = wait_for_probe(shard, settings, &address).await {
            return Ok(verified);
        }
    }
    Ok(Verified { status: AddressStatus::Unknown, text: IN_PROGRESS.into() })
}

/// The address as mail for it would be sent, its domain in lower case.
fn in_full(shard: &Shard, address: &str) -> String {
    let mut full = shard.settings.resolve.rewrite.rewrite(address, Context::Local).into_owned();
    if let Some(at) = full.rfind('@') {
        full[at..].make_ascii_lowercase();
    }
    full
}

/// How a probe ends, if it does before it is time to look into the table again.
async fn wait_for_probe(shard: &Rc<Shard>, settings: &ProbeSettings, address: &str) -> Option<Verified> {
    let verify = &shard.verify;
    let question = verify.last_question.get().checked_add(1).unwrap_or(1);
    verify.last_question.set(question);
    let (sender, answer) = oneshot();
    verify.questions.borrow_mut().insert(question, sender);
    ask_home(shard, address, question);
    let answer = shard.handle.timeout(settings.poll_delay, answer).await;
    verify.questions.borrow_mut().remove(&question);
    answer.ok()?.ok()
}

/// Lets the address's home send a probe; `question` is 0 for who does not wait.
fn ask_home(shard: &Rc<Shard>, address: &str, question: u32) {
    let home = home(shard, address);
    if home == shard.index {
        wanted(shard, home, address.into(), question);
    } else {
        let message = MeshMessage::ProbeWanted { address: address.into(), question };
        // Who waits asks again when the ring has had time to drain.
        let _ = shard.mesh.borrow_mut().try_send(home, message);
    }
}

/// The answer to a question of this shard, unless it comes too late.
pub fn answered(shard: &Shard, question: u32, verified: Verified) {
    if let Some(sender) = shard.verify.questions.borrow_mut().remove(&question) {
        // The session may just have given up.
        let _ = sender.send(verified);
    }
}

// ---------------------------------------------------------------------------------------------------------------
// the home of an address

/// A probe is wanted for an address whose home this shard is.
pub fn wanted(shard: &Rc<Shard>, from: usize, address: Box<str>, question: u32) {
    let Some(settings) = &shard.settings.probes else { return };
    let now_s = now_s(shard);
    let is_on_its_way = |pending: &Pending| pending.since_s + PROBE_SECONDS_MAX >= now_s;
    let mut all = shard.verify.pending.borrow_mut();
    let waiting = (question > 0).then_some((from, question));
    if let Some(pending) = all.get_mut(&address)
        && is_on_its_way(pending)
    {
        if pending.waiting.len() < WAITING_MAX {
            pending.waiting.extend(waiting);
        }
        return;
    }
    if all.len() >= settings.pending_max {
        all.retain(|_, pending| is_on_its_way(pending));
    }
    if all.len() >= settings.pending_max {
        return;
    }
    all.insert(address.clone(), Pending { since_s: now_s, waiting: waiting.into_iter().collect() });
    drop(all);
    shard.handle.spawn(probe(shard.clone(), address));
}

async fn probe(shard: Rc<Shard>, address: Box<str>) {
    let Some(settings) = &shard.settings.probes else { return };
    let sender = probe_sender(&settings.sender, settings.sender_ttl_s, now_s(&shard));
    let mail = LocalMail {
        sender: &sender,
        recipient: Recipient { address: &address, notify: envelope::Notify::NEVER, ..Recipient::default() },
        content: Vec::new(),
        body: BodyKind::SevenBit,
        smtputf8: !address.is_ascii(),
        is_probe: true,
    };
    let stored = match cleanup::expands_to_many(&shard, &mail).await {
        Ok(true) => {
            let text = "aliased to multiple recipients".to_owned();
            let verified = Verified { status: AddressStatus::Deliverable, text };
            return ended(&shard, address, verified).await;
        }
        Ok(false) => cleanup::store_local(&shard, mail).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = stored {
        shard.log.warning("verify", shard.index as u32, format_args!("probe of {address}: {error}"));
        shard.verify.pending.borrow_mut().remove(&address);
    }
}

/// A probe of an address whose home this shard is has ended.
pub fn heard(shard: &Rc<Shard>, address: &str, verified: &Verified) {
    let Some(pending) = shard.verify.pending.borrow_mut().remove(address) else { return };
    for (from, question) in pending.waiting {
        if from == shard.index {
            answered(shard, question, verified.clone());
        } else {
            let verified = Box::new(verified.clone());
            // Who waits looks into the table soon.
            let _ = shard.mesh.borrow_mut().try_send(from, MeshMessage::ProbeAnswer { question, verified });
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// deliveries

/// How a recipient's delivery is logged: a probe's is only told here, and never returned or tried again.
pub fn logged(
    shard: &Rc<Shard>,
    message: &ActiveMessage,
    status: logline::Status,
    text: &str,
) -> logline::Status {
    if !message.envelope.is_probe() {
        return status;
    }
    let found = match status {
        logline::Status::Sent | logline::Status::Deliverable => AddressStatus::Deliverable,
        logline::Status::Bounced => AddressStatus::Undeliverable,
        _ => AddressStatus::Deferred,
    };
    let address: Box<str> = message.envelope.fields().ident.into();
    let verified = Verified { status: found, text: text.to_owned() };
    let shard = shard.clone();
    let is_kept = shard.settings.probes.as_ref().is_none_or(|settings| settings.rules.negative_cache);
    shard.clone().handle.spawn(async move { ended(&shard, address, verified).await });
    match found {
        AddressStatus::Deliverable => logline::Status::Deliverable,
        _ if is_kept => logline::Status::Undeliverable,
        _ => logline::Status::UndeliverableUnkept,
    }
}

/// The end of a probe's delivery: nothing of it remains.
pub fn settled(message: &ActiveMessage, end: DeliveryEnd) -> DeliveryEnd {
    if !message.envelope.is_probe() {
        return end;
    }
    let DeliveryEnd { mut sent, reports, deferred, .. } = end;
    sent.extend(reports.iter().map(|(index, ..)| index));
    sent.extend(deferred.into_iter().map(|(index, _)| index));
    DeliveryEnd {
        sent,
        trouble: end.trouble,
        transport_failure: end.transport_failure,
        ..DeliveryEnd::default()
    }
}

/// Keeps what a probe has found out, and tells the address's home.
async fn ended(shard: &Rc<Shard>, address: Box<str>, verified: Verified) {
    if let (Some(settings), Some(table)) = (&shard.settings.probes, &shard.probe_results) {
        let kept = async {
            let old = table.lookup(&address).await?;
            let old = old.as_deref().and_then(ProbeRecord::parse);
            match ProbeRecord::after(old.as_ref(), &verified, &settings.rules, now_s(shard)) {
                Some(record) => table.update(&address, &record.entry()).await,
                None => Ok(()),
            }
        };
        if let Err(trouble) = kept.await {
            shard.log.warning("verify", shard.index as u32, format_args!("{trouble}"));
        }
    }
    let home = home(shard, &address);
    if home == shard.index {
        return heard(shard, &address, &verified);
    }
    let message = MeshMessage::ProbeEnded { address, verified: Box::new(verified) };
    // Then who waits looks into the table, and the home forgets the probe in its time.
    let _ = shard.mesh.borrow_mut().try_send(home, message);
}

// ---------------------------------------------------------------------------------------------------------------
// the table

/// How often the table is cleaned up; `None` for never.
fn cleanup_interval(shard: &Shard) -> Option<Duration> {
    let interval = shard.settings.probes.as_ref()?.cleanup_interval;
    (!interval.is_zero() && shard.probe_results.is_some()).then_some(interval)
}

/// Cleans up every `address_verify_cache_cleanup_interval`, until a reload wants it no more.
async fn clean_up(shard: Rc<Lasting>) {
    let mut cleaned_at = shard.handle.now();
    loop {
        // The generation is not kept while this waits.
        let interval = cleanup_interval(&shard.newest());
        let Some(interval) = interval else { break };
        let due = shard.handle.sleep_until(cleaned_at + interval);
        if let First::Left(()) = race(due, shard.verify.renewed.notified()).await {
            drop_expired(&shard.newest()).await;
            cleaned_at = shard.handle.now();
        }
    }
    shard.verify.cleans.set(false);
}

/// Drops what counts no more.
async fn drop_expired(shard: &Shard) {
    let (Some(settings), Some(table)) = (&shard.settings.probes, &shard.probe_results) else { return };
    let (mut retained, mut dropped) = (0_u64, 0_u64);
    let mut at: Option<Box<str>> = None;
    let walked = async {
        while let Some((address, entry)) = table.after(at.as_deref()).await? {
            let expired = |record: ProbeRecord| record.is_expired(&settings.rules, now_s(shard));
            if ProbeRecord::parse(&entry).is_none_or(expired) {
                table.delete(&address).await?;
                dropped += 1;
            } else {
                retained += 1;
            }
            at = Some(address);
        }
        Ok::<_, LookupTrouble>(())
    };
    let (walked, number) = (walked.await, shard.index as u32);
    let name = &settings.map;
    match walked {
        Ok(()) => shard.log.info(
            "verify",
            number,
            format_args!("cache {name} full cleanup: retained={retained} dropped={dropped} entries"),
        ),
        Err(trouble) => shard.log.warning("verify", number, format_args!("{trouble}")),
    }
}
