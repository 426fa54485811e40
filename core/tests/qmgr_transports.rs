//! What holds for a whole transport, and what is decided when a message ends: rate delays, `defer_transports`, kept
//! connections, the warning of a clogged queue, forced expiry.

use ringpost_core::qmgr::{
    Action, Delivery, DeliveryReport, MessageId, MessageState, QmgrSettings, Resolved, Scheduler, SiteWait,
    TransportSettings,
};

const START_MS: u64 = 1_800_000_000_000;
const DAY_MS: u64 = 86_400_000;

/// A caller whose messages have one recipient each; `route` gives transport and nexthop by message id.
struct Caller {
    scheduler: Scheduler,
    now_ms: u64,
    route: fn(u64) -> (&'static str, &'static str),
    force_expired: bool,
}

impl Caller {
    fn new(settings: QmgrSettings, route: fn(u64) -> (&'static str, &'static str)) -> Self {
        let scheduler = Scheduler::new(settings, START_MS);
        Self { scheduler, now_ms: START_MS, route, force_expired: false }
    }

    fn arrive(&mut self, ids: std::ops::Range<u64>) {
        for id in ids {
            self.scheduler.arrived(MessageId(id), 4096, self.now_ms);
        }
    }

    fn poll(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Activate { id } => {
                    let (transport, nexthop) = (self.route)(id.0);
                    let site = self.scheduler.site(transport, nexthop);
                    let resolved = Resolved {
                        arrival_ms: self.now_ms,
                        bytes: 4096,
                        null_sender: false,
                        force_expired: self.force_expired,
                        deferred: 0,
                        unread: 0,
                    };
                    self.scheduler.activated(id, resolved, &[(site, 0)], self.now_ms);
                }
                other => actions.push(other),
            }
        }
        actions
    }

    fn deliveries(&mut self) -> Vec<Delivery> {
        let deliver = |action| if let Action::Deliver(delivery) = action { Some(delivery) } else { None };
        self.poll().into_iter().filter_map(deliver).collect()
    }

    fn sent(&mut self, delivery: &Delivery) {
        let report = DeliveryReport { done: 1, deferred: 0, trouble: None };
        self.scheduler.delivery_finished(delivery.delivery_id, report, self.now_ms);
    }

    fn refused(&mut self, delivery: &Delivery) {
        let report = DeliveryReport { done: 0, deferred: 1, trouble: None };
        self.scheduler.delivery_finished(delivery.delivery_id, report, self.now_ms);
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.scheduler.tick(self.now_ms);
    }
}

fn rated_transport() -> QmgrSettings {
    let rated = TransportSettings { transport_rate_delay_ms: 2500, ..TransportSettings::default() };
    QmgrSettings { transports: [("rated".to_owned(), rated)].into(), ..QmgrSettings::default() }
}

#[test]
fn a_transport_with_a_rate_delay_sends_one_mail_at_a_time_over_all_its_sites() {
    let mut caller = Caller::new(rated_transport(), |id| {
        (
            ["rated", "rated", "smtp"][id as usize % 3],
            ["a.example", "b.example", "a.example"][id as usize % 3],
        )
    });
    caller.arrive(0..12);
    let mut nexthops = Vec::new();
    for round in 0..8 {
        let deliveries = caller.deliveries();
        let rated: Vec<_> = deliveries.iter().filter(|delivery| delivery.id.0 % 3 != 2).collect();
        assert_eq!(rated.len(), 1);
        assert_eq!(deliveries.len(), if round == 0 { 5 } else { 1 }, "other transports do not wait");
        nexthops.push(rated[0].id.0 % 3);
        for delivery in &deliveries {
            caller.sent(delivery);
            assert_eq!(caller.scheduler.next_for(delivery.site), None);
        }
        assert_eq!(caller.deliveries(), []);
        assert!(round == 7 || caller.scheduler.next_wakeup() == Some(caller.now_ms + 2500));
        caller.wait(2499);
        assert_eq!(caller.deliveries(), []);
        caller.wait(1);
    }
    assert_eq!(nexthops, [0, 1, 0, 1, 0, 1, 0, 1], "sites take turns");
    assert_eq!(caller.scheduler.figures().active, 0);
}

#[test]
fn a_withdrawn_message_does_not_hold_up_a_transport_with_a_rate_delay() {
    let mut caller =
        Caller::new(rated_transport(), |id| ("rated", ["a.example", "b.example"][id as usize % 2]));
    caller.arrive(0..4);
    let deliveries = caller.deliveries();
    for id in 1..3 {
        assert!(caller.scheduler.delete(MessageId(id), caller.now_ms));
    }
    caller.sent(&deliveries[0]);
    caller.poll();
    caller.wait(2500);
    assert_eq!(caller.deliveries().iter().map(|delivery| delivery.id.0).collect::<Vec<_>>(), [3]);
}

fn parked_transport() -> QmgrSettings {
    QmgrSettings { deferred_transports: vec!["parked".to_owned()], ..QmgrSettings::default() }
}

#[test]
fn mail_for_a_deferred_transport_waits_for_a_flush() {
    let mut caller = Caller::new(parked_transport(), |id| {
        if id < 10 { ("parked", "a.example") } else { ("smtp", "a.example") }
    });
    caller.arrive(1..2);
    let actions = caller.poll();
    assert!(
        matches!(&actions[..], [
            Action::DeferTransport { id: MessageId(1), recipients, .. },
            Action::Retry { id: MessageId(1), due_at_ms },
        ] if recipients.as_slice() == [0] && *due_at_ms == START_MS + 300_000),
        "{actions:?}"
    );
    caller.wait(300_000);
    assert!(matches!(caller.poll()[0], Action::DeferTransport { .. }), "time alone does not help");
    caller.arrive(10..11);
    assert_eq!(caller.deliveries().len(), 1, "other transports are served");

    caller.arrive(2..3);
    caller.scheduler.flush(caller.now_ms);
    let deliveries = caller.deliveries();
    assert_eq!(deliveries.iter().map(|delivery| delivery.id.0).collect::<Vec<_>>(), [1, 2]);
    caller.refused(&deliveries[0]);
    caller.sent(&deliveries[1]);
    caller.poll();
    caller.wait(4_000_000);
    assert!(matches!(caller.poll()[0], Action::DeferTransport { .. }), "a flush lets a message go once");
    assert!(caller.scheduler.flush_message(MessageId(1), caller.now_ms));
    assert_eq!(caller.deliveries().len(), 1, "a flush of the message itself does too");
}

#[test]
fn connections_are_kept_from_the_first_mail_that_follows_another_at_once() {
    let mut caller = Caller::new(QmgrSettings::default(), |_| ("smtp", "a.example"));
    caller.arrive(0..8);
    let burst = caller.deliveries();
    assert!(burst.len() == 5 && burst.iter().all(|delivery| !delivery.keep_connection));
    caller.now_ms += 60_000;
    caller.sent(&burst[0]);
    let next = caller.scheduler.next_for(burst[0].site).expect("three are queued");
    assert!(next.keep_connection, "mail comes back-to-back");
    for delivery in burst[1..].iter().chain([&next]) {
        caller.sent(delivery);
    }
    for delivery in caller.deliveries() {
        assert!(delivery.keep_connection);
        caller.sent(&delivery);
    }
    caller.poll();
    caller.wait(1001);
    caller.arrive(20..21);
    assert!(!caller.deliveries()[0].keep_connection, "one mail a while later is alone");
}

#[test]
fn the_operator_is_warned_now_and_then_that_one_site_fills_the_active_queue() {
    let settings = QmgrSettings { active_messages_max: 200, ..QmgrSettings::default() };
    let mut caller = Caller::new(settings.clone(), |id| {
        ("smtp", if id % 4 == 0 { "others.example" } else { "slow.example" })
    });
    let warnings = |actions: &[Action], caller: &Caller| -> Vec<(String, u32)> {
        let warning = |action: &Action| match action {
            Action::WarnOfClog { site, messages, .. } => {
                let (_, nexthop) = caller.scheduler.site_names(*site)?;
                Some((nexthop.to_owned(), *messages))
            }
            _ => None,
        };
        actions.iter().filter_map(warning).collect()
    };
    caller.arrive(0..300);
    let mut actions = caller.poll();
    for _ in 0..20 {
        let running: Vec<_> = actions
            .iter()
            .filter_map(
                |action| if let Action::Deliver(delivery) = action { Some(delivery.clone()) } else { None },
            )
            .collect();
        running.iter().for_each(|delivery| caller.sent(delivery));
        let more = caller.poll();
        let told = warnings(&more, &caller);
        if !told.is_empty() {
            assert_eq!(told.len(), 1);
            assert!(told[0].0 == "slow.example" && told[0].1 > 100, "{told:?}");
            actions = more;
            break;
        }
        actions = more;
    }
    assert_eq!(warnings(&actions, &caller).len(), 1, "it was told");
    caller.arrive(300..320);
    assert!(warnings(&caller.poll(), &caller).is_empty(), "and not again so soon");

    let mut silent = Caller::new(QmgrSettings { clog_warn_ms: 0, ..settings }, |_| ("smtp", "slow.example"));
    silent.arrive(0..300);
    for delivery in silent.deliveries() {
        silent.sent(&delivery);
        assert!(!silent.poll().iter().any(|action| matches!(action, Action::WarnOfClog { .. })));
    }
}

#[test]
fn a_message_that_is_to_expire_does_so_at_the_end_of_its_next_attempt() {
    let mut caller = Caller::new(QmgrSettings::default(), |_| ("smtp", "a.example"));
    caller.arrive(1..3);
    let deliveries = caller.deliveries();
    assert!(caller.scheduler.force_expire(MessageId(1), caller.now_ms), "in the attempt that runs");
    assert!(!caller.scheduler.force_expire(MessageId(9), caller.now_ms));
    caller.refused(&deliveries[0]);
    caller.refused(&deliveries[1]);
    let due_at_ms = START_MS + 300_000;
    assert_eq!(
        caller.poll(),
        [Action::Expire { id: MessageId(1) }, Action::Retry { id: MessageId(2), due_at_ms }]
    );
    assert!(
        caller.scheduler.force_expire(MessageId(2), caller.now_ms),
        "or, deferred, in the one that comes"
    );
    caller.force_expired = true;
    assert_eq!(caller.scheduler.state(MessageId(2)), Some(MessageState::Deferred));
    caller.wait(300_000);
    let deliveries = caller.deliveries();
    caller.refused(&deliveries[0]);
    assert_eq!(caller.poll(), [Action::Expire { id: MessageId(2) }]);
}

#[test]
fn a_message_that_is_to_expire_is_delivered_if_it_can_be() {
    let mut caller = Caller::new(QmgrSettings::default(), |_| ("smtp", "a.example"));
    caller.arrive(1..2);
    let deliveries = caller.deliveries();
    assert!(caller.scheduler.force_expire(MessageId(1), caller.now_ms));
    caller.sent(&deliveries[0]);
    assert_eq!(caller.poll(), [Action::MessageDone { id: MessageId(1) }]);
}

#[test]
fn a_message_that_cannot_be_read_is_not_expired_unseen() {
    let mut caller = Caller::new(QmgrSettings::default(), |_| ("smtp", "a.example"));
    caller.scheduler.recovered(MessageId(1), START_MS - DAY_MS, START_MS);
    assert_eq!(caller.scheduler.poll_action(), Some(Action::Activate { id: MessageId(1) }));
    assert!(caller.scheduler.force_expire(MessageId(1), caller.now_ms));
    caller.scheduler.postponed(MessageId(1), caller.now_ms);
    assert!(matches!(caller.poll()[..], [Action::Retry { .. }]));
}

#[test]
fn a_transport_that_has_failed_rests_with_all_its_sites_until_its_time_or_a_flush() {
    let settings = QmgrSettings { transport_retry_ms: 60_000, ..rated_transport() };
    let mut caller = Caller::new(settings, |id| {
        [("smtp", "a.example"), ("smtp", "b.example"), ("relay", "a.example")][id as usize % 3]
    });
    caller.arrive(0..3);
    let deliveries = caller.deliveries();
    assert_eq!(deliveries.len(), 3);
    let fail = |caller: &mut Caller, delivery: &Delivery| {
        let begins = caller.scheduler.transport_failed(delivery.site, "no sockets", caller.now_ms);
        caller.refused(delivery);
        begins
    };
    assert!(fail(&mut caller, &deliveries[0]));
    assert!(!fail(&mut caller, &deliveries[1]), "it rests already");
    caller.sent(&deliveries[2]);
    // New mail for any of its sites is put off; another transport's is not.
    caller.arrive(3..6);
    assert_eq!(caller.deliveries().iter().map(|delivery| delivery.id.0).collect::<Vec<_>>(), [5]);
    let report = caller.scheduler.why_site("smtp", "a.example", caller.now_ms).unwrap();
    assert!(matches!(report.wait, SiteWait::Dead { ref reason, .. } if reason == "no sockets"), "{report:?}");
    caller.wait(59_999);
    caller.arrive(6..7);
    assert_eq!(caller.deliveries(), []);
    caller.wait(1);
    caller.arrive(9..10);
    let again = caller.deliveries();
    assert_eq!(again.len(), 1, "its window is as it was: the site had no trouble");
    assert!(fail(&mut caller, &again[0]));
    caller.scheduler.flush(caller.now_ms);
    caller.arrive(12..13);
    assert!(caller.deliveries().iter().any(|delivery| delivery.id.0 == 12));
}
