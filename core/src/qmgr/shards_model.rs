//! Several schedulers with rings of very small capacity between them, driven in any order: what holds at every moment
//! over all shards together, and that everything comes to rest.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::claim::LINGER_MS;
use super::scheduler::Scheduler;
use super::settings::{QmgrSettings, TransportSettings};
use super::slots::{ShardPlace, SlotMessage};
use super::{Action, Delivery, DeliveryReport, MessageId, Resolved, SiteHandle};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};

const START_MS: u64 = 1_800_000_000_000;
const SITES: [(&str, &str); 9] = [
    ("smtp", "a.example"),
    ("smtp", "b.example"),
    ("narrow", "c.example"),
    ("slow", "d.example"),
    ("hardy", "e.example"),
    ("gated", "f.example"),
    ("gated", "g.example"),
    ("paced", "h.example"),
    ("paced", "i.example"),
];
const RATE_DELAY_MS: u64 = 50;
/// Transports with a rate delay of their own.
const GATED: [(&str, u64); 2] = [("gated", 40), ("paced", 30)];
const TROUBLE: &str = "connect to a.example[192.0.2.1]:25: Connection refused";

fn settings() -> QmgrSettings {
    let usual = TransportSettings::default();
    let narrow = TransportSettings { concurrency_max: 1, failed_cohorts_max: 5, ..usual.clone() };
    let slow = TransportSettings { rate_delay_ms: RATE_DELAY_MS, failed_cohorts_max: 5, ..usual.clone() };
    let hardy = TransportSettings { failed_cohorts_max: 0, concurrency_max: 7, ..usual };
    let [gated, paced] = GATED.map(|(_, delay_ms)| delay_ms);
    let gated = TransportSettings { transport_rate_delay_ms: gated, ..hardy.clone() };
    let paced = TransportSettings { transport_rate_delay_ms: paced, ..slow.clone() };
    let named = [("narrow", narrow), ("slow", slow), ("hardy", hardy), ("gated", gated), ("paced", paced)];
    QmgrSettings {
        idle_sites_max: 1,
        transports: named.into_iter().map(|(name, transport)| (name.to_owned(), transport)).collect(),
        ..QmgrSettings::default()
    }
}

/// Other settings, as a reload may bring them: whatever may change does.
fn renewed() -> QmgrSettings {
    let mut renewed = settings();
    renewed.idle_sites_max = 3;
    renewed.default_transport.concurrency_max = 6;
    renewed.default_transport.concurrency_initial = 2;
    for (name, transport) in &mut renewed.transports {
        match name.as_str() {
            "narrow" => transport.concurrency_max = 3,
            "slow" | "paced" => transport.rate_delay_ms = 0,
            _ => transport.concurrency_max = 2,
        }
        if transport.transport_rate_delay_ms > 0 {
            transport.transport_rate_delay_ms += RENEWED_DELAY_MS;
        }
    }
    renewed
}

/// By so much more the transports of [`GATED`] wait then.
const RENEWED_DELAY_MS: u64 = 25;

/// Deliveries to a site that there may be at most.
fn limit(settings: &QmgrSettings, transport: &str) -> u32 {
    let transport = settings.transport(transport);
    let delayed = transport.rate_delay_ms + transport.transport_rate_delay_ms > 0;
    if delayed { 1 } else { transport.concurrency_max }
}

struct Shard {
    scheduler: Scheduler,
    running: Vec<Delivery>,
    /// Messages and the sites that they go to.
    messages: HashMap<u64, usize>,
    /// Rounds of the drain in which it had mail waiting for a site and started none, by site.
    waited: [u32; SITES.len()],
    /// Deliveries of a gated transport that others were given in the drain while it had mail for a site, by site.
    passed_by: [u32; SITES.len()],
}

struct World {
    shards: Vec<Shard>,
    /// By receiver, then by sender.
    rings: Vec<Vec<VecDeque<SlotMessage>>>,
    capacity: usize,
    now_ms: u64,
    next_id: u64,
    /// What each site's home had given out when it was last looked at.
    granted: [u32; SITES.len()],
    messages_said: usize,
    /// When the last delivery of each gated transport ended.
    gated_ended_ms: [u64; GATED.len()],
    draining: bool,
    homes: [usize; SITES.len()],
    /// Those that hold somewhere.
    settings: Vec<QmgrSettings>,
}

/// The home of a site, as all shards find it.
fn home_among(site: usize, shards: usize) -> usize {
    let (transport, nexthop) = SITES[site];
    usize::from(settings().transport(transport).home_of(transport, nexthop, shards as u16))
}

/// The gated transport that a site belongs to.
fn gate_of(site: usize) -> Option<usize> {
    GATED.iter().position(|&(transport, _)| transport == SITES[site].0)
}

impl World {
    fn new(shards: u16, capacity: usize) -> Self {
        let shard = |index| Shard {
            scheduler: Scheduler::new(settings(), START_MS).among(ShardPlace { index, count: shards }),
            running: Vec::new(),
            messages: HashMap::new(),
            waited: [0; SITES.len()],
            passed_by: [0; SITES.len()],
        };
        let count = usize::from(shards);
        Self {
            shards: (0..shards).map(shard).collect(),
            rings: vec![vec![VecDeque::new(); count]; count],
            capacity,
            now_ms: START_MS,
            next_id: 0,
            granted: [0; SITES.len()],
            messages_said: 0,
            gated_ended_ms: [0; GATED.len()],
            draining: false,
            homes: std::array::from_fn(|site| home_among(site, count)),
            settings: vec![settings()],
        }
    }

    /// A reload reaches one shard.
    fn renew(&mut self, shard: usize, settings: QmgrSettings) {
        if !self.settings.contains(&settings) {
            self.settings.push(settings.clone());
        }
        let scheduler = &mut self.shards[shard].scheduler;
        scheduler.renew(settings, self.now_ms);
        scheduler.reconsider(self.now_ms);
        self.check();
    }

    fn arrive(&mut self, shard: usize, site: usize) {
        self.next_id += 1;
        let shard = &mut self.shards[shard];
        shard.messages.insert(self.next_id, site);
        shard.scheduler.arrived(MessageId(self.next_id), 100, self.now_ms);
    }

    /// Takes up to `most` messages from each ring, or all.
    fn hear(&mut self, shard: usize, most: usize) {
        for from in 0..self.shards.len() {
            for _ in 0..most {
                let Some(message) = self.rings[shard][from].pop_front() else { break };
                self.shards[shard].scheduler.hear(from as u16, message, self.now_ms);
                self.check();
            }
        }
    }

    fn say(&mut self, from: usize) {
        let Self { shards, rings, capacity, messages_said, .. } = self;
        shards[from].scheduler.say(self.now_ms, |to, message| {
            let ring = &mut rings[usize::from(to)][from];
            if ring.len() >= *capacity {
                return Err(message);
            }
            ring.push_back(message);
            *messages_said += 1;
            Ok(())
        });
        self.check();
    }

    fn poll(&mut self, shard: usize) {
        loop {
            let Self { shards, now_ms, .. } = self;
            let here = &mut shards[shard];
            let Some(action) = here.scheduler.poll_action() else { break };
            match action {
                Action::Activate { id } => {
                    let (transport, nexthop) = SITES[here.messages[&id.0]];
                    let site = here.scheduler.site(transport, nexthop);
                    let resolved = Resolved {
                        arrival_ms: START_MS,
                        bytes: 100,
                        null_sender: false,
                        force_expired: false,
                        deferred: 0,
                        unread: 0,
                    };
                    here.scheduler.activated(id, resolved, &[(site, 0)], *now_ms);
                }
                Action::Deliver(delivery) => {
                    let site = here.messages[&delivery.id.0];
                    here.waited[site] = 0;
                    here.running.push(delivery);
                    if let Some(gate) = gate_of(site) {
                        self.check_gate(gate, shard, site);
                    }
                }
                Action::DeferNow { reason, .. } => assert_eq!(&*reason, TROUBLE),
                Action::MessageDone { id } => {
                    here.messages.remove(&id.0).unwrap();
                }
                Action::Retry { .. } => {}
                other => panic!("{other:?}"),
            }
            self.check();
        }
    }

    fn finish(&mut self, shard: usize, nth: usize, trouble: bool) {
        let here = &mut self.shards[shard];
        if here.running.is_empty() {
            return;
        }
        let delivery = here.running.remove(nth % here.running.len());
        let report = match trouble {
            true => DeliveryReport { done: 0, deferred: 1, trouble: Some(TROUBLE) },
            false => DeliveryReport { done: 1, deferred: 0, trouble: None },
        };
        if let Some(gate) = gate_of(here.messages[&delivery.id.0]) {
            self.gated_ended_ms[gate] = self.now_ms;
        }
        here.scheduler.delivery_finished(delivery.delivery_id, report, self.now_ms);
        if nth.is_multiple_of(2)
            && let Some(next) = here.scheduler.next_for(delivery.site)
        {
            here.waited[here.messages[&next.id.0]] = 0;
            here.running.push(next);
        }
        self.check();
    }

    fn turn(&mut self, shard: usize) {
        self.hear(shard, usize::MAX);
        self.shards[shard].scheduler.tick(self.now_ms);
        self.poll(shard);
        self.say(shard);
    }

    fn handle(&self, shard: usize, site: usize) -> Option<SiteHandle> {
        let scheduler = &self.shards[shard].scheduler;
        scheduler
            .sites
            .handles()
            .into_iter()
            .find(|&handle| scheduler.site_names(handle) == Some(SITES[site]))
    }

    /// Deliveries in progress, and the grants of shards other than the home.
    fn in_progress(&self, site: usize) -> u32 {
        let of_site = |shard: &Shard| {
            shard.running.iter().filter(|delivery| shard.messages[&delivery.id.0] == site).count() as u32
        };
        self.shards.iter().map(of_site).sum()
    }

    /// A delivery of a gated transport has started on this shard.
    fn check_gate(&mut self, gate: usize, starts: usize, at: usize) {
        let (transport, delay_ms) = GATED[gate];
        let sites = (0..SITES.len()).filter(|&site| gate_of(site) == Some(gate));
        let in_progress: u32 = sites.clone().map(|site| self.in_progress(site)).sum();
        assert_eq!(in_progress, 1, "{transport}: a delivery starts beside others");
        let pause_ms = self.now_ms - self.gated_ended_ms[gate].min(self.now_ms);
        assert!(pause_ms >= delay_ms, "{transport}: a delivery starts {pause_ms} ms after the last");
        if !self.draining {
            return;
        }
        let patience = 4 * (self.shards.len() * sites.clone().count()) as u32;
        for (shard, site) in
            (0..self.shards.len()).flat_map(|shard| sites.clone().map(move |site| (shard, site)))
        {
            let waits = (shard, site) != (starts, at)
                && self.handle(shard, site).is_some_and(|handle| {
                    self.shards[shard].scheduler.sites.site(handle).unwrap().queue.has_work()
                });
            let passed_by = &mut self.shards[shard].passed_by[site];
            *passed_by = if waits { *passed_by + 1 } else { 0 };
            assert!(*passed_by <= patience, "shard {shard} waits for {} turns of {transport}", *passed_by);
        }
    }

    fn check(&mut self) {
        for (site, &(transport, nexthop)) in SITES.iter().enumerate() {
            let home = self.homes[site];
            let in_progress = self.in_progress(site);
            let Some(handle) = self.handle(home, site) else {
                assert_eq!(in_progress, 0, "deliveries to {nexthop} that its home knows nothing of");
                self.granted[site] = 0;
                continue;
            };
            let at_home = self.shards[home].scheduler.sites.site(handle).unwrap();
            let (granted, width) = (at_home.window.granted(), at_home.window.width());
            let held = at_home.ledger.as_ref().map_or(0, |ledger| ledger.held());
            assert_eq!(granted, at_home.queue.held() + held, "{nexthop}: the books do not agree");
            assert!(in_progress <= granted, "{nexthop}: {in_progress} in progress, {granted} granted");
            // When the window narrows what runs may end, but nothing is granted anew.
            let grew = granted > self.granted[site];
            assert!(!grew || granted <= width, "{nexthop}: {granted} granted in a window of {width}");
            let limits = self.settings.iter().map(|settings| limit(settings, transport));
            let limit = limits.max().unwrap();
            assert!(granted <= limit, "{nexthop}: {granted} granted with a limit of {limit}");
            self.granted[site] = granted;
        }
    }

    /// Everything succeeds from now on. Each round every shard takes a turn and ends what runs.
    fn drain(&mut self) {
        let shards = self.shards.len();
        self.draining = true;
        for round in 0..100_000 {
            for shard in 0..shards {
                self.turn(shard);
                while !self.shards[shard].running.is_empty() {
                    self.finish(shard, 1, false);
                }
            }
            self.check_waiting(round);
            if self.shards.iter().all(|shard| shard.messages.is_empty()) {
                return;
            }
            let busy = self.shards.iter().any(|shard| shard.scheduler.has_slot_news())
                || self.rings.iter().flatten().any(|ring| !ring.is_empty());
            let soonest = self.shards.iter().filter_map(|shard| shard.scheduler.next_wakeup()).min();
            if !busy {
                self.now_ms = self.now_ms.max(soonest.unwrap_or(0));
            }
        }
        panic!("mail is left over");
    }

    /// Who has mail for a site starts a delivery within a few rounds, whatever the others do.
    fn check_waiting(&mut self, round: u32) {
        let patience = 12 * self.shards.len() as u32;
        for shard in 0..self.shards.len() {
            for (site, &(transport, nexthop)) in SITES.iter().enumerate() {
                let Some(handle) = self.handle(shard, site) else { continue };
                let here = &mut self.shards[shard];
                let known = here.scheduler.sites.site(handle).unwrap();
                // With a rate delay it is time that decides.
                let waits = known.queue.has_work() && transport != "slow" && gate_of(site).is_none();
                here.waited[site] = if waits { here.waited[site] + 1 } else { 0 };
                let waited = here.waited[site];
                assert!(waited <= patience, "shard {shard} waits {waited} rounds for {nexthop} ({round})");
            }
        }
    }

    /// With nothing left to do every grant comes home, and the shards have no more to say.
    fn come_to_rest(&mut self) {
        for _ in 0..40 * self.shards.len() {
            self.now_ms += LINGER_MS;
            (0..self.shards.len()).for_each(|shard| self.turn(shard));
        }
        for (number, shard) in self.shards.iter().enumerate() {
            assert!(!shard.scheduler.has_slot_news(), "shard {number} still talks");
            assert_eq!(shard.scheduler.next_wakeup(), None, "an idle shard {number} sets timers");
            for handle in shard.scheduler.sites.handles() {
                let site = shard.scheduler.sites.site(handle).unwrap();
                let held = site.ledger.as_ref().map_or(0, |ledger| ledger.held());
                let left = (site.queue.held(), site.window.granted(), held);
                assert_eq!(left, (0, 0, 0), "{} on shard {number}", site.nexthop);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { shard: usize, site: usize, count: usize },
    Hear { shard: usize, most: usize },
    Poll { shard: usize },
    Say { shard: usize },
    Turn { shard: usize },
    Finish { shard: usize, nth: usize, trouble: bool },
    Wait { ms: u64 },
    Flush { shard: usize },
    Renew { shard: usize, other: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let (shard, site) = (0..4usize, 0..SITES.len());
    let wait = prop_oneof![4 => 0..5u64, 3 => 10..60u64, 1 => Just(301_000u64)];
    prop_oneof![
        4 => (shard.clone(), site, 1..9usize).prop_map(|(shard, site, count)| Step::Arrive { shard, site, count }),
        3 => (shard.clone(), 1..3usize).prop_map(|(shard, most)| Step::Hear { shard, most }),
        2 => shard.clone().prop_map(|shard| Step::Poll { shard }),
        2 => shard.clone().prop_map(|shard| Step::Say { shard }),
        8 => shard.clone().prop_map(|shard| Step::Turn { shard }),
        12 => (shard.clone(), any::<usize>(), prop::bool::weighted(0.15))
            .prop_map(|(shard, nth, trouble)| Step::Finish { shard, nth, trouble }),
        2 => wait.prop_map(|ms| Step::Wait { ms }),
        1 => shard.prop_map(|shard| Step::Flush { shard }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..150)
}

fn steps_and_reloads() -> impl Strategy<Value = Vec<Step>> {
    let renew = (0..4usize, any::<bool>()).prop_map(|(shard, other)| Step::Renew { shard, other });
    prop::collection::vec(prop_oneof![20 => step(), 1 => renew], 1..150)
}

fn play(world: &mut World, step: Step) {
    let shards = world.shards.len();
    match step {
        Step::Arrive { shard, site, count } => {
            (0..count).for_each(|_| world.arrive(shard % shards, site));
        }
        Step::Hear { shard, most } => world.hear(shard % shards, most),
        Step::Poll { shard } => world.poll(shard % shards),
        Step::Say { shard } => world.say(shard % shards),
        Step::Turn { shard } => world.turn(shard % shards),
        Step::Finish { shard, nth, trouble } => world.finish(shard % shards, nth, trouble),
        Step::Wait { ms } => world.now_ms += ms,
        Step::Flush { shard } => world.shards[shard % shards].scheduler.flush(world.now_ms),
        Step::Renew { shard, other } => {
            world.renew(shard % shards, if other { renewed() } else { settings() });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn windows_hold_over_all_shards_nobody_starves_and_everything_comes_home(
        shards in 2..5u16,
        capacity in 1..4usize,
        steps in steps(),
    ) {
        let mut world = World::new(shards, capacity);
        for step in steps {
            play(&mut world, step);
        }
        world.drain();
        world.come_to_rest();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn limits_that_change_shard_by_shard_lose_no_grant_and_starve_nobody(
        shards in 1..5u16,
        capacity in 1..4usize,
        steps in steps_and_reloads(),
        other in any::<bool>(),
    ) {
        let mut world = World::new(shards, capacity);
        for step in steps {
            play(&mut world, step);
        }
        for shard in 0..usize::from(shards) {
            world.renew(shard, if other { renewed() } else { settings() });
        }
        world.drain();
        world.come_to_rest();
    }
}

/// The shard that is home of a site among two, and the other one.
fn home_and_other(site: usize) -> (usize, usize) {
    let home = home_among(site, 2);
    (home, 1 - home)
}

/// Plays outcomes on a site that is kept busy by a shard that is not its home, and writes its home's widths.
fn widths_over_the_ring(outcomes: &str) -> String {
    let (home, other) = home_and_other(0);
    let mut world = World::new(2, 4);
    for _ in 0..100 {
        world.arrive(other, 0);
    }
    let mut seen = Vec::new();
    for outcome in outcomes.chars() {
        for _ in 0..3 {
            world.turn(other);
            world.turn(home);
        }
        world.turn(other);
        // One at a time is reported, as the vectors have it: a batch would come with the next trouble anyway.
        world.finish(other, 1, outcome == '-');
        let handle = world.handle(other, 0).unwrap();
        world.shards[other].scheduler.sites.post_claim(handle);
        world.say(other);
        world.hear(home, usize::MAX);
        let at_home = world.handle(home, 0).unwrap();
        let scheduler = &mut world.shards[home].scheduler;
        let width = scheduler.sites.site(at_home).unwrap().window.width();
        seen.push(if scheduler.mood(at_home).dead { "X".to_owned() } else { width.to_string() });
    }
    seen.join(" ")
}

#[test]
fn the_feedback_of_a_shard_that_is_not_the_home_follows_the_vectors() {
    assert_eq!(widths_over_the_ring("---"), "3 2 X");
    assert_eq!(
        widths_over_the_ring("++++++++++++++++++"),
        "6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 20 20 20"
    );
    assert_eq!(widths_over_the_ring("+++++-+++-"), "6 7 8 9 10 8 9 10 11 9");
}

#[test]
fn a_busy_site_costs_a_message_for_each_cohort_and_not_for_each_delivery() {
    let (home, other) = home_and_other(0);
    let mut world = World::new(2, 1024);
    let mut ended = 0;
    while ended < 4000 {
        while world.shards[other].messages.len() < 60 {
            world.arrive(other, 0);
        }
        world.turn(other);
        for _ in 0..4 {
            world.finish(other, 0, false);
            ended += 1;
        }
        world.turn(home);
    }
    assert!(world.messages_said < ended / 10, "{} messages for {ended} deliveries", world.messages_said);
}

#[test]
fn a_stalled_shard_keeps_what_it_holds_and_blocks_no_other() {
    let (home, other) = home_and_other(0);
    let third = 2;
    let mut world = World::new(3, 2);
    let home_of_three = home_among(0, 3);
    let shards: Vec<usize> = (0..3).filter(|&shard| shard != home_of_three).collect();
    let (stalled, willing) = (shards[0], shards[1]);
    let _ = (home, other, third);
    for _ in 0..40 {
        world.arrive(stalled, 0);
        world.arrive(willing, 0);
    }
    for _ in 0..4 {
        world.turn(stalled);
        world.turn(home_of_three);
    }
    assert_eq!(world.shards[stalled].running.len(), 5, "it has the whole window, and sleeps now");
    for _ in 0..60 {
        world.turn(willing);
        world.turn(home_of_three);
    }
    assert_eq!(world.shards[willing].running.len(), 0, "nothing is free and nothing can be taken away");
    // It wakes once, hears that others wait, and sleeps again with what it still has in progress.
    world.turn(stalled);
    world.finish(stalled, 0, false);
    world.finish(stalled, 0, false);
    world.turn(stalled);
    let mut done = 0;
    for _ in 0..60 {
        world.turn(home_of_three);
        world.turn(willing);
        while !world.shards[willing].running.is_empty() {
            world.finish(willing, 1, false);
            done += 1;
        }
    }
    assert_eq!(done, 40, "the others use the rest of the window");
}

#[test]
fn a_dead_site_is_dead_on_every_shard_and_a_flush_on_any_of_them_revives_it() {
    let (home, other) = home_and_other(0);
    let mut world = World::new(2, 4);
    for _ in 0..10 {
        world.arrive(other, 0);
        world.arrive(home, 0);
    }
    for _ in 0..3 {
        world.turn(other);
        world.turn(home);
    }
    let mut failures = 0;
    while let Some(shard) = [other, home].into_iter().find(|&shard| !world.shards[shard].running.is_empty()) {
        world.finish(shard, 0, true);
        failures += 1;
        for _ in 0..3 {
            world.turn(other);
            world.turn(home);
        }
    }
    assert!(failures <= 5, "what ran when it died may end, nothing new starts: {failures}");
    for shard in [home, other] {
        let figures = world.shards[shard].scheduler.figures();
        assert_eq!((figures.active, figures.deferred), (0, 10), "shard {shard}");
    }
    world.shards[other].scheduler.flush(world.now_ms);
    for _ in 0..6 {
        world.turn(other);
        world.turn(home);
    }
    assert!(!world.shards[other].running.is_empty(), "the flush on one shard brings its mail out");
    world.drain();
    world.come_to_rest();
}

#[test]
fn a_shard_that_stops_gives_back_what_it_does_not_use() {
    let (home, other) = home_and_other(0);
    let mut world = World::new(2, 4);
    for _ in 0..10 {
        world.arrive(other, 0);
        world.arrive(home, 0);
    }
    for _ in 0..4 {
        world.turn(other);
        world.turn(home);
    }
    let running = world.shards[other].running.len();
    assert!(running > 0);
    world.shards[other].scheduler.stop(world.now_ms);
    while !world.shards[other].running.is_empty() {
        world.finish(other, 0, false);
    }
    world.turn(other);
    world.turn(home);
    assert_eq!((world.shards[other].running.len(), world.granted[0]), (0, world.in_progress(0)));
    assert!(world.shards[home].running.len() >= 5, "the home has the whole window");
}

#[test]
fn shards_and_sites_of_a_gated_transport_take_turns() {
    let gated: Vec<usize> = (0..SITES.len()).filter(|&site| gate_of(site) == Some(0)).collect();
    let mut world = World::new(3, 4);
    for shard in 0..3 {
        for &site in &gated {
            (0..20).for_each(|_| world.arrive(shard, site));
        }
    }
    let mut started = HashMap::new();
    for _ in 0..60 {
        for _ in 0..4 {
            (0..3).for_each(|shard| world.turn(shard));
        }
        let shard = (0..3).find(|&shard| !world.shards[shard].running.is_empty()).unwrap();
        let site = world.shards[shard].messages[&world.shards[shard].running[0].id.0];
        *started.entry((shard, site)).or_insert(0) += 1;
        world.finish(shard, 0, false);
        (0..3).for_each(|shard| world.turn(shard));
        assert!(world.shards.iter().all(|shard| shard.running.is_empty()), "the pause has begun");
        world.now_ms += GATED[0].1;
    }
    assert_eq!(started.len(), 6, "{started:?}");
    assert!(started.values().all(|&count| (8..=12).contains(&count)), "{started:?}");
    world.drain();
    world.come_to_rest();
}
