//! A timer set and cancelled, as every read with a time limit does; alone, and among 100,000 others.

use std::pin::pin;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_lite::future::poll_once;
use ringpost_reactor::{Reactor, ReactorOptions};

const OTHERS: [u64; 2] = [0, 100_000];

fn set_and_cancel(criterion: &mut Criterion) {
    for others in OTHERS {
        criterion.bench_function(&format!("timer/set and cancel among {others}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let reactor = Reactor::start(ReactorOptions::default()).expect("io_uring is allowed here");
                let handle = reactor.handle();
                reactor.run(async move {
                    let mut standing = Vec::new();
                    for number in 0..others {
                        let mut sleep = Box::pin(handle.sleep(Duration::from_millis(300_000 + number)));
                        assert!(poll_once(&mut sleep).await.is_none(), "it lies minutes ahead");
                        standing.push(sleep);
                    }
                    let start = Instant::now();
                    for _ in 0..rounds {
                        let sleep = pin!(handle.sleep(Duration::from_secs(300)));
                        assert!(poll_once(sleep).await.is_none(), "it lies minutes ahead");
                    }
                    start.elapsed()
                })
            });
        });
    }
}

criterion_group!(benches, set_and_cancel);
criterion_main!(benches);
