//! How fast the spool commits on a real disk: N producers, each storing 4 KiB messages one after another and removing
//! them at once, as deliveries would.
//!
//!     cargo run --release -p ringpost-spool --example commit_rate -- DIRECTORY [producers] [seconds]

use ringpost_reactor::{Reactor, ReactorOptions};
use ringpost_spool::{Content, NewMessage, Spool, SpoolOptions, disk::ReactorDisk};
use std::{cell::RefCell, path::PathBuf, process::ExitCode, rc::Rc, time::Duration};

const MESSAGE_BYTES: usize = 4096;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: commit_rate DIRECTORY [producers] [seconds]");
        return ExitCode::from(64);
    };
    let producers = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(200);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    match measure(&directory, producers, seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("commit_rate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(
    directory: &std::path::Path,
    producers: u32,
    seconds: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let reactor = Reactor::start(ReactorOptions::default())?;
    let handle = reactor.handle();
    let disk = ReactorDisk::new(handle.clone(), directory)?;
    reactor.run(async move {
        let spool = Spool::open(disk, SpoolOptions::new(0)).await?;
        let running = spool.clone();
        handle.spawn(async move { running.run().await });
        let latencies: Rc<RefCell<Vec<u64>>> = Rc::default();
        let started = handle.now();
        let end = started.after(Duration::from_secs(seconds));
        let cpu_before = cpu_seconds()?;
        for _ in 0..producers {
            let (spool, handle, latencies) = (spool.clone(), handle.clone(), Rc::clone(&latencies));
            handle.clone().spawn(async move {
                let content = vec![b'x'; MESSAGE_BYTES];
                let mut own = Vec::new();
                while handle.now() < end {
                    let id = spool.new_id();
                    let before = handle.now();
                    let pieces: [&[u8]; 1] = [&content];
                    let message = NewMessage {
                        id,
                        arrival_us: handle.wall().as_micros(),
                        due_at_s: handle.wall().as_secs() as u32,
                        held: false,
                        envelope: b"sender@example.com recipient@example.com",
                        envelope_chunks: Vec::new(),
                        content: Content::Inline(&pieces),
                    };
                    if let Err(error) = spool.store(message).await {
                        eprintln!("commit_rate: {error}");
                        break;
                    }
                    own.push(handle.now().since(before).as_nanos() as u64);
                    spool.remove(id);
                }
                latencies.borrow_mut().extend(own);
            });
        }
        handle.sleep_until(end.after(Duration::from_millis(200))).await;
        let cpu = cpu_seconds()? - cpu_before;
        let figures = spool.figures();
        spool.close().await?;
        let mut latencies = latencies.take();
        latencies.sort_unstable();
        let count = latencies.len().max(1);
        let mean = latencies.iter().sum::<u64>() / count as u64;
        let p99 = latencies.get(count * 99 / 100).copied().unwrap_or(0);
        println!(
            "{producers} producers: {} messages/s, {} commits/s, {:.0} records a commit",
            count as u64 / seconds,
            figures.commits / seconds,
            figures.records_per_commit()
        );
        println!(
            "store: mean {} us, p99 {} us; CPU {:.2} us a message; {} segments recycled, {} MiB on disk",
            mean / 1000,
            p99 / 1000,
            cpu * 1e6 / count as f64,
            figures.segments_recycled,
            figures.disk_bytes >> 20
        );
        Ok(())
    })
}

/// CPU time of this process so far, user and system, in seconds.
fn cpu_seconds() -> std::io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}
