//! The queue manager as its caller meets it: events in, actions out, one claim a test.

use ringpost_core::qmgr::{
    Action, Custody, Delivery, DeliveryReport, MessageId, MessageState, QmgrSettings, Resolved, Scheduler,
    SiteHandle, TransportSettings,
};

const START_MS: u64 = 1_800_000_000_000;
const DAY_MS: u64 = 86_400_000;

const SENT: fn(&Delivery) -> DeliveryReport<'static> =
    |delivery| DeliveryReport { done: delivery.recipients.len() as u32, deferred: 0, trouble: None };
const REFUSED: fn(&Delivery) -> DeliveryReport<'static> =
    |delivery| DeliveryReport { done: 0, deferred: delivery.recipients.len() as u32, trouble: None };
const TROUBLE: fn(&Delivery) -> DeliveryReport<'static> = |delivery| DeliveryReport {
    done: 0,
    deferred: delivery.recipients.len() as u32,
    trouble: Some("connect to a.example[192.0.2.1]:25: Connection refused"),
};

/// A caller that resolves every message to one site and leaves the rest to the test.
struct Caller {
    scheduler: Scheduler,
    now_ms: u64,
    arrival_ms: u64,
    null_sender: bool,
    nexthop: fn(u64) -> &'static str,
    recipients: fn(u64) -> u32,
}

impl Caller {
    fn new(settings: QmgrSettings) -> Self {
        Self {
            scheduler: Scheduler::new(settings, START_MS),
            now_ms: START_MS,
            arrival_ms: START_MS,
            null_sender: false,
            nexthop: |_| "a.example",
            recipients: |_| 1,
        }
    }

    fn arrive(&mut self, ids: std::ops::Range<u64>) {
        for id in ids {
            self.scheduler.arrived(MessageId(id), 4096, self.now_ms);
        }
    }

    fn site(&mut self, nexthop: &str) -> SiteHandle {
        self.scheduler.site("smtp", nexthop)
    }

    /// Takes all actions; answers the activations, gives the others back.
    fn poll(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Activate { id } => self.activate(id),
                other => actions.push(other),
            }
        }
        actions
    }

    fn activate(&mut self, id: MessageId) {
        let site = self.site((self.nexthop)(id.0));
        let plan: Vec<_> = (0..(self.recipients)(id.0)).map(|recipient| (site, recipient)).collect();
        let resolved = Resolved {
            arrival_ms: self.arrival_ms,
            bytes: 4096,
            null_sender: self.null_sender,
            deferred: 0,
            force_expired: false,
            unread: 0,
        };
        self.scheduler.activated(id, resolved, &plan, self.now_ms);
    }

    fn deliveries(&mut self) -> Vec<Delivery> {
        let deliver = |action| if let Action::Deliver(delivery) = action { Some(delivery) } else { None };
        self.poll().into_iter().filter_map(deliver).collect()
    }

    fn finish(&mut self, delivery: &Delivery, report: fn(&Delivery) -> DeliveryReport<'static>) {
        self.scheduler.delivery_finished(delivery.delivery_id, report(delivery), self.now_ms);
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.scheduler.tick(self.now_ms);
    }
}

/// One message is tried and refused softly at a given age; says when it is retried, or `None` when it expired.
fn retry_after_ms(age_ms: u64, null_sender: bool, settings: QmgrSettings) -> Option<u64> {
    let mut caller = Caller::new(settings);
    caller.null_sender = null_sender;
    caller.arrival_ms = START_MS - age_ms;
    caller.arrive(1..2);
    let deliveries = caller.deliveries();
    caller.finish(&deliveries[0], REFUSED);
    match caller.poll().as_slice() {
        [Action::Retry { due_at_ms, .. }] => Some(due_at_ms - START_MS),
        [Action::Expire { .. }] => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delivered_message_is_done_and_forgotten() {
    let mut caller = Caller::new(QmgrSettings::default());
    assert_eq!(caller.scheduler.arrived(MessageId(7), 4096, START_MS), Custody::KeepBytes);
    assert_eq!(caller.scheduler.state(MessageId(7)), Some(MessageState::Incoming));
    let deliveries = caller.deliveries();
    assert_eq!(deliveries[0].recipients.as_slice(), [0]);
    assert_eq!(caller.scheduler.site_names(deliveries[0].site), Some(("smtp", "a.example")));
    assert_eq!(caller.scheduler.state(MessageId(7)), Some(MessageState::Active));
    caller.finish(&deliveries[0], SENT);
    assert_eq!(caller.poll(), [Action::MessageDone { id: MessageId(7) }]);
    assert_eq!(caller.scheduler.state(MessageId(7)), None);
    assert_eq!(caller.scheduler.next_wakeup(), None, "an empty queue needs no timer");
}

#[test]
fn the_waiting_time_doubles_the_age_within_the_backoff_bounds() {
    let retry = |age_s: u64| retry_after_ms(age_s * 1000, false, QmgrSettings::default());
    assert_eq!(retry(0), Some(300_000));
    assert_eq!(retry(299), Some(300_000));
    assert_eq!(retry(1234), Some(1_234_000));
    assert_eq!(retry(100_000), Some(4_000_000));
}

#[test]
fn a_message_expires_at_its_lifetime_and_null_sender_mail_at_its_own() {
    let settings = QmgrSettings { bounce_queue_lifetime_ms: DAY_MS, ..QmgrSettings::default() };
    assert!(retry_after_ms(5 * DAY_MS - 1, false, settings.clone()).is_some());
    assert!(retry_after_ms(5 * DAY_MS, false, settings.clone()).is_none());
    assert!(retry_after_ms(DAY_MS - 1, true, settings.clone()).is_some());
    assert!(retry_after_ms(DAY_MS, true, settings).is_none());
}

#[test]
fn deferred_mail_leaves_at_its_due_time_and_not_before() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.arrive(1..2);
    let deliveries = caller.deliveries();
    caller.finish(&deliveries[0], REFUSED);
    caller.poll();
    assert_eq!(caller.scheduler.state(MessageId(1)), Some(MessageState::Deferred));
    assert_eq!(caller.scheduler.next_wakeup(), Some(START_MS + 300_000));
    caller.wait(299_999);
    assert_eq!(caller.poll(), []);
    caller.wait(1);
    assert_eq!(caller.deliveries().len(), 1);
}

#[test]
fn a_clock_that_steps_back_delays_nothing_beyond_the_waiting_time() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.arrive(1..2);
    let deliveries = caller.deliveries();
    caller.finish(&deliveries[0], REFUSED);
    caller.poll();
    caller.wait(100_000);
    caller.now_ms -= 10 * DAY_MS;
    caller.scheduler.tick(caller.now_ms);
    assert_eq!(caller.scheduler.next_wakeup(), Some(caller.now_ms + 200_000));
    caller.wait(199_999);
    assert_eq!(caller.poll(), []);
    caller.wait(1);
    let deliveries = caller.deliveries();
    caller.finish(&deliveries[0], REFUSED);
    let due_at_ms = caller.now_ms + 300_000;
    assert_eq!(caller.poll(), [Action::Retry { id: MessageId(1), due_at_ms }], "its age reads as nothing");
}

#[test]
fn the_caller_never_sleeps_longer_than_the_queue_run_delay_while_mail_is_deferred() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.scheduler.recovered(MessageId(1), START_MS + 100 * DAY_MS, START_MS);
    assert_eq!(caller.scheduler.next_wakeup(), Some(START_MS + 300_000));
    caller.wait(100 * DAY_MS - 1);
    assert_eq!(caller.poll(), []);
    caller.wait(1);
    assert_eq!(caller.deliveries().len(), 1);
}

#[test]
fn three_failures_suspend_a_site_with_the_reason_and_it_recovers_after_minimal_backoff_time() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.arrive(0..20);
    let deliveries = caller.deliveries();
    assert_eq!(deliveries.len(), 5, "the initial concurrency");
    for delivery in &deliveries[..3] {
        caller.finish(delivery, TROUBLE);
    }
    let actions = caller.poll();
    let suspended: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::DeferNow { id, reason, recipients, .. } => {
                assert_eq!(&**reason, "connect to a.example[192.0.2.1]:25: Connection refused");
                assert_eq!(recipients.as_slice(), [0]);
                Some(id.0)
            }
            Action::Retry { .. } => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(suspended, (5..20).collect::<Vec<_>>());
    for delivery in &deliveries[3..] {
        caller.finish(delivery, TROUBLE);
    }
    caller.poll();

    caller.arrive(20..21);
    assert!(matches!(caller.poll()[0], Action::DeferNow { id: MessageId(20), .. }), "new mail finds it dead");
    caller.wait(300_000);
    assert_eq!(caller.deliveries().len(), 5, "all is due, the site starts at the initial concurrency");
}

#[test]
fn flush_ignores_due_times_and_forgets_dead_sites() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.arrive(0..8);
    for delivery in &caller.deliveries() {
        caller.finish(delivery, TROUBLE);
    }
    caller.poll();
    assert_eq!(caller.scheduler.figures().deferred, 8);
    caller.scheduler.flush(caller.now_ms);
    assert_eq!(caller.deliveries().len(), 5);
}

#[test]
fn a_single_message_can_be_flushed() {
    let mut caller = Caller::new(QmgrSettings::default());
    for id in 1..4 {
        caller.scheduler.recovered(MessageId(id), START_MS + DAY_MS, START_MS);
    }
    assert!(caller.scheduler.flush_message(MessageId(2), START_MS));
    assert!(!caller.scheduler.flush_message(MessageId(9), START_MS));
    let deliveries = caller.deliveries();
    assert_eq!(deliveries.iter().map(|delivery| delivery.id.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_soft_reply_to_the_mail_transaction_does_not_close_the_window() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.arrive(0..40);
    for _ in 0..30 {
        let Some(delivery) = caller.deliveries().pop() else { break };
        caller.finish(&delivery, REFUSED);
        assert!(!caller.poll().iter().any(|action| matches!(action, Action::DeferNow { .. })));
    }
}

#[test]
fn incoming_and_deferred_are_admitted_in_turn_and_new_mail_first_when_full() {
    let settings = QmgrSettings { active_messages_max: 6, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    for id in 100..110 {
        caller.scheduler.recovered(MessageId(id), START_MS, START_MS);
    }
    caller.arrive(0..10);
    caller.scheduler.tick(START_MS);
    let mut activated = Vec::new();
    while let Some(action) = caller.scheduler.poll_action() {
        if let Action::Activate { id } = action {
            activated.push(id.0);
        }
    }
    assert_eq!(activated, [0, 100, 1, 101, 2, 102]);
    for id in activated {
        caller.activate(MessageId(id));
    }
    let deliveries = caller.deliveries();
    for (delivery, expected) in deliveries.iter().zip(3..6) {
        caller.finish(delivery, SENT);
        caller.poll();
        assert_eq!(caller.scheduler.state(MessageId(expected)), Some(MessageState::Active));
        assert_eq!(caller.scheduler.state(MessageId(103)), Some(MessageState::Deferred));
    }
}

#[test]
fn admission_stops_at_the_byte_budget() {
    let settings = QmgrSettings { active_bytes_max: 40_000, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    caller.arrive(0..100);
    caller.poll();
    let figures = caller.scheduler.figures();
    assert_eq!((figures.active, figures.incoming), (10, 90));
}

#[test]
fn beyond_the_limit_of_incoming_only_the_ids_are_kept() {
    let settings = QmgrSettings { incoming_kept_messages_max: 2, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    let custody: Vec<_> = (0..3).map(|id| caller.scheduler.arrived(MessageId(id), 4096, START_MS)).collect();
    assert_eq!(custody, [Custody::KeepBytes, Custody::KeepBytes, Custody::DropBytes]);
    assert_eq!(caller.scheduler.figures().kept_bytes, 8192);
    assert_eq!(caller.deliveries().len(), 3);
    assert_eq!(caller.scheduler.figures().kept_bytes, 0);
}

#[test]
fn recipients_are_grouped_by_site_in_requests_within_the_limit() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.scheduler.arrived(MessageId(1), 4096, START_MS);
    assert_eq!(caller.scheduler.poll_action(), Some(Action::Activate { id: MessageId(1) }));
    let (a, b) = (caller.site("a.example"), caller.site("b.example"));
    let plan: Vec<_> =
        (0..130).map(|recipient| (if recipient % 2 == 0 { a } else { b }, recipient)).collect();
    let resolved = Resolved {
        arrival_ms: START_MS,
        bytes: 4096,
        null_sender: false,
        deferred: 0,
        force_expired: false,
        unread: 0,
    };
    caller.scheduler.activated(MessageId(1), resolved, &plan, START_MS);
    let mut deliveries = caller.deliveries();
    deliveries.sort_by_key(|delivery| delivery.site);
    let sizes: Vec<_> =
        deliveries.iter().map(|delivery| (delivery.site, delivery.recipients.len())).collect();
    assert_eq!(sizes, [(a, 50), (a, 15), (b, 50), (b, 15)]);
    for delivery in &deliveries {
        assert!(delivery.recipients.is_sorted());
        caller.finish(delivery, SENT);
    }
    assert_eq!(caller.poll(), [Action::MessageDone { id: MessageId(1) }]);
}

#[test]
fn a_message_with_a_refused_recipient_is_retried_only_after_all_its_deliveries() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.recipients = |_| 100;
    caller.arrive(1..2);
    let deliveries = caller.deliveries();
    assert_eq!(deliveries.len(), 2);
    caller.finish(&deliveries[0], REFUSED);
    assert_eq!(caller.poll(), []);
    caller.finish(&deliveries[1], SENT);
    assert!(matches!(caller.poll()[..], [Action::Retry { .. }]));
}

#[test]
fn a_freed_connection_takes_the_next_request_of_its_site() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.arrive(0..7);
    let deliveries = caller.deliveries();
    caller.finish(&deliveries[0], SENT);
    let next = caller.scheduler.next_for(deliveries[0].site).expect("two are still queued");
    assert_eq!(next.id, MessageId(5));
    assert_eq!(caller.scheduler.site_load(next.site), Some((5, 6)));
    assert!(next.more_queued);
    let last = caller.scheduler.next_for(next.site).expect("the window has grown by one");
    assert!(!last.more_queued);
    assert_eq!(caller.scheduler.next_for(next.site), None);
    assert_eq!(caller.poll(), [Action::MessageDone { id: deliveries[0].id }]);
}

#[test]
fn a_freed_connection_leaves_the_last_slots_of_the_shard_to_other_sites() {
    let settings = QmgrSettings { deliveries_max: 2, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    caller.nexthop = |id| if id < 10 { "a.example" } else { "b.example" };
    caller.arrive(0..20);
    let deliveries = caller.deliveries();
    assert_eq!(deliveries.iter().map(|delivery| delivery.id.0).collect::<Vec<_>>(), [0, 1]);
    caller.finish(&deliveries[0], SENT);
    assert_eq!(caller.scheduler.next_for(deliveries[0].site), None);
    caller.finish(&deliveries[1], SENT);
    assert_eq!(caller.deliveries().iter().map(|delivery| delivery.id.0).collect::<Vec<_>>(), [2, 10]);
}

#[test]
fn a_small_message_overtakes_a_huge_one_to_the_same_site() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.recipients = |id| if id == 0 { 100_000 } else { 1 };
    caller.arrive(0..2);
    let mut finished = 0;
    let mut small_at = None;
    loop {
        let deliveries = caller.deliveries();
        if deliveries.is_empty() {
            break;
        }
        for delivery in &deliveries {
            finished += 1;
            if delivery.id == MessageId(1) {
                small_at = Some(finished);
            }
            caller.finish(delivery, SENT);
        }
    }
    assert!(small_at.is_some_and(|at| at < 20), "it left at {small_at:?}");
    assert_eq!(finished, 2001);
}

#[test]
fn a_small_message_does_not_wait_for_a_huge_one_to_other_sites() {
    let settings = QmgrSettings { deliveries_max: 10, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings);
    caller.scheduler.arrived(MessageId(0), 4096, START_MS);
    assert_eq!(caller.scheduler.poll_action(), Some(Action::Activate { id: MessageId(0) }));
    let plan: Vec<_> = (0..1000).map(|n| (caller.site(&format!("{n}.example")), n)).collect();
    let resolved = Resolved {
        arrival_ms: START_MS,
        bytes: 4096,
        null_sender: false,
        deferred: 0,
        force_expired: false,
        unread: 0,
    };
    caller.scheduler.activated(MessageId(0), resolved, &plan, START_MS);
    let running = caller.deliveries();
    caller.nexthop = |_| "small.example";
    caller.arrive(1..2);
    assert_eq!(caller.deliveries(), []);
    caller.finish(&running[0], SENT);
    caller.finish(&running[1], SENT);
    let started: Vec<_> = caller.deliveries().into_iter().map(|delivery| delivery.id.0).collect();
    assert_eq!(started.iter().filter(|&&id| id == 1).count(), 1, "{started:?}");
}

#[test]
fn a_rate_delay_sends_one_message_at_a_time_with_the_pause_between() {
    let settings = QmgrSettings {
        default_transport: TransportSettings { rate_delay_ms: 2_500, ..TransportSettings::default() },
        ..QmgrSettings::default()
    };
    let mut caller = Caller::new(settings);
    caller.arrive(0..3);
    for _ in 0..3 {
        let deliveries = caller.deliveries();
        assert_eq!(deliveries.len(), 1);
        caller.finish(&deliveries[0], SENT);
        caller.wait(2_499);
        assert_eq!(caller.deliveries().len(), 0);
        caller.wait(1);
    }
    assert_eq!(caller.scheduler.figures().active, 0);
}

#[test]
fn a_held_message_is_left_alone_until_released() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.arrive(1..2);
    caller.scheduler.recovered(MessageId(2), START_MS + 1000, START_MS);
    for id in [1, 2] {
        assert!(caller.scheduler.hold(MessageId(id), START_MS));
    }
    assert_eq!(caller.poll(), [Action::Held { id: MessageId(1) }, Action::Held { id: MessageId(2) }]);
    caller.wait(100 * DAY_MS);
    caller.scheduler.flush(caller.now_ms);
    assert_eq!(caller.poll(), []);
    caller.arrival_ms = caller.now_ms;
    assert!(caller.scheduler.release(MessageId(2), caller.now_ms));
    assert_eq!(caller.deliveries().len(), 1);
}

#[test]
fn an_active_message_is_held_when_its_deliveries_in_progress_have_ended() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.recipients = |_| 500;
    caller.arrive(1..2);
    let deliveries = caller.deliveries();
    assert!(caller.scheduler.hold(MessageId(1), START_MS));
    assert_eq!(caller.poll(), []);
    for delivery in &deliveries {
        caller.finish(delivery, SENT);
    }
    assert_eq!(caller.poll(), [Action::Held { id: MessageId(1) }], "nothing more was started");
}

#[test]
fn a_deleted_message_is_done_when_its_deliveries_in_progress_have_ended() {
    let mut caller = Caller::new(QmgrSettings::default());
    caller.recipients = |_| 500;
    caller.arrive(1..2);
    let deliveries = caller.deliveries();
    assert!(caller.scheduler.delete(MessageId(1), START_MS));
    for delivery in &deliveries {
        caller.finish(delivery, REFUSED);
    }
    assert_eq!(caller.poll(), [Action::MessageDone { id: MessageId(1) }]);
    assert!(!caller.scheduler.delete(MessageId(1), START_MS));
}

#[test]
fn a_message_that_cannot_be_loaded_now_is_deferred_and_a_damaged_one_is_kept_as_corrupt() {
    let mut caller = Caller::new(QmgrSettings::default());
    for id in [1, 2] {
        caller.scheduler.recovered(MessageId(id), START_MS, START_MS);
        assert_eq!(caller.scheduler.poll_action(), Some(Action::Activate { id: MessageId(id) }));
    }
    caller.scheduler.postponed(MessageId(1), START_MS);
    caller.scheduler.corrupted(MessageId(2));
    assert_eq!(caller.poll(), [Action::Retry { id: MessageId(1), due_at_ms: START_MS + 300_000 }]);
    assert_eq!(caller.scheduler.state(MessageId(2)), Some(MessageState::Corrupt));
    assert!(caller.scheduler.delete(MessageId(2), START_MS));
    assert_eq!(caller.poll(), [Action::MessageDone { id: MessageId(2) }]);
}
