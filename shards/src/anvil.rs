//! anvil: performs the counting of clients for one shard, and of the clients whose home this shard is.
//!
//! Receives: connects, events and disconnects of this shard's smtpd; news and questions of other shards.
//! Sends:    news, questions and answers over the mesh; the `statistics:` lines, which shard 0 logs for all.
//! Owns:     the two tables of `ringpost_core::anvil`, and the questions that wait for an answer.
//! Limits:   `ringpost_core::anvil::CLIENTS_MAX`; as many questions as sessions, each for at most `ANSWER_WAIT`.
//! On failure: a full ring or a home that is busy never stops a session: it goes on unjudged this once, and what was
//!           not told is contained in the next news, which is said within about `TELL_WAIT` of room in the ring.
//!
//! Clients that are exempt, and all clients of a service without limits, cost nothing here: see [`client`].

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringpost_core::anvil::{
    AnvilHere, AnvilTable, CLIENTS_MAX, ClientCounts, ClientEvent, ClientKey, ClientNews, PeakReport, Peaks,
};
use ringpost_core::date::SyslogTime;
use ringpost_reactor::local::{Notify, OneshotSender, oneshot};

use crate::mesh::MeshMessage;
use crate::settings::SmtpdService;
use crate::shard::{Lasting, Shard};

/// How long a session waits for its home's answer. An answer takes a turn of the home, microseconds to milliseconds; a
/// home that needs longer has worse troubles than a client too many.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long news without a question may wait for more, so that a client costs a message a second and not one for each
/// of its commands. Far below a unit of time, so that rates stay true.
const TELL_WAIT: Duration = Duration::from_secs(1);
/// How long shard 0 waits for the peaks of others when it logs statistics.
const GATHER_WAIT: Duration = Duration::from_secs(1);
/// How soon a full ring is tried again at the stop.
const RING_WAIT: Duration = Duration::from_millis(10);

/// The shard that logs the statistics of all.
const STATISTICIAN: usize = 0;

/// The counts of one shard.
pub struct Anvil {
    table: RefCell<AnvilTable>,
    here: RefCell<AnvilHere>,
    questions: RefCell<HashMap<u32, OneshotSender<Option<ClientCounts>>>>,
    last_question: Cell<u32>,
    some_unsaid: Notify,
    /// Peaks that are not logged or told yet.
    peaks: RefCell<Peaks>,
    /// News that found this home's table full, since the last statistics.
    uncounted: Cell<u64>,
    /// Shards that have told their last peaks.
    shards_done: Cell<usize>,
    shard_done: Notify,
    /// The tasks that tell news and keep statistics have been started.
    runs: Cell<bool>,
}

impl Anvil {
    /// Empty tables; `unit` is `anvil_rate_time_unit`.
    pub fn new(unit: Duration) -> Anvil {
        Anvil {
            table: RefCell::new(AnvilTable::new(unit_ms(unit), CLIENTS_MAX)),
            here: RefCell::new(AnvilHere::new(CLIENTS_MAX)),
            questions: RefCell::default(),
            last_question: Cell::new(0),
            some_unsaid: Notify::new(),
            peaks: RefCell::default(),
            uncounted: Cell::new(0),
            shards_done: Cell::new(0),
            shard_done: Notify::new(),
            runs: Cell::new(false),
        }
    }

    /// `anvil_rate_time_unit` has changed.
    pub fn set_unit(&self, unit: Duration) {
        self.table.borrow_mut().set_unit_ms(unit_ms(unit));
    }
}

fn unit_ms(unit: Duration) -> u64 {
    u64::try_from(unit.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The client at `address` if it is to be counted: the service has limits.
pub fn client(service: &SmtpdService, address: IpAddr) -> Option<ClientKey> {
    if !service.client_limits.any() {
        return None;
    }
    Some(ClientKey::new(service.number, address, service.client_prefixes))
}

/// A session of this client begins. False: it is not counted, and nothing of it must be reported.
#[must_use]
pub fn connected(shard: &Shard, client: ClientKey) -> bool {
    shard.anvil.here.borrow_mut().connected(client)
}

/// A session that was counted is over. Its home hears so at once: the client may be back on another shard any moment,
/// and must not be refused for sessions that have ended.
pub fn disconnected(shard: &Shard, client: ClientKey) {
    shard.anvil.here.borrow_mut().disconnected(client);
    let home = client.home(shard.shards);
    let news = shard.anvil.here.borrow().news(client);
    if home == shard.index || news.is_none_or(|news| !tell(shard, home, news, 0)) {
        tell_later(shard, client);
    }
}

/// Something happened in a session, and no limit depends on it.
pub fn happened(shard: &Shard, client: ClientKey, event: ClientEvent) {
    shard.anvil.here.borrow_mut().happened(client, event);
    tell_later(shard, client);
}

/// Something happened in a session: the client's counts, that event included. `None` when its home did not answer in
/// time or does not count it.
pub async fn counts_after(shard: &Shard, client: ClientKey, event: ClientEvent) -> Option<ClientCounts> {
    shard.anvil.here.borrow_mut().happened(client, event);
    counts(shard, client).await
}

/// The counts of a client that has a session open here; as [`counts_after`].
pub async fn counts(shard: &Shard, client: ClientKey) -> Option<ClientCounts> {
    let anvil = &shard.anvil;
    let home = client.home(shard.shards);
    let news = anvil.here.borrow().news(client)?;
    if home == shard.index {
        anvil.here.borrow_mut().said(client);
        return hear(shard, home, &news);
    }
    let question = anvil.last_question.get().checked_add(1).unwrap_or(1);
    if !tell(shard, home, news, question) {
        tell_later(shard, client);
        return None;
    }
    anvil.last_question.set(question);
    let (sender, answer) = oneshot();
    anvil.questions.borrow_mut().insert(question, sender);
    let answer = shard.handle.timeout(ANSWER_WAIT, answer).await;
    anvil.questions.borrow_mut().remove(&question);
    answer.ok()?.ok()?
}

/// Tells what there is to tell of a client: at home at once, to another shard within `TELL_WAIT`.
pub fn tell_later(shard: &Shard, client: ClientKey) {
    let anvil = &shard.anvil;
    let home = client.home(shard.shards);
    if home != shard.index {
        if anvil.here.borrow_mut().file(client) {
            anvil.some_unsaid.notify();
        }
        return;
    }
    let news = anvil.here.borrow().news(client);
    if let Some(news) = news {
        anvil.here.borrow_mut().said(client);
        hear(shard, home, &news);
    }
}

/// Tells news, and asks if `question` is not 0. False when the ring is full: nothing was told.
fn tell(shard: &Lasting, home: usize, news: ClientNews, question: u32) -> bool {
    let message = MeshMessage::ClientEvent { news, question };
    let told = shard.mesh.borrow_mut().try_send(home, message).is_ok();
    if told {
        shard.anvil.here.borrow_mut().said(news.client);
    }
    told
}

fn hear(shard: &Shard, from: usize, news: &ClientNews) -> Option<ClientCounts> {
    let counts = shard.anvil.table.borrow_mut().hear(from as u16, news, now_ms(shard));
    if counts.is_none() {
        shard.anvil.uncounted.set(shard.anvil.uncounted.get() + 1);
    }
    counts
}

fn now_ms(shard: &Lasting) -> u64 {
    shard.handle.now().as_nanos() / 1_000_000
}

// ---------------------------------------------------------------------------------------------------------------
// what other shards say

/// News of a client whose home this shard is; answered if it is a question.
pub fn heard(shard: &Shard, from: usize, news: &ClientNews, question: u32) {
    let counts = hear(shard, from, news);
    if question > 0 {
        // Lost when the ring is full: the session that asks waits no longer than ANSWER_WAIT and goes on.
        let _ = shard.mesh.borrow_mut().try_send(from, MeshMessage::ClientCounts { question, counts });
    }
}

/// The answer to a question of this shard, unless it comes too late.
pub fn answered(shard: &Shard, question: u32, counts: Option<ClientCounts>) {
    if let Some(sender) = shard.anvil.questions.borrow_mut().remove(&question) {
        // The session may just have given up.
        let _ = sender.send(counts);
    }
}

/// A peak of another home, for the statistics of all.
pub fn peak_told(shard: &Shard, report: PeakReport) {
    shard.anvil.peaks.borrow_mut().merge(report);
}

/// Another home has told its last peaks.
pub fn shard_done(shard: &Shard) {
    shard.anvil.shards_done.set(shard.anvil.shards_done.get() + 1);
    shard.anvil.shard_done.notify();
}

// ---------------------------------------------------------------------------------------------------------------
// tasks

/// Starts what the counts need, if any service has limits and it does not run already.
pub fn start(shard: &Rc<Lasting>) {
    if shard.newest().settings.counts_clients() && !shard.anvil.runs.replace(true) {
        shard.handle.spawn(tell_news(shard.clone()));
        shard.handle.spawn(keep_statistics(shard.clone()));
    }
}

/// Tells the news that waits, about once a second while there is some.
async fn tell_news(shard: Rc<Lasting>) {
    let anvil = &shard.anvil;
    loop {
        while anvil.here.borrow().unsaid() == 0 {
            anvil.some_unsaid.notified().await;
        }
        shard.handle.sleep(TELL_WAIT).await;
        let waiting = anvil.here.borrow().unsaid();
        for _ in 0..waiting {
            let Some(news) = anvil.here.borrow_mut().next_unsaid() else { break };
            if !tell(&shard, news.client.home(shard.shards), news, 0) {
                anvil.here.borrow_mut().file(news.client);
            }
        }
    }
}

/// Every `anvil_status_update_time`, the highest counts go to the log.
async fn keep_statistics(shard: Rc<Lasting>) {
    loop {
        let update = shard.newest().settings.anvil_status_update;
        shard.handle.sleep(update).await;
        shard.anvil.table.borrow_mut().forget_idle(now_ms(&shard));
        tell_peaks(&shard);
        if shard.index == STATISTICIAN {
            shard.handle.sleep(GATHER_WAIT).await;
            log_peaks(&shard.newest());
        }
    }
}

/// The stop begins: this home tells its last peaks.
pub async fn tell_last_peaks(shard: &Shard) {
    if !shard.anvil.runs.get() || shard.index == STATISTICIAN {
        return;
    }
    tell_peaks(shard);
    let told = async {
        while shard.mesh.borrow_mut().try_send(STATISTICIAN, MeshMessage::PeaksTold).is_err() {
            shard.handle.sleep(RING_WAIT).await;
        }
    };
    // If it cannot be told, the statistician waits as long as this and does without.
    let _ = shard.handle.timeout(GATHER_WAIT, told).await;
}

/// The end of the stop: the shard that logs statistics waits for the last peaks of the others, and logs them.
pub async fn log_last_peaks(shard: &Shard) {
    if !shard.anvil.runs.get() || shard.index != STATISTICIAN {
        return;
    }
    tell_peaks(shard);
    let anvil = &shard.anvil;
    let gathered = async {
        while anvil.shards_done.get() + 1 < shard.shards {
            anvil.shard_done.notified().await;
        }
    };
    // The peaks of a shard that is late are lost, which nobody will miss more than the stop.
    let _ = shard.handle.timeout(GATHER_WAIT, gathered).await;
    log_peaks(shard);
}

/// Hands this home's peaks to the shard that logs them; what finds the ring full is told next time.
fn tell_peaks(shard: &Lasting) {
    let uncounted = shard.anvil.uncounted.take();
    if uncounted > 0 {
        let text = format_args!(
            "{CLIENTS_MAX} clients have sessions open; {uncounted} events of more were not counted"
        );
        shard.log.warning("anvil", shard.index as u32, text);
    }
    let mut peaks = shard.anvil.peaks.borrow_mut();
    shard.anvil.table.borrow_mut().take_peaks().reports().for_each(|report| peaks.merge(report));
    if shard.index == STATISTICIAN {
        return;
    }
    let mut mesh = shard.mesh.borrow_mut();
    let mut left = Peaks::default();
    for report in std::mem::take(&mut *peaks).reports() {
        if mesh.try_send(STATISTICIAN, MeshMessage::ClientPeak(report)).is_err() {
            left.merge(report);
        }
    }
    *peaks = left;
}

fn log_peaks(shard: &Shard) {
    let peaks = shard.anvil.peaks.take();
    let (now_ms, now_s) = (now_ms(shard), shard.handle.wall().as_secs());
    let mut clock = SyslogTime::new(shard.log.zone());
    let time = |at_ms: u64| {
        let at_s = now_s.saturating_sub(now_ms.saturating_sub(at_ms) / 1000);
        String::from_utf8_lossy(clock.text(at_s as i64)).into_owned()
    };
    let service = |number: u16| shard.settings.service_name(number);
    for line in peaks.lines(shard.settings.anvil_unit.as_secs(), service, time) {
        shard.log.info("anvil", shard.index as u32, format_args!("{line}"));
    }
}
