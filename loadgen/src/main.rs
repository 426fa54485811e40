//! `ringpost-loadgen`: smtp source, smtp sink, run, torture. An I/O stack and SMTP code of its own.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
