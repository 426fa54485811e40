//! What a destination's window costs the scheduler when its home is another shard: one message from its arrival to its
//! removal, on the home itself and on the other shard, with the home's part and the rings between them included.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringpost_core::qmgr::slots::{ShardPlace, SlotMessage, home_of};
use ringpost_core::qmgr::{Action, Delivery, DeliveryReport, MessageId, QmgrSettings, Resolved, Scheduler};
use ringpost_reactor::ring::{Receiver, Sender, spsc};

const NOW_MS: u64 = 1_000_000;
const NEXTHOP: &str = "[192.0.2.1]:25";
/// Deliveries that end in one turn of a shard.
const TURN: u64 = 8;

struct Shard {
    scheduler: Scheduler,
    to: Sender<SlotMessage>,
    from: Receiver<SlotMessage>,
    other: u16,
    running: Vec<Delivery>,
}

impl Shard {
    fn turn(&mut self) {
        while let Some(message) = self.from.try_recv() {
            self.scheduler.hear(self.other, message, NOW_MS);
        }
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Activate { id } => {
                    let site = self.scheduler.site("smtp", NEXTHOP);
                    let resolved = Resolved {
                        arrival_ms: NOW_MS,
                        bytes: 4096,
                        null_sender: false,
                        force_expired: false,
                        deferred: 0,
                        unread: 0,
                    };
                    self.scheduler.activated(id, resolved, &[(site, 0)], NOW_MS);
                }
                Action::Deliver(delivery) => self.running.push(delivery),
                Action::MessageDone { id } => {
                    black_box(id);
                }
                other => panic!("a delivered message leads to {other:?}"),
            }
        }
        if self.scheduler.has_slot_news() {
            let to = &mut self.to;
            let said = self.scheduler.say(NOW_MS, |_, message| to.try_send(message).map_err(|full| full.0));
            assert!(said, "the ring has room");
        }
    }

    fn end_deliveries(&mut self, most: u64) -> u64 {
        let ended = most.min(self.running.len() as u64);
        for delivery in self.running.drain(..ended as usize) {
            let report = DeliveryReport { done: 1, deferred: 0, trouble: None };
            self.scheduler.delivery_finished(delivery.delivery_id, report, NOW_MS);
        }
        ended
    }
}

fn shards() -> [Shard; 2] {
    let (to_one, from_zero) = spsc(1024);
    let (to_zero, from_one) = spsc(1024);
    let shard = |index, to, from| Shard {
        scheduler: Scheduler::new(QmgrSettings::default(), NOW_MS).among(ShardPlace { index, count: 2 }),
        to,
        from,
        other: 1 - index,
        running: Vec::new(),
    };
    [shard(0, to_one, from_one), shard(1, to_zero, from_zero)]
}

/// Keeps a backlog on one shard and lets a turn's worth of deliveries end; gives their time a message.
fn serve(criterion: &mut Criterion, name: &str, worker: usize) {
    let mut shards = shards();
    let mut sequence = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|messages| {
            let start = std::time::Instant::now();
            let mut ended = 0;
            while ended < messages {
                while shards[worker].scheduler.figures().active < 40 {
                    sequence += 1;
                    let _ = shards[worker].scheduler.arrived(MessageId(sequence), 4096, NOW_MS);
                    shards[worker].turn();
                }
                ended += shards[worker].end_deliveries(TURN);
                shards.iter_mut().for_each(Shard::turn);
            }
            start.elapsed().mul_f64(messages as f64 / ended as f64)
        });
    });
}

fn slots(criterion: &mut Criterion) {
    let home = usize::from(home_of("smtp", NEXTHOP, 2));
    serve(criterion, "slots/one message at home", home);
    serve(criterion, "slots/one message on another shard's grants", 1 - home);
}

criterion_group!(benches, slots);
criterion_main!(benches);
