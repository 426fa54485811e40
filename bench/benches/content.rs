//! Content of 4 KiB through the scanner: dot-stuffing, bare line ends, the lone dot.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringpost_core::content::{BareNewline, ContentScanner, Framing};

const MESSAGE_BYTES: usize = 4096;

fn scan(criterion: &mut Criterion) {
    let mut message: Vec<u8> =
        b"0123456789".repeat(7).into_iter().chain(*b"\r\n").cycle().take(MESSAGE_BYTES - 2).collect();
    message.extend_from_slice(b"\r\n.\r\n");
    let mut wire = Vec::with_capacity(2 * MESSAGE_BYTES);
    let mut group = criterion.benchmark_group("content");
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("scan 4 KiB", |bencher| {
        bencher.iter(|| {
            wire.clear();
            let mut scanner = ContentScanner::new(Framing::Dot, BareNewline::Normalize, 10_240_000);
            let scanned = scanner.scan(black_box(&message), &mut wire);
            assert!(scanned.ended);
            black_box(&wire);
        });
    });
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
