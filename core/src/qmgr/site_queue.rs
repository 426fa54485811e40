//! A site's work on this shard: messages waiting for it, grants held, deliveries in progress.
//!
//! A message's recipients for the site are a *job*; jobs are served in the order they came, each cut into requests
//! of at most the transport's recipient limit. A job that is big enough earns a slot with every `slot_cost`
//! requests started, and small jobs behind it spend those slots to overtake it: Postfix's pre-emptive scheduling,
//! with each site as its own scheduling domain, since here no fixed count of agents is shared between sites.

use super::action::Recipients;
use super::arena::Key;
use super::settings::TransportSettings;
use std::collections::VecDeque;

/// Jobs behind the current one that are looked at for one that may overtake: bounds the cost of a start. Also the jobs
/// that are looked at for the one that more recipients belong to.
const CANDIDATES_MAX: usize = 100;
/// Spare room that an emptied queue keeps.
const SPARE_JOBS: usize = 16;

/// Recipients of one message for one site, as they are read.
pub(super) struct Batch {
    pub message: Key,
    pub recipients: Recipients,
    /// Jobs of the message, this one included, as far as is known.
    pub siblings: u32,
    /// Recipients of the message that are not read yet; any of them may be for this site.
    pub unread: u32,
    /// When the message became active.
    pub active_since_ms: u64,
}

/// One message's recipients for one site.
pub(super) struct Job {
    pub message: Key,
    pub recipients: Recipients,
    /// Recipients before this one are in requests that have started.
    started: u32,
    /// Requests in the whole job.
    requests: u32,
    /// Jobs of its message, this one included.
    siblings: u32,
    /// Recipients that may still be read for it.
    unread: u32,
    /// Requests started, less what was spent on overtaking jobs.
    credit: i64,
    /// Another job has overtaken it and is in front of it.
    overtaken: bool,
    queued_at_ms: u64,
}

impl Job {
    pub fn remaining(&self) -> u32 {
        self.recipients.len() as u32 - self.started
    }

    fn remaining_requests(&self, recipients_max: u32) -> u32 {
        requests(self.remaining(), recipients_max)
    }

    /// What it may come to with the recipients that are not read yet.
    fn expected_requests(&self, recipients_max: u32) -> u32 {
        requests(self.remaining().saturating_add(self.unread), recipients_max)
    }
}

/// A request cut from a job.
pub(super) struct Request {
    pub message: Key,
    pub recipients: Recipients,
}

pub(super) struct SiteQueue {
    jobs: VecDeque<Job>,
    /// Requests in all jobs that have not started.
    requests: u32,
    /// Deliveries that may start.
    grants: u32,
    in_progress: u32,
}

impl SiteQueue {
    pub fn new() -> Self {
        Self { jobs: VecDeque::new(), requests: 0, grants: 0, in_progress: 0 }
    }

    /// Queues the first recipients of a message for this site.
    pub fn push(&mut self, batch: Batch, settings: &TransportSettings) {
        let job = self.job(batch, settings);
        self.jobs.push_back(job);
    }

    /// Queues more recipients of a message: with those that still wait, else where the message's age puts them.
    pub fn extend(&mut self, batch: Batch, settings: &TransportSettings) {
        let since_ms = batch.active_since_ms;
        let behind = self.jobs.partition_point(|job| job.queued_at_ms <= since_ms);
        let same_age = self.jobs.range(..behind).rev().take(CANDIDATES_MAX);
        let found = same_age
            .take_while(|job| job.queued_at_ms == since_ms)
            .position(|job| job.message == batch.message)
            .map(|back| behind - 1 - back)
            .or_else(|| self.jobs.iter().take(CANDIDATES_MAX).position(|job| job.message == batch.message));
        match found {
            Some(index) => {
                let job = &mut self.jobs[index];
                if job.started as usize * 2 >= job.recipients.len() {
                    job.recipients.drain(..job.started as usize);
                    job.started = 0;
                }
                let before = job.remaining_requests(settings.recipients_max);
                job.recipients.extend_from_slice(&batch.recipients);
                job.unread = batch.unread;
                let more = job.remaining_requests(settings.recipients_max) - before;
                job.requests = job.requests.saturating_add(more);
                self.requests += more;
            }
            None => {
                let job = self.job(batch, settings);
                self.jobs.insert(behind, job);
            }
        }
    }

    fn job(&mut self, batch: Batch, settings: &TransportSettings) -> Job {
        let requests = requests(batch.recipients.len() as u32, settings.recipients_max);
        self.requests += requests;
        Job {
            message: batch.message,
            recipients: batch.recipients,
            started: 0,
            requests,
            siblings: batch.siblings,
            unread: batch.unread,
            credit: 0,
            overtaken: false,
            queued_at_ms: batch.active_since_ms,
        }
    }

    /// Messages that wait or are being delivered, as far as jobs and deliveries tell.
    pub fn messages(&self) -> usize {
        self.jobs.len() + self.in_progress as usize
    }

    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub fn in_progress(&self) -> u32 {
        self.in_progress
    }

    /// The message in front is big enough to be pre-empted, by its requests for this site or by its sites.
    pub fn front_is_bulk(&self, settings: &TransportSettings) -> bool {
        self.jobs.front().is_some_and(|job| {
            let expected = if job.unread > 0 { job.expected_requests(settings.recipients_max) } else { 0 };
            is_bulk(job.requests.max(job.siblings).max(expected), settings)
        })
    }

    /// Deliveries in progress and those that could start if all were granted.
    pub fn wanted(&self) -> u32 {
        self.in_progress.saturating_add(self.requests)
    }

    /// Grants for deliveries in progress and for those to come.
    pub fn held(&self) -> u32 {
        self.in_progress + self.grants
    }

    /// Whether a delivery may start.
    pub fn has_grant(&self) -> bool {
        self.grants > 0
    }

    /// Grants for which there is no work.
    pub fn spare(&self) -> u32 {
        self.grants.saturating_sub(self.requests)
    }

    /// More deliveries may start.
    pub fn granted(&mut self, deliveries: u32) {
        self.grants += deliveries;
    }

    /// Takes up to so many unused grants away; says how many.
    pub fn take_back(&mut self, grants_max: u32) -> u32 {
        let taken = self.grants.min(grants_max);
        self.grants -= taken;
        taken
    }

    /// A delivery has ended, and its grant with it.
    pub fn finished(&mut self) {
        assert!(self.in_progress > 0, "a delivery ended on a site that had none");
        self.in_progress -= 1;
    }

    /// Spends a grant on the next request. Jobs for which `is_stale` says so are dropped on the way.
    pub fn start(
        &mut self,
        settings: &TransportSettings,
        now_ms: u64,
        mut is_stale: impl FnMut(&Job) -> bool,
    ) -> Option<Request> {
        if self.grants == 0 {
            return None;
        }
        loop {
            self.overtake(settings, now_ms);
            if is_stale(self.jobs.front()?) {
                self.pop_job(settings);
                continue;
            }
            let job = self.jobs.front_mut()?;
            let message = job.message;
            let count = request_recipients(job.remaining(), settings.recipients_max);
            let whole = job.started == 0 && count == job.remaining();
            let recipients = if whole {
                std::mem::take(&mut job.recipients)
            } else {
                let from = job.started as usize;
                Recipients::from_slice(&job.recipients[from..from + count as usize])
            };
            job.started += count;
            job.credit += 1;
            let is_last = whole || job.remaining() == 0;
            self.requests -= 1;
            if is_last {
                self.jobs.pop_front();
                self.trim();
            }
            self.grants -= 1;
            self.in_progress += 1;
            return Some(Request { message, recipients });
        }
    }

    /// Takes the first job with all its recipients that have not started; for a dead site.
    pub fn pop_job(&mut self, settings: &TransportSettings) -> Option<(Key, Recipients)> {
        let mut job = self.jobs.pop_front()?;
        self.trim();
        self.requests -= job.remaining_requests(settings.recipients_max);
        if job.started > 0 {
            job.recipients.drain(..job.started as usize);
        }
        Some((job.message, job.recipients))
    }

    /// The recipient limit may have changed: counts the requests anew.
    pub fn recount(&mut self, settings: &TransportSettings) {
        self.requests = self.jobs.iter().map(|job| job.remaining_requests(settings.recipients_max)).sum();
    }

    /// Drops all stale jobs.
    pub fn sweep(&mut self, settings: &TransportSettings, mut is_stale: impl FnMut(&Job) -> bool) {
        let requests = &mut self.requests;
        self.jobs.retain(|job| {
            let stale = is_stale(job);
            if stale {
                *requests -= job.remaining_requests(settings.recipients_max);
            }
            !stale
        });
        self.trim();
    }

    /// Lets a small job overtake the current one, if that has earned the slots for it.
    fn overtake(&mut self, settings: &TransportSettings, now_ms: u64) {
        let cost = i64::from(settings.slot_cost);
        let Some(current) = self.jobs.front() else { return };
        if self.jobs.len() < 2 || !is_bulk(current.requests, settings) || current.credit <= 0 {
            return;
        }
        // What does not fit into all the slots that the current job can still earn never overtakes it.
        let left = i64::from(current.expected_requests(settings.recipients_max));
        let slots_max = (left + current.credit) / cost;
        let mut best: Option<(usize, u64, u32)> = None;
        for (index, job) in self.jobs.iter().enumerate().skip(1).take(CANDIDATES_MAX) {
            let need = job.expected_requests(settings.recipients_max);
            if job.overtaken || i64::from(need) > slots_max {
                continue;
            }
            // The best has waited longest for its size; compared crosswise to spare a division.
            let waited_ms = now_ms.saturating_sub(job.queued_at_ms) + 1;
            let better = |&(_, best_waited_ms, best_need): &(usize, u64, u32)| {
                u128::from(waited_ms) * u128::from(best_need) > u128::from(best_waited_ms) * u128::from(need)
            };
            if best.as_ref().is_none_or(better) {
                best = Some((index, waited_ms, need));
            }
        }
        let Some((index, _, need)) = best else { return };
        let need = i64::from(need);
        let owed_percent = i64::from(settings.slot_discount_percent.min(100));
        let slots = self.jobs[0].credit / cost + i64::from(settings.slot_loan);
        if slots * 100 < need * (100 - owed_percent) {
            return;
        }
        self.jobs[0].credit -= need * cost;
        self.jobs[0].overtaken = true;
        let job = self.jobs.remove(index).expect("the index was found in this queue");
        self.jobs.push_front(job);
    }

    fn trim(&mut self) {
        if self.jobs.is_empty() && self.jobs.capacity() > SPARE_JOBS {
            self.jobs = VecDeque::new();
        }
    }
}

/// Whether a job can ever earn the slots that make it worth pre-empting.
fn is_bulk(requests: u32, settings: &TransportSettings) -> bool {
    settings.slot_cost > 0 && requests >= settings.slot_cost.saturating_mul(settings.minimum_slots).max(1)
}

/// Requests that so many recipients make.
fn requests(recipients: u32, recipients_max: u32) -> u32 {
    if recipients_max == 0 { recipients.min(1) } else { recipients.div_ceil(recipients_max) }
}

fn request_recipients(remaining: u32, recipients_max: u32) -> u32 {
    if recipients_max == 0 { remaining } else { remaining.min(recipients_max) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32) -> Key {
        Key { index, generation: 0 }
    }

    /// A message that became active at the millisecond of its index.
    fn batch(index: u32, recipients: std::ops::Range<u32>, unread: u32) -> Batch {
        Batch {
            message: message(index),
            recipients: recipients.collect(),
            siblings: 1,
            unread,
            active_since_ms: u64::from(index),
        }
    }

    /// Queues jobs (message index, recipients) and gives the order in which messages' requests start.
    fn order(settings: &TransportSettings, jobs: &[(u32, u32)]) -> Vec<u32> {
        let mut queue = SiteQueue::new();
        for &(index, recipients) in jobs {
            queue.push(batch(index, 0..recipients, 0), settings);
        }
        let mut started = Vec::new();
        loop {
            queue.granted(1);
            let Some(request) = queue.start(settings, 1000, |_| false) else { break };
            started.push(request.message.index);
            queue.finished();
        }
        assert_eq!(queue.requests, 0);
        started
    }

    #[test]
    fn a_small_message_overtakes_a_huge_one_that_still_finishes() {
        let started = order(&TransportSettings::default(), &[(0, 100_000), (1, 1), (2, 1)]);
        let place = |index| started.iter().position(|&m| m == index).unwrap();
        assert!(place(1) <= 2 && place(2) <= 12, "{} {}", place(1), place(2));
        assert_eq!(started.iter().filter(|&&m| m == 0).count(), 2000);
    }

    #[test]
    fn overtaking_takes_one_start_in_six_at_most() {
        let jobs: Vec<(u32, u32)> = [(0, 10_000)].into_iter().chain((1..90).map(|m| (m, 1))).collect();
        let started = order(&TransportSettings::default(), &jobs);
        let small = started[..120].iter().filter(|&&m| m != 0).count();
        assert!((18..=21).contains(&small), "{small} small ones among the first 120");
    }

    #[test]
    fn small_messages_keep_their_order() {
        let jobs: Vec<(u32, u32)> = (0..50).map(|m| (m, 1)).collect();
        assert_eq!(order(&TransportSettings::default(), &jobs), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_slot_cost_jobs_are_served_in_order() {
        let settings = TransportSettings { slot_cost: 0, ..TransportSettings::default() };
        let started = order(&settings, &[(0, 5000), (1, 1)]);
        assert_eq!(started.last(), Some(&1));
    }

    #[test]
    fn a_request_never_exceeds_the_recipient_limit_and_covers_each_recipient_once() {
        let settings = TransportSettings::default();
        let mut queue = SiteQueue::new();
        queue.push(batch(0, 0..120, 0), &settings);
        let mut seen = Vec::new();
        for expected in [50, 50, 20] {
            queue.granted(1);
            let request = queue.start(&settings, 0, |_| false).unwrap();
            assert_eq!((request.recipients.len(), queue.has_work()), (expected, expected == 50));
            seen.extend(request.recipients);
        }
        assert_eq!(seen, (0..120).collect::<Vec<u32>>());
    }

    /// Starts one request; answers its message and recipients.
    fn start_one(queue: &mut SiteQueue, settings: &TransportSettings) -> Option<(u32, Recipients)> {
        queue.granted(1);
        let request = queue.start(settings, 1000, |_| false)?;
        queue.finished();
        Some((request.message.index, request.recipients))
    }

    #[test]
    fn recipients_that_are_read_later_join_their_message_and_keep_its_place() {
        let settings = TransportSettings { slot_cost: 0, ..TransportSettings::default() };
        let mut queue = SiteQueue::new();
        queue.push(batch(3, 0..60, 40), &settings);
        queue.push(batch(5, 0..1, 0), &settings);
        assert_eq!(start_one(&mut queue, &settings).map(|(index, some)| (index, some.len())), Some((3, 50)));
        queue.extend(batch(3, 60..100, 0), &settings);
        let (index, recipients) = start_one(&mut queue, &settings).unwrap();
        assert_eq!((index, recipients.to_vec()), (3, (50..100).collect()));
        // Nothing of it waits any more: what comes now still goes before the younger message.
        queue.extend(batch(3, 100..110, 0), &settings);
        assert_eq!(start_one(&mut queue, &settings).map(|(index, _)| index), Some(3));
        assert_eq!(start_one(&mut queue, &settings).map(|(index, _)| index), Some(5));
        assert_eq!((queue.requests, queue.has_work()), (0, false));
    }

    #[test]
    fn a_message_of_which_little_is_read_does_not_pass_for_a_small_one() {
        let settings = TransportSettings::default();
        let mut queue = SiteQueue::new();
        queue.push(batch(0, 0..5000, 0), &settings);
        queue.push(batch(1, 0..10, 90_000), &settings);
        let started: Vec<_> = (0..100).map(|_| start_one(&mut queue, &settings).unwrap().0).collect();
        assert_eq!(started, [0; 100]);
    }

    #[test]
    fn reading_in_batches_keeps_what_a_job_holds_bounded() {
        let settings = TransportSettings::default();
        let mut queue = SiteQueue::new();
        queue.push(batch(0, 0..200, 100_000), &settings);
        let mut at = 200;
        let mut seen = 0;
        while let Some((_, recipients)) = start_one(&mut queue, &settings) {
            assert_eq!(recipients[0], seen);
            seen += recipients.len() as u32;
            if at < 100_200 {
                queue.extend(batch(0, at..at + 50, 100_200 - at - 50), &settings);
                at += 50;
            }
            assert!(queue.jobs.front().is_none_or(|job| job.recipients.len() <= 500));
        }
        assert_eq!(seen, 100_200);
    }
}
