//! What a long queue costs the spool on a real disk: fills the logs of some shards with small deferred messages, stops
//! as a crash would, and then times the recovery, a walk, a whole list, and the removal of everything; with the
//! process's memory at each step.
//!
//!     cargo run --release -p ringpost-spool --example scale -- DIRECTORY [messages] [shards]
//!
//! DIRECTORY must be empty or new; it is left with empty logs.

use ringpost_reactor::{Handle, Moment, Reactor, ReactorOptions};
use ringpost_spool::{Content, MessageId, NewMessage, Spool, SpoolOptions, disk::ReactorDisk};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    sync::{Arc, Barrier},
    time::Duration,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Content, envelope and note of one message: a short notification that was deferred once.
const CONTENT_BYTES: usize = 600;
const ENVELOPE: &[u8] = &[b'e'; 160];
const NOTE: &[u8] = &[b'n'; 140];
/// Messages that are stored at once on a shard.
const PRODUCERS: u64 = 400;
/// Envelopes that are asked for at a time.
const LIST_STEP: usize = 1000;
/// Removals between two looks at whether the spool wants a pause.
const REMOVE_STEP: usize = 1000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: scale DIRECTORY [messages] [shards]");
        return ExitCode::from(64);
    };
    let messages: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let shards: u16 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    match measure(&directory, messages, shards.max(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(directory: &Path, messages: u64, shards: u16) -> Result<(), Failure> {
    let each = messages.div_ceil(u64::from(shards));
    println!("{} messages of {CONTENT_BYTES} bytes on {shards} shards", each * u64::from(shards));
    let line = Arc::new(Barrier::new(usize::from(shards)));
    on_every_shard(shards, |shard| {
        let disk_at = directory.join(format!("shard-{shard:02}"));
        move || on_a_reactor(&disk_at, move |handle, disk| fill(handle, disk, shard, each))
    })?;
    println!("{:<28} {:>8.1} MiB", "memory after filling", resident_mib()?);
    on_every_shard(shards, |shard| {
        let disk_at = directory.join(format!("shard-{shard:02}"));
        let line = Arc::clone(&line);
        move || on_a_reactor(&disk_at, move |handle, disk| use_it(handle, disk, shard, each, line))
    })
}

/// Runs what `of` makes for each shard in a thread of its own, and waits for all.
fn on_every_shard<W>(shards: u16, of: impl Fn(u16) -> W) -> Result<(), Failure>
where
    W: FnOnce() -> Result<(), Failure> + Send,
{
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..shards).map(|shard| scope.spawn(of(shard))).collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a shard has panicked")?)
    })
}

fn on_a_reactor<F: Future<Output = Result<(), Failure>>>(
    directory: &Path,
    work: impl FnOnce(Handle, ReactorDisk) -> F,
) -> Result<(), Failure> {
    let reactor = Reactor::start(ReactorOptions::default())?;
    let handle = reactor.handle();
    let disk = ReactorDisk::new(handle.clone(), directory)?;
    reactor.run(work(handle, disk))
}

async fn fill(handle: Handle, disk: ReactorDisk, shard: u16, messages: u64) -> Result<(), Failure> {
    let spool = Spool::open(disk, SpoolOptions::new(shard)).await?;
    let running = spool.clone();
    handle.spawn(async move { running.run().await });
    let started = handle.now();
    let left = Rc::new(std::cell::Cell::new(messages));
    let busy = Rc::new(std::cell::Cell::new(PRODUCERS));
    for _ in 0..PRODUCERS {
        let (spool, handle, left, busy) = (spool.clone(), handle.clone(), Rc::clone(&left), Rc::clone(&busy));
        handle.clone().spawn(async move {
            let content = [b'x'; CONTENT_BYTES];
            let pieces: [&[u8]; 1] = [&content];
            while left.get() > 0 {
                left.set(left.get() - 1);
                let id = spool.new_id();
                let wall = handle.wall();
                let message = NewMessage {
                    id,
                    arrival_us: wall.as_micros(),
                    due_at_s: wall.as_secs() as u32,
                    held: false,
                    envelope: ENVELOPE,
                    envelope_chunks: Vec::new(),
                    content: Content::Inline(&pieces),
                };
                if let Err(error) = spool.store(message).await {
                    eprintln!("scale: {error}");
                    break;
                }
                spool.retry(id, wall.as_secs() as u32 + 300, NOTE);
            }
            busy.set(busy.get() - 1);
        });
    }
    while busy.get() > 0 {
        handle.sleep(Duration::from_millis(10)).await;
    }
    spool.barrier().await?;
    if shard == 0 {
        tell("filling", seconds_since(&handle, started));
    }
    Ok(())
}

async fn use_it(
    handle: Handle,
    disk: ReactorDisk,
    shard: u16,
    messages: u64,
    line: Arc<Barrier>,
) -> Result<(), Failure> {
    let first = shard == 0;
    let before_mib = resident_mib()?;
    line.wait();
    let started = handle.now();
    let spool = Spool::open(disk, SpoolOptions::new(shard)).await?;
    let took = seconds_since(&handle, started);
    line.wait();
    if first {
        tell("recovery", took);
        let figures = spool.figures();
        println!("{:<28} {:>8.1} MiB, {before_mib:.1} before", "memory", resident_mib()?);
        let per_message = figures.index_bytes as f64 / figures.queued as f64;
        println!("{:<28} {per_message:>8.1} bytes a message", "index");
        println!("{:<28} {:>8.1} MiB a shard", "on disk", figures.disk_bytes as f64 / f64::from(1 << 20));
    }
    let running = spool.clone();
    handle.spawn(async move { running.run().await });

    line.wait();
    let started = handle.now();
    let ids: Vec<MessageId> = spool.queued().map(|queued| queued.id).collect();
    if ids.len() as u64 != messages {
        return Err(format!("{} messages are queued, not {messages}", ids.len()).into());
    }
    if first {
        tell("walk", seconds_since(&handle, started));
    }
    let started = handle.now();
    for step in ids.chunks(LIST_STEP) {
        for listed in spool.envelopes(step, u64::MAX).await {
            listed?;
        }
    }
    if first {
        tell("list", seconds_since(&handle, started));
    }
    line.wait();
    let started = handle.now();
    for step in ids.chunks(REMOVE_STEP) {
        step.iter().for_each(|&id| spool.remove(id));
        while !spool.ready_for_notes() {
            handle.sleep(Duration::from_millis(1)).await;
        }
        handle.end_of_turn().await;
    }
    spool.barrier().await?;
    if first {
        tell("removal", seconds_since(&handle, started));
        let figures = spool.figures();
        println!(
            "{:<28} {:>8.1} MiB",
            "copied by compaction",
            figures.compacted_bytes as f64 / f64::from(1 << 20)
        );
        println!("{:<28} {:>8.1} MiB", "memory after removal", resident_mib()?);
    }
    spool.close().await?;
    Ok(())
}

fn seconds_since(handle: &Handle, started: Moment) -> f64 {
    handle.now().since(started).as_secs_f64()
}

fn tell(what: &str, seconds: f64) {
    println!("{what:<28} {seconds:>8.2} s");
}

/// This process's resident memory.
fn resident_mib() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
