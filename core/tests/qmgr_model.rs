//! Random histories of a queue manager, checked against a plain model: nothing is lost, nothing is delivered twice
//! at a time, windows and limits hold, no site starves. A failure names its seed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ringpost_core::qmgr::{
    Action, Delivery, DeliveryReport, MessageId, MessageState, QmgrSettings, Refilled, Resolved, Scheduler,
    SiteHandle, TransportSettings,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const START_MS: u64 = 1_800_000_000_000;
const SITES: [(&str, &str); 9] = [
    ("smtp", "a.example"),
    ("smtp", "b.example"),
    ("smtp", "dead.example"),
    ("lmtp", "a.example"),
    ("slow", "c.example"),
    ("slow", "d.example"),
    ("rated", "e.example"),
    ("rated", "f.example"),
    ("parked", "g.example"),
];
const DEAD: usize = 2;
const PARKED: usize = 8;
const RATED_MS: u64 = 700;

/// SplitMix64: the whole history follows from the seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Which states the model takes for possible: an operator's wish takes effect when an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Waiting,
    Active,
    Hold,
    Corrupt,
}

struct Message {
    expected: Expected,
    arrival_ms: u64,
    /// Recipients that are neither delivered nor bounced, with their sites.
    remaining: BTreeMap<u32, usize>,
    /// Recipients in a delivery right now.
    in_progress: BTreeSet<u32>,
    /// Recipients that have been tried, or put off, in this attempt.
    tried: BTreeSet<u32>,
    /// Recipients from this one on have not been handed in yet.
    unread_from: u32,
    /// A flush let it go.
    flushed: bool,
    force_expired: bool,
    not_before_ms: u64,
}

struct Model {
    scheduler: Scheduler,
    settings: QmgrSettings,
    random: Random,
    now_ms: u64,
    messages: BTreeMap<u64, Message>,
    activating: VecDeque<u64>,
    refilling: VecDeque<(u64, u32)>,
    running: Vec<Delivery>,
    rated_closed_until_ms: u64,
    next_id: u64,
    finished: u64,
    refills: u64,
    dead_site_recovers: bool,
    clock_stepped_back: bool,
}

fn settings() -> QmgrSettings {
    let memory = TransportSettings {
        recipients_in_memory_max: 60,
        extra_recipients_max: 20,
        ..TransportSettings::default()
    };
    let slow = TransportSettings { rate_delay_ms: 1500, recipients_max: 3, ..memory.clone() };
    let rated = TransportSettings { transport_rate_delay_ms: RATED_MS, recipients_max: 4, ..memory.clone() };
    QmgrSettings {
        active_messages_max: 30,
        active_bytes_max: 1 << 20,
        active_recipients_max: 100,
        message_recipients_min: 4,
        deferred_transports: vec!["parked".to_owned()],
        incoming_kept_messages_max: 10,
        deliveries_max: 12,
        idle_sites_max: 2,
        default_transport: TransportSettings { recipients_max: 5, refill_recipients: 7, ..memory },
        transports: [("slow".to_owned(), slow), ("rated".to_owned(), rated)].into(),
        ..QmgrSettings::default()
    }
}

fn names_of(site: usize) -> &'static str {
    SITES[site].0
}

impl Message {
    fn unread(&self) -> u32 {
        self.remaining.range(self.unread_from..).count() as u32
    }
}

impl Model {
    fn new(seed: u64) -> Self {
        Self {
            scheduler: Scheduler::new(settings(), START_MS),
            settings: settings(),
            random: Random(seed),
            now_ms: START_MS,
            messages: BTreeMap::new(),
            activating: VecDeque::new(),
            refilling: VecDeque::new(),
            running: Vec::new(),
            rated_closed_until_ms: 0,
            next_id: 1,
            finished: 0,
            refills: 0,
            dead_site_recovers: false,
            clock_stepped_back: false,
        }
    }

    fn site(&mut self, index: usize) -> SiteHandle {
        self.scheduler.site(SITES[index].0, SITES[index].1)
    }

    fn new_message(&mut self) {
        let id = self.next_id;
        self.next_id += 1 + self.random.below(3) * 1024;
        let count = match self.random.below(10) {
            0 => 120,
            1..=3 => 1 + self.random.below(20),
            _ => 1,
        };
        let remaining =
            (0..count as u32).map(|recipient| (recipient, self.random.below(9) as usize)).collect();
        let message = Message {
            expected: Expected::Waiting,
            arrival_ms: self.now_ms,
            remaining,
            in_progress: BTreeSet::new(),
            tried: BTreeSet::new(),
            unread_from: 0,
            flushed: false,
            force_expired: false,
            not_before_ms: 0,
        };
        self.messages.insert(id, message);
        if self.random.once_in(4) {
            let due_at_ms = self.now_ms - 5000 + self.random.below(20_000);
            self.messages.get_mut(&id).unwrap().not_before_ms = due_at_ms;
            self.scheduler.recovered(MessageId(id), due_at_ms, self.now_ms);
        } else {
            self.scheduler.arrived(MessageId(id), self.random.below(50_000) as u32, self.now_ms);
        }
    }

    fn answer_activation(&mut self) {
        let Some(id) = self.activating.pop_front() else { return };
        match self.random.below(40) {
            0 => {
                self.messages.get_mut(&id).unwrap().expected = Expected::Corrupt;
                self.scheduler.corrupted(MessageId(id));
            }
            1 => self.scheduler.postponed(MessageId(id), self.now_ms),
            _ => {
                let plan = self.read(id, self.scheduler.batch_recipients());
                let message = &self.messages[&id];
                let resolved = Resolved {
                    arrival_ms: message.arrival_ms,
                    bytes: self.random.below(100_000) as u32,
                    null_sender: id % 5 == 0,
                    force_expired: message.force_expired,
                    deferred: 0,
                    unread: message.unread(),
                };
                self.scheduler.activated(MessageId(id), resolved, &plan, self.now_ms);
            }
        }
    }

    /// The next recipients of a message, with their sites.
    fn read(&mut self, id: u64, recipients_max: u32) -> Vec<(SiteHandle, u32)> {
        let handles: Vec<_> = (0..SITES.len()).map(|index| self.site(index)).collect();
        let message = self.messages.get_mut(&id).unwrap();
        let next = message.remaining.range(message.unread_from..).take(recipients_max as usize);
        let plan: Vec<_> = next.map(|(&recipient, &site)| (handles[site], recipient)).collect();
        message.unread_from = plan.last().map_or(u32::MAX, |&(_, last)| last + 1);
        plan
    }

    fn answer_refill(&mut self) {
        let Some((id, recipients_max)) = self.refilling.pop_front() else { return };
        assert!(recipients_max > 0);
        self.refills += 1;
        let plan = self.read(id, recipients_max);
        let read = Refilled { deferred: 0, unread: self.messages[&id].unread() };
        self.scheduler.refilled(MessageId(id), read, &plan, self.now_ms);
    }

    fn started(&mut self, delivery: Delivery) {
        let names = self.scheduler.site_names(delivery.site).expect("a site in use is known");
        let site = SITES.iter().position(|&known| known == names).unwrap();
        let most = self.settings.transport(names.0).recipients_max as usize;
        assert!((1..=most).contains(&delivery.recipients.len()));
        let message = self.messages.get_mut(&delivery.id.0).expect("only known messages are delivered");
        assert_eq!(message.expected, Expected::Active);
        for recipient in &delivery.recipients {
            assert_eq!(message.remaining.get(recipient), Some(&site), "a finished or foreign recipient");
            assert!(message.in_progress.insert(*recipient) && message.tried.insert(*recipient));
        }
        self.running.push(delivery);
        let handle = self.running[self.running.len() - 1].site;
        let in_progress = self.running.iter().filter(|delivery| delivery.site == handle).count() as u32;
        let (counted, window) = self.scheduler.site_load(handle).unwrap();
        assert_eq!(counted, in_progress);
        assert!(in_progress <= window, "{in_progress} deliveries in a window of {window}");
        assert!(!(4..6).contains(&site) || in_progress == 1, "a rate delay sends one at a time");
        if names_of(site) == "rated" {
            let of_transport = |delivery: &&Delivery| {
                self.scheduler.site_names(delivery.site).is_some_and(|(transport, _)| transport == "rated")
            };
            assert_eq!(
                self.running.iter().filter(of_transport).count(),
                1,
                "one at a time over the transport"
            );
            assert!(
                self.clock_stepped_back || self.now_ms >= self.rated_closed_until_ms,
                "no pause in between"
            );
        }
        assert!(site != PARKED || self.messages[&self.running[self.running.len() - 1].id.0].flushed);
        assert!(self.running.len() <= self.settings.deliveries_max as usize);
    }

    fn finish(&mut self, index: usize) {
        let delivery = self.running.swap_remove(index);
        if self.scheduler.site_names(delivery.site).is_some_and(|(transport, _)| transport == "rated") {
            self.rated_closed_until_ms = self.now_ms + RATED_MS;
        }
        let dead = self.scheduler.site_names(delivery.site) == Some(SITES[DEAD]) && !self.dead_site_recovers;
        let trouble = dead || self.random.once_in(15);
        let message = self.messages.get_mut(&delivery.id.0).unwrap();
        let mut done = 0;
        for recipient in &delivery.recipients {
            message.in_progress.remove(recipient);
            if !trouble && !self.random.once_in(6) {
                message.remaining.remove(recipient);
                done += 1;
            }
        }
        let report = DeliveryReport {
            done,
            deferred: delivery.recipients.len() as u32 - done,
            trouble: trouble.then_some("connection timed out"),
        };
        self.scheduler.delivery_finished(delivery.delivery_id, report, self.now_ms);
        if self.random.once_in(2)
            && let Some(next) = self.scheduler.next_for(delivery.site)
        {
            assert_eq!(next.site, delivery.site);
            self.started(next);
        }
    }

    fn poll(&mut self) {
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Activate { id } => {
                    let message = self.messages.get_mut(&id.0).expect("only known messages are activated");
                    assert_eq!(message.expected, Expected::Waiting);
                    let early = self.now_ms < message.not_before_ms;
                    assert!(!early || self.clock_stepped_back, "a message left before its due time");
                    message.expected = Expected::Active;
                    message.tried.clear();
                    message.unread_from = 0;
                    self.activating.push_back(id.0);
                }
                Action::Refill { id, recipients_max } => self.refilling.push_back((id.0, recipients_max)),
                Action::Deliver(delivery) => self.started(delivery),
                Action::DeferTransport { id, recipients, .. } => {
                    let message = self.messages.get_mut(&id.0).unwrap();
                    assert!(!message.flushed);
                    for recipient in &recipients {
                        assert_eq!(message.remaining.get(recipient), Some(&PARKED));
                        assert!(message.tried.insert(*recipient));
                    }
                }
                Action::WarnOfClog { .. } => {}
                Action::DeferNow { id, recipients, reason, .. } => {
                    assert_eq!(&*reason, "connection timed out");
                    let message = self.messages.get_mut(&id.0).unwrap();
                    for recipient in &recipients {
                        assert!(
                            message.remaining.contains_key(recipient) && message.tried.insert(*recipient)
                        );
                    }
                }
                Action::MessageDone { id } | Action::Expire { id } => {
                    let message = self.messages.remove(&id.0).expect("a message ends once");
                    assert!(
                        message.unread() == 0 || id.0 % 3 == 0,
                        "only a deletion leaves recipients unread"
                    );
                    assert!(message.in_progress.is_empty());
                    self.finished += 1;
                }
                Action::Retry { id, due_at_ms } => {
                    let message = self.messages.get_mut(&id.0).unwrap();
                    assert!(message.in_progress.is_empty() && !message.remaining.is_empty());
                    assert!(due_at_ms <= self.now_ms + self.settings.maximal_backoff_ms);
                    assert!(!message.force_expired || message.tried.is_empty(), "it was to expire");
                    message.expected = Expected::Waiting;
                    message.not_before_ms = due_at_ms;
                    message.flushed = false;
                }
                Action::Held { id } => {
                    let message = self.messages.get_mut(&id.0).unwrap();
                    assert!(message.in_progress.is_empty());
                    message.expected = Expected::Hold;
                    message.flushed = false;
                }
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=24 => self.new_message(),
            25..=44 => self.answer_activation(),
            45..=49 => self.answer_refill(),
            50..=79 if !self.running.is_empty() => {
                let index = self.random.below(self.running.len() as u64) as usize;
                self.finish(index);
            }
            80..=89 => self.operate(),
            90..=97 => {
                self.now_ms += self.random.below(3000) * self.random.below(100);
                self.scheduler.tick(self.now_ms);
            }
            98 if self.random.once_in(5) => {
                // What was decided before is taken before: its times are those of the old reading.
                self.poll();
                self.now_ms -= self.random.below(1_000_000);
                self.clock_stepped_back = true;
                self.scheduler.tick(self.now_ms);
            }
            _ => {}
        }
        // Actions may stay untaken for some events.
        if !self.random.once_in(3) {
            self.poll();
            self.check();
        }
    }

    fn operate(&mut self) {
        self.poll();
        let nth = self.random.below(self.messages.len().max(1) as u64) as usize;
        let Some((&id, message)) = self.messages.iter_mut().nth(nth) else { return };
        let waits = message.expected == Expected::Waiting;
        let scheduler = &mut self.scheduler;
        match self.random.below(5) {
            0 => {
                assert_eq!(scheduler.hold(MessageId(id), self.now_ms), message.expected != Expected::Corrupt)
            }
            1 | 2 => {
                let released = scheduler.release(MessageId(id), self.now_ms);
                if message.expected == Expected::Hold {
                    assert!(released);
                    (message.expected, message.not_before_ms) = (Expected::Waiting, 0);
                }
            }
            3 if id % 3 == 0 => assert!(scheduler.delete(MessageId(id), self.now_ms)),
            _ if self.random.once_in(4) => {
                scheduler.flush(self.now_ms);
                for message in self.messages.values_mut() {
                    message.not_before_ms = 0;
                    message.flushed |= message.expected == Expected::Waiting;
                }
            }
            _ if self.random.once_in(6) => {
                let known = scheduler.force_expire(MessageId(id), self.now_ms);
                assert_eq!(known, message.expected != Expected::Corrupt);
                message.force_expired = true;
            }
            _ => {
                message.flushed |= scheduler.state(MessageId(id)) == Some(MessageState::Deferred);
                assert_eq!(
                    scheduler.flush_message(MessageId(id), self.now_ms),
                    waits || message.expected == Expected::Active
                );
                message.not_before_ms = 0;
            }
        }
    }

    /// Every message is in exactly one state, the one that follows from what was said.
    fn check(&mut self) {
        let mut counts = [0usize; 5];
        for (&id, message) in &self.messages {
            let state = self.scheduler.state(MessageId(id)).expect("a message was lost");
            let fits = match message.expected {
                Expected::Waiting => matches!(state, MessageState::Incoming | MessageState::Deferred),
                Expected::Active => state == MessageState::Active,
                Expected::Hold => state == MessageState::Hold,
                Expected::Corrupt => state == MessageState::Corrupt,
            };
            assert!(fits, "{id} is {state:?}, expected {:?}", message.expected);
            counts[state as usize] += 1;
        }
        let figures = self.scheduler.figures();
        let counted = [figures.incoming, figures.active, figures.deferred, figures.hold, figures.corrupt];
        assert_eq!(counted, counts);
        assert_eq!(figures.deliveries, self.running.len());
        assert!(figures.active <= self.settings.active_messages_max as usize);
        let transports = 5 * (60 + 20 + 7);
        let minimum = self.settings.message_recipients_min * self.settings.active_messages_max;
        // What was withdrawn is swept when it is more than the limit.
        let withdrawn = u64::from(self.settings.active_recipients_max);
        let most = u64::from(self.settings.active_recipients_max + minimum + transports) + withdrawn;
        assert!(figures.active_recipients <= most, "{} recipients in memory", figures.active_recipients);
    }

    /// No new mail, no more holds, the dead site answers: everything must leave.
    fn drain(&mut self) {
        self.dead_site_recovers = true;
        self.poll();
        for id in self.messages.keys().copied().collect::<Vec<_>>() {
            self.scheduler.release(MessageId(id), self.now_ms);
            let message = self.messages.get_mut(&id).unwrap();
            if message.expected == Expected::Hold {
                message.expected = Expected::Waiting;
            }
            message.not_before_ms = 0;
        }
        for _ in 0..200_000 {
            self.poll();
            // What was to be held at the end of an attempt is held now.
            let held: Vec<_> =
                self.messages.iter().filter(|m| m.1.expected == Expected::Hold).map(|m| *m.0).collect();
            for id in held {
                assert!(self.scheduler.release(MessageId(id), self.now_ms));
                self.messages.get_mut(&id).unwrap().expected = Expected::Waiting;
            }
            if !self.activating.is_empty() {
                self.answer_activation();
            } else if !self.refilling.is_empty() {
                self.answer_refill();
            } else if !self.running.is_empty() {
                self.finish(0);
            } else if let Some(wakeup_ms) = self.scheduler.next_wakeup() {
                self.now_ms = self.now_ms.max(wakeup_ms);
                self.scheduler.tick(self.now_ms);
                // Mail for a parked transport leaves with a flush only.
                self.scheduler.flush(self.now_ms);
                for message in self.messages.values_mut() {
                    message.not_before_ms = 0;
                    message.flushed |= message.expected == Expected::Waiting;
                }
            } else if self.scheduler.poll_action().is_none() {
                break;
            }
        }
        self.poll();
        self.check();
        let left = self.messages.values().filter(|message| message.expected != Expected::Corrupt).count();
        assert_eq!(left, 0, "messages never left");
        let figures = self.scheduler.figures();
        assert_eq!((figures.active, figures.active_bytes, figures.kept_bytes), (0, 0, 0));
        assert_eq!(figures.active_recipients, 0);
        assert!(figures.sites <= 2 + SITES.len());
    }
}

#[test]
fn no_history_loses_a_message_or_breaks_a_limit() {
    for seed in 0..24 {
        let history = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            for _ in 0..3000 {
                model.step();
            }
            model.drain();
            assert!(model.finished > 100 && model.refills > 100, "{} {}", model.finished, model.refills);
        });
        assert!(history.is_ok(), "seed {seed}: run the loop for it alone");
    }
}

#[test]
fn two_sites_that_always_have_work_share_the_deliveries() {
    for deliveries_max in [1, 2, 7] {
        let mut scheduler = Scheduler::new(QmgrSettings { deliveries_max, ..settings() }, START_MS);
        let mut served = [0u32; 2];
        let mut since = [0u32; 2];
        let mut running = VecDeque::new();
        for id in 0..5000u64 {
            scheduler.arrived(MessageId(id), 100, START_MS);
        }
        for _ in 0..2000 {
            while let Some(action) = scheduler.poll_action() {
                match action {
                    Action::Activate { id } => {
                        let site = usize::from(id.0 % 2 == 0);
                        let handle = scheduler.site(SITES[site].0, SITES[site].1);
                        let resolved = Resolved {
                            arrival_ms: START_MS,
                            bytes: 100,
                            null_sender: false,
                            deferred: 0,
                            force_expired: false,
                            unread: 0,
                        };
                        scheduler.activated(id, resolved, &[(handle, 0)], START_MS);
                    }
                    Action::Deliver(delivery) => running.push_back(delivery),
                    _ => {}
                }
            }
            let delivery = running.pop_front().expect("there is always work");
            let site = usize::from(delivery.id.0 % 2 == 0);
            served[site] += 1;
            since[site] = 0;
            since[1 - site] += 1;
            assert!(since[1 - site] <= 4 * deliveries_max + 4, "a site starves: {served:?}");
            let report = DeliveryReport { done: 1, deferred: 0, trouble: None };
            scheduler.delivery_finished(delivery.delivery_id, report, START_MS);
            running.extend(scheduler.next_for(delivery.site));
        }
        assert!(served[0].abs_diff(served[1]) < 300, "{served:?}");
    }
}

/// `cargo test --release -p ringpost-core --test qmgr_model -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for release builds"]
#[allow(
    clippy::disallowed_methods,
    reason = "core itself may not read files; its measurement reads its own CPU time"
)]
fn cost_of_one_message() {
    let mut scheduler = Scheduler::new(QmgrSettings::default(), START_MS);
    let names: Vec<String> = (0..1000).map(|n| format!("site-{n}.example")).collect();
    for n in 0..1_000_000u64 {
        scheduler.recovered(MessageId(n << 10 | 1), START_MS + 86_400_000 + n % 3_600_000, START_MS);
    }
    for sites in [1, 1000] {
        let count = 2_000_000u64;
        let cpu = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let cpu_before: u64 = cpu.split(' ').next().unwrap().parse().unwrap();
        let mut done = 0u64;
        let mut running: VecDeque<Delivery> = VecDeque::new();
        for n in 0..count {
            let now_ms = START_MS + n / 100;
            scheduler.arrived(MessageId((n + 1) << 10), 4096, now_ms);
            loop {
                while let Some(action) = scheduler.poll_action() {
                    match action {
                        Action::Activate { id } => {
                            let site = scheduler.site("smtp", &names[(id.0 >> 10) as usize % sites]);
                            let resolved = Resolved {
                                arrival_ms: START_MS,
                                bytes: 4096,
                                null_sender: false,
                                deferred: 0,
                                force_expired: false,
                                unread: 0,
                            };
                            scheduler.activated(id, resolved, &[(site, 0)], now_ms);
                        }
                        Action::Deliver(delivery) => running.push_back(delivery),
                        Action::MessageDone { .. } => done += 1,
                        other => panic!("{other:?}"),
                    }
                }
                if running.len() < 4 {
                    break;
                }
                let delivery = running.pop_front().unwrap();
                let report = DeliveryReport { done: 1, deferred: 0, trouble: None };
                scheduler.delivery_finished(delivery.delivery_id, report, now_ms);
                running.extend(scheduler.next_for(delivery.site));
            }
            if n % 100 == 0 {
                scheduler.tick(now_ms);
                std::hint::black_box(scheduler.next_wakeup());
            }
        }
        let cpu = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let cpu_after: u64 = cpu.split(' ').next().unwrap().parse().unwrap();
        println!("{sites} sites: {} ns CPU a message", (cpu_after - cpu_before) / count);
        for delivery in running {
            let report = DeliveryReport { done: 1, deferred: 0, trouble: None };
            scheduler.delivery_finished(delivery.delivery_id, report, START_MS);
        }
        done += std::iter::from_fn(|| scheduler.poll_action()).count() as u64;
        assert_eq!(done, count);
    }
}
