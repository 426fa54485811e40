//! A ring between shards, alone: a value in and out on one thread; one way between two pinned threads, both awake, and
//! with a receiver that sleeps when there is nothing, as the mesh does; there and back between two that both sleep.
//! What the slot protocol costs on top of it is measured by `slots`.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringpost_core::qmgr::slots::SlotMessage;
use ringpost_reactor::ring::{Full, Receiver, Sender, spsc};
use ringpost_reactor::{Reactor, ReactorOptions};

/// As large as what queue managers say to each other.
type Value = [u64; size_of::<SlotMessage>() / 8];

/// As in the mesh.
const CAPACITY: usize = 1024;

/// What a shard runs on, pinned as a shard is; not pinned where there is no second core.
fn reactor(core: usize, cores: usize) -> Reactor {
    let options = ReactorOptions { core: (cores > 1).then_some(core), ..ReactorOptions::default() };
    Reactor::start(options).expect("io_uring is allowed here")
}

/// The time from the first value that `send` sends to the last that `take` takes. Both run on threads of their own: a
/// thread inherits what the one that starts it is pinned to.
fn measure<S, T>(send: impl FnOnce() -> S + Send, take: impl FnOnce() -> T + Send) -> Duration
where
    S: Future<Output = ()>,
    T: Future<Output = ()>,
{
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let ready = Barrier::new(2);
    thread::scope(|scope| {
        let taking = scope.spawn(|| {
            reactor(1, cores).run(async {
                ready.wait();
                take().await;
                Instant::now()
            })
        });
        let sending = scope.spawn(|| {
            reactor(0, cores).run(async {
                ready.wait();
                let begun = Instant::now();
                send().await;
                begun
            })
        });
        let begun = sending.join().expect("the sending thread lives");
        taking.join().expect("the receiving thread lives") - begun
    })
}

async fn send_all(mut sender: Sender<Value>, values: u64) {
    for number in 0..values {
        let mut value = black_box([number; _]);
        while let Err(Full(back)) = sender.try_send(value) {
            value = back;
        }
    }
}

async fn take_awake(mut receiver: Receiver<Value>, values: u64) {
    let mut taken = 0;
    while taken < values {
        // Without a pause: a guest that pauses in a loop is stopped by its host, and that would be measured.
        if let Some(value) = receiver.try_recv() {
            black_box(value);
            taken += 1;
        }
    }
}

async fn take_or_sleep(mut receiver: Receiver<Value>) {
    while let Some(value) = receiver.recv().await {
        black_box(value);
        while let Some(value) = receiver.try_recv() {
            black_box(value);
        }
    }
}

fn rings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rings");
    group.throughput(Throughput::Elements(1));
    group.bench_function("in and out on one thread", |bencher| {
        let (mut sender, mut receiver) = spsc::<Value>(CAPACITY);
        bencher.iter(|| {
            sender.try_send(black_box([1; _])).expect("the ring is empty");
            black_box(receiver.try_recv()).expect("a value was sent");
        });
    });
    group.bench_function("one way, both awake", |bencher| {
        bencher.iter_custom(|values| {
            let (sender, receiver) = spsc(CAPACITY);
            measure(move || send_all(sender, values), move || take_awake(receiver, values))
        });
    });
    group.bench_function("one way, the receiver sleeps when there is nothing", |bencher| {
        bencher.iter_custom(|values| {
            let (sender, receiver) = spsc(CAPACITY);
            measure(move || send_all(sender, values), move || take_or_sleep(receiver))
        });
    });
    group.bench_function("there and back, both asleep", |bencher| {
        bencher.iter_custom(|trips| {
            let (mut there, mut heard) = spsc::<Value>(CAPACITY);
            let (mut back, mut answers) = spsc::<Value>(CAPACITY);
            let ask = move || async move {
                for number in 0..trips {
                    there.try_send([number; _]).expect("the ring is empty");
                    black_box(answers.recv().await).expect("the other side answers");
                }
            };
            let answer = move || async move {
                while let Some(value) = heard.recv().await {
                    back.try_send(value).expect("the ring is empty");
                }
            };
            measure(ask, answer)
        });
    });
    group.finish();
}

criterion_group!(benches, rings);
criterion_main!(benches);
