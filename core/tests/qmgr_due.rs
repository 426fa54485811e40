//! Deferred mail leaves at its time: never before, and while there is room no later than a second after it, or after
//! `queue_run_delay` where the clock jumped while the caller slept.

use proptest::prelude::*;
use ringpost_core::qmgr::{Action, DeliveryReport, MessageId, QmgrSettings, Resolved, Scheduler};
use std::collections::BTreeMap;

const START_MS: u64 = 1_800_000_000_000;
const RUN_DELAY_MS: u64 = 300_000;
const TICK_MS: u64 = 1000;

#[derive(Clone, Debug)]
enum Event {
    /// A message comes from the spool, due so long after now (or before).
    Recovered { due_in_ms: i64 },
    /// Nothing happens until the scheduler wants to be woken, this many times.
    Sleep { times: u32 },
    /// The clock is set forward while the caller sleeps.
    Jump { by_ms: u64 },
    /// Something else wakes the caller after so long.
    Woken { after_ms: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let due =
        prop_oneof![-5_000_000..5_000_000i64, 0..10_000i64, 8_000_000..9_000_000i64, 0..40 * 86_400_000i64];
    let event = prop_oneof![
        4 => due.prop_map(|due_in_ms| Event::Recovered { due_in_ms }),
        3 => (1..5u32).prop_map(|times| Event::Sleep { times }),
        1 => prop_oneof![0..400_000u64, 0..10 * 86_400_000u64].prop_map(|by_ms| Event::Jump { by_ms }),
        2 => (0..20_000u64).prop_map(|after_ms| Event::Woken { after_ms }),
    ];
    prop::collection::vec(event, 1..60)
}

struct Waiting {
    due_at_ms: u64,
    arrival_ms: u64,
}

struct Caller {
    scheduler: Scheduler,
    settings: QmgrSettings,
    now_ms: u64,
    waiting: BTreeMap<u64, Waiting>,
    left: u32,
}

impl Caller {
    /// Lets everything that is due leave; each is refused softly and comes back.
    fn wake(&mut self, slack_ms: u64) {
        let now_ms = self.now_ms;
        self.scheduler.tick(now_ms);
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Activate { id } => {
                    let waiting = &self.waiting[&id.0];
                    assert!(now_ms >= waiting.due_at_ms, "left {} ms early", waiting.due_at_ms - now_ms);
                    let late_ms = now_ms - waiting.due_at_ms.max(START_MS);
                    assert!(
                        late_ms <= TICK_MS + slack_ms,
                        "left {late_ms} ms late, {slack_ms} ms are excused"
                    );
                    self.left += 1;
                    let site = self.scheduler.site("smtp", "a.example");
                    let resolved = Resolved {
                        arrival_ms: waiting.arrival_ms,
                        bytes: 100,
                        null_sender: false,
                        force_expired: false,
                        deferred: 0,
                        unread: 0,
                    };
                    self.scheduler.activated(id, resolved, &[(site, 0)], now_ms);
                }
                Action::Deliver(delivery) => {
                    let report = DeliveryReport { done: 0, deferred: 1, trouble: None };
                    self.scheduler.delivery_finished(delivery.delivery_id, report, now_ms);
                }
                Action::Retry { id, due_at_ms } => {
                    let waiting = self.waiting.get_mut(&id.0).expect("it is known");
                    let age_ms = now_ms.saturating_sub(waiting.arrival_ms);
                    let settings = &self.settings;
                    let wait_ms = age_ms.clamp(settings.minimal_backoff_ms, settings.maximal_backoff_ms);
                    assert_eq!(
                        due_at_ms,
                        now_ms + wait_ms,
                        "the waiting time doubles the age, within bounds"
                    );
                    assert!(age_ms < settings.maximal_queue_lifetime_ms);
                    waiting.due_at_ms = due_at_ms;
                }
                Action::Expire { id } => {
                    let waiting = self.waiting.remove(&id.0).expect("it is known");
                    assert!(now_ms - waiting.arrival_ms >= self.settings.maximal_queue_lifetime_ms);
                }
                other => panic!("{other:?}"),
            }
        }
        let overdue = self.waiting.values().filter(|waiting| waiting.due_at_ms + TICK_MS < now_ms).count();
        assert_eq!(overdue, 0, "there is room, and something due has not left");
    }

    /// How long the caller would sleep.
    fn sleep_ms(&self) -> Option<u64> {
        self.scheduler.next_wakeup().map(|at_ms| at_ms.saturating_sub(self.now_ms).max(1))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_due_message_waits_while_there_is_room(events in events()) {
        let settings = QmgrSettings { queue_run_delay_ms: RUN_DELAY_MS, ..QmgrSettings::default() };
        let scheduler = Scheduler::new(settings.clone(), START_MS);
        let mut caller = Caller { scheduler, settings, now_ms: START_MS, waiting: BTreeMap::new(), left: 0 };
        for (id, event) in events.into_iter().enumerate() {
            match event {
                Event::Recovered { due_in_ms } => {
                    let due_at_ms = caller.now_ms.saturating_add_signed(due_in_ms);
                    // The spool was told this time before; what is overdue already is late by no fault of ours.
                    let waiting = Waiting { due_at_ms: due_at_ms.max(caller.now_ms), arrival_ms: caller.now_ms };
                    caller.waiting.insert(id as u64, waiting);
                    caller.scheduler.recovered(MessageId(id as u64), due_at_ms, caller.now_ms);
                    caller.wake(0);
                }
                Event::Sleep { times } => {
                    for _ in 0..times {
                        let Some(ms) = caller.sleep_ms() else { break };
                        prop_assert!(ms <= RUN_DELAY_MS);
                        caller.now_ms += ms;
                        caller.wake(0);
                    }
                }
                Event::Jump { by_ms } => {
                    let Some(ms) = caller.sleep_ms() else { continue };
                    caller.now_ms += ms + by_ms;
                    // In the caller's life no more than its sleep has passed.
                    prop_assert!(ms <= RUN_DELAY_MS);
                    caller.wake(ms + by_ms);
                }
                Event::Woken { after_ms } => {
                    let ms = caller.sleep_ms().map_or(after_ms, |ms| ms.min(after_ms));
                    caller.now_ms += ms;
                    caller.wake(0);
                }
            }
        }
        // All of it leaves, and comes back or expires, while nothing happens.
        for _ in 0..2000 {
            let Some(ms) = caller.sleep_ms() else { break };
            caller.now_ms += ms;
            caller.wake(0);
        }
    }
}
