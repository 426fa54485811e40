//! Messages with more recipients than may be in memory: read by batches, overtaken by small ones, delivered once each.

use ringpost_core::qmgr::{
    Action, Delivery, DeliveryReport, MessageId, MessageState, QmgrSettings, Refilled, Resolved, Scheduler,
    TransportSettings,
};
use std::collections::{BTreeMap, BTreeSet};

const START_MS: u64 = 1_800_000_000_000;

/// A message as its caller keeps it: everything about the recipients that the scheduler does not hold.
struct Stored {
    recipients: u32,
    done: BTreeSet<u32>,
    unread_from: u32,
}

/// A caller that keeps mail for one site and counts.
struct Caller {
    scheduler: Scheduler,
    now_ms: u64,
    stored: BTreeMap<u64, Stored>,
    recipients_most: u64,
    batches: u32,
    nexthop: fn(u64, u32) -> &'static str,
}

impl Caller {
    fn new(settings: QmgrSettings) -> Self {
        Self {
            scheduler: Scheduler::new(settings, START_MS),
            now_ms: START_MS,
            stored: BTreeMap::new(),
            recipients_most: 0,
            batches: 0,
            nexthop: |_, _| "a.example",
        }
    }

    fn arrive(&mut self, id: u64, recipients: u32) {
        self.stored.insert(id, Stored { recipients, done: BTreeSet::new(), unread_from: 0 });
        self.scheduler.arrived(MessageId(id), 4096, self.now_ms);
    }

    /// The next recipients of a message, with how many are left.
    fn read(&mut self, id: u64, most: u32) -> (Vec<(ringpost_core::qmgr::SiteHandle, u32)>, u32) {
        self.batches += 1;
        let stored = self.stored.get_mut(&id).expect("only stored mail is read");
        let left: Vec<u32> =
            (stored.unread_from..stored.recipients).filter(|index| !stored.done.contains(index)).collect();
        let batch = &left[..left.len().min(most as usize)];
        stored.unread_from = batch.last().map_or(stored.unread_from, |last| last + 1);
        let unread = (left.len() - batch.len()) as u32;
        let plan = batch
            .iter()
            .map(|&index| (self.scheduler.site("smtp", (self.nexthop)(id, index)), index))
            .collect();
        (plan, unread)
    }

    /// Takes all actions; reads recipients when asked, gives the others back.
    fn poll(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Activate { id } => {
                    self.stored.get_mut(&id.0).expect("only stored mail is activated").unread_from = 0;
                    let (plan, unread) = self.read(id.0, self.scheduler.batch_recipients());
                    let resolved = Resolved {
                        arrival_ms: START_MS,
                        bytes: 4096,
                        null_sender: false,
                        force_expired: false,
                        deferred: 0,
                        unread,
                    };
                    self.scheduler.activated(id, resolved, &plan, self.now_ms);
                }
                Action::Refill { id, recipients_max } => {
                    let (plan, unread) = self.read(id.0, recipients_max);
                    self.scheduler.refilled(id, Refilled { deferred: 0, unread }, &plan, self.now_ms);
                }
                other => actions.push(other),
            }
            self.recipients_most = self.recipients_most.max(self.scheduler.figures().active_recipients);
        }
        actions
    }

    fn deliveries(&mut self) -> Vec<Delivery> {
        let deliver = |action| if let Action::Deliver(delivery) = action { Some(delivery) } else { None };
        self.poll().into_iter().filter_map(deliver).collect()
    }

    fn sent(&mut self, delivery: &Delivery) {
        let stored = self.stored.get_mut(&delivery.id.0).expect("only stored mail is delivered");
        for &index in &delivery.recipients {
            assert!(stored.done.insert(index), "recipient {index} of {:?} came twice", delivery.id);
        }
        let report = DeliveryReport { done: delivery.recipients.len() as u32, deferred: 0, trouble: None };
        self.scheduler.delivery_finished(delivery.delivery_id, report, self.now_ms);
    }

    /// Delivers until nothing is left; gives the message ids in the order in which their deliveries ended.
    fn run(&mut self) -> Vec<u64> {
        let mut ended = Vec::new();
        loop {
            let deliveries = self.deliveries();
            if deliveries.is_empty() {
                return ended;
            }
            for delivery in deliveries {
                self.sent(&delivery);
                ended.push(delivery.id.0);
            }
        }
    }

    fn assert_all_delivered(&self) {
        for (id, stored) in &self.stored {
            assert_eq!(stored.done.len(), stored.recipients as usize, "message {id}");
            assert_eq!(self.scheduler.state(MessageId(*id)), None);
        }
        assert_eq!(self.scheduler.figures().active_recipients, 0);
    }
}

#[test]
fn of_a_message_for_a_hundred_thousand_only_a_batch_is_in_memory() {
    let settings = QmgrSettings { active_recipients_max: 2000, ..QmgrSettings::default() };
    let transport = TransportSettings { recipients_in_memory_max: 2000, ..TransportSettings::default() };
    let mut caller = Caller::new(QmgrSettings { default_transport: transport, ..settings });
    caller.arrive(1, 100_000);
    assert_eq!(caller.run().len(), 2000, "no delivery is smaller than it has to be");
    caller.assert_all_delivered();
    assert_eq!(caller.recipients_most, 2000);
    assert!(caller.batches <= 1 + 98_000 / 100, "{} batches", caller.batches);
}

#[test]
fn a_small_message_overtakes_one_for_a_hundred_thousand_that_still_finishes() {
    let settings = QmgrSettings { active_recipients_max: 1000, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    caller.arrive(0, 100_000);
    let mut ended = 0;
    for small in 1..=8 {
        for _ in 0..3 {
            for delivery in caller.deliveries() {
                caller.sent(&delivery);
            }
        }
        caller.arrive(small, 1);
        let mut behind = 0;
        while caller.scheduler.state(MessageId(small)).is_some() {
            for delivery in caller.deliveries() {
                caller.sent(&delivery);
                behind += 1;
            }
        }
        assert!(behind <= 45, "message {small} left as number {behind}");
        ended = caller.stored[&0].done.len();
    }
    assert!(ended < 60_000, "the large one was still far from its end: {ended}");
    caller.run();
    caller.assert_all_delivered();
}

#[test]
fn a_second_large_message_goes_on_while_the_first_fills_the_memory() {
    let settings = QmgrSettings { active_recipients_max: 1000, ..QmgrSettings::default() };
    let transport = TransportSettings { recipients_in_memory_max: 1000, ..TransportSettings::default() };
    let mut caller = Caller::new(QmgrSettings { default_transport: transport, ..settings });
    caller.nexthop = |id, _| if id == 1 { "a.example" } else { "b.example" };
    caller.arrive(1, 20_000);
    caller.arrive(2, 20_000);
    let ended = caller.run();
    caller.assert_all_delivered();
    let of_the_second = ended[..ended.len() / 2].iter().filter(|&&id| id == 2).count();
    assert!(of_the_second > ended.len() / 10, "{of_the_second} of {}", ended.len());
    assert!(caller.recipients_most <= 1000 + 1000 + 20, "{}", caller.recipients_most);
}

#[test]
fn many_messages_each_have_their_minimum_whatever_the_others_have() {
    let transport = TransportSettings {
        recipients_in_memory_max: 100,
        extra_recipients_max: 20,
        refill_recipients: 30,
        ..TransportSettings::default()
    };
    let mut caller = Caller::new(QmgrSettings {
        active_recipients_max: 50,
        message_recipients_min: 4,
        default_transport: transport,
        ..QmgrSettings::default()
    });
    for id in 0..40 {
        caller.arrive(id, 500);
    }
    caller.run();
    caller.assert_all_delivered();
    assert!(caller.recipients_most <= 50 + 20 + 40 * 4, "{} in memory", caller.recipients_most);
}

#[test]
fn recipients_that_were_never_read_are_kept_when_a_message_is_held() {
    let settings = QmgrSettings { active_recipients_max: 100, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    caller.arrive(1, 10_000);
    let running = caller.deliveries();
    assert!(caller.scheduler.hold(MessageId(1), caller.now_ms));
    for delivery in &running {
        caller.sent(delivery);
    }
    assert_eq!(caller.poll(), [Action::Held { id: MessageId(1) }]);
    assert_eq!(caller.scheduler.state(MessageId(1)), Some(MessageState::Hold));
    assert!(caller.scheduler.release(MessageId(1), caller.now_ms));
    caller.run();
    caller.assert_all_delivered();
}

#[test]
fn a_dead_site_puts_off_the_unread_recipients_too_and_the_message_is_tried_again() {
    let settings = QmgrSettings { active_recipients_max: 500, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    caller.arrive(1, 5000);
    let trouble = Some("connect to a.example[192.0.2.1]:25: Connection refused");
    let mut put_off = 0;
    for delivery in caller.deliveries() {
        let deferred = delivery.recipients.len() as u32;
        put_off += deferred;
        let report = DeliveryReport { done: 0, deferred, trouble };
        caller.scheduler.delivery_finished(delivery.delivery_id, report, caller.now_ms);
    }
    let actions = caller.poll();
    for action in &actions {
        if let Action::DeferNow { recipients, .. } = action {
            put_off += recipients.len() as u32;
        }
    }
    assert_eq!(put_off, 5000);
    assert!(matches!(actions.last(), Some(Action::Retry { .. })));
    assert!(caller.recipients_most <= 500, "{}", caller.recipients_most);
    caller.now_ms += 300_000;
    caller.scheduler.tick(caller.now_ms);
    caller.run();
    caller.assert_all_delivered();
}

#[test]
fn one_message_for_very_many_sites_is_read_by_batches_too() {
    let settings = QmgrSettings { active_recipients_max: 100, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    caller.nexthop = |_, recipient| ["a.example", "b.example", "c.example"][recipient as usize % 3];
    caller.arrive(1, 9000);
    caller.run();
    caller.assert_all_delivered();
    assert!(caller.batches > 5 && caller.recipients_most <= 100 + 1000, "{}", caller.recipients_most);
}
