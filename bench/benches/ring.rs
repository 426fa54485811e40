//! A ring between shards: a value in and out while nobody sleeps.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringpost_reactor::ring::spsc;

fn pass(criterion: &mut Criterion) {
    let (mut sender, mut receiver) = spsc::<[u64; 4]>(1024);
    criterion.bench_function("ring/send and receive 32 bytes", |bencher| {
        bencher.iter(|| {
            sender.try_send(black_box([1, 2, 3, 4])).expect("the ring is empty");
            black_box(receiver.try_recv()).expect("a value was sent");
        });
    });
}

criterion_group!(benches, pass);
criterion_main!(benches);
