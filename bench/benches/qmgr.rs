//! The scheduler's part in one message: arrival, activation, one delivery that succeeds, removal.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringpost_core::qmgr::{Action, DeliveryReport, MessageId, QmgrSettings, Resolved, Scheduler};

fn schedule(criterion: &mut Criterion) {
    let now_ms = 1_000_000;
    let mut scheduler = Scheduler::new(QmgrSettings::default(), now_ms);
    let mut sequence = 0;
    criterion.bench_function("qmgr/one message", |bencher| {
        bencher.iter(|| {
            sequence += 1;
            black_box(scheduler.arrived(MessageId(sequence), 4096, now_ms));
            let mut done = false;
            while let Some(action) = scheduler.poll_action() {
                match action {
                    Action::Activate { id } => {
                        let site = scheduler.site("smtp", "[192.0.2.1]:25");
                        let resolved = Resolved {
                            arrival_ms: now_ms,
                            bytes: 4096,
                            null_sender: false,
                            deferred: 0,
                            force_expired: false,
                            unread: 0,
                        };
                        scheduler.activated(id, resolved, &[(site, 0)], now_ms);
                    }
                    Action::Deliver(delivery) => {
                        let report = DeliveryReport { done: 1, deferred: 0, trouble: None };
                        scheduler.delivery_finished(delivery.delivery_id, report, now_ms);
                    }
                    Action::MessageDone { .. } => done = true,
                    other => panic!("a delivered message leads to {other:?}"),
                }
            }
            assert!(done, "the message is done");
        });
    });
}

criterion_group!(benches, schedule);
criterion_main!(benches);
