//! Whatever has happened to the files, opening ends, nothing panics, and what is handed out is what was stored.

mod common;

use common::{Model, Random, change, open, produce, read, small_options};
use ringpost_spool::{
    LoadError, MessageId, OpenError, Spool, SpoolOptions,
    disk::{Disk, LocalExecutor, MemoryDisk},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Disks that are damaged, each in a while of its own. The seed of a failure is in its message.
const ROUNDS: u64 = 1500;
/// Stages of disk operations after which an upkeep that never comes to rest is found out.
const STEPS_MAX: u32 = 100_000;

fn options() -> SpoolOptions {
    SpoolOptions { segment_bytes: 64 << 10, ..small_options() }
}

/// A spool in the middle of its life: sealed segments, compacted ones, spares with frames of the past, an open head.
/// Closed in order if `close`. With the lengths of all messages there ever were.
fn image(seed: u64, close: bool) -> (MemoryDisk, BTreeMap<MessageId, usize>) {
    let model = Rc::new(RefCell::new(Model::default()));
    let disk = MemoryDisk::new(seed);
    let (spool, executor) = open(&disk, options());
    let running = produce(&spool, &executor, &model, seed, 2, 40, 40);
    while running.get() > 0 {
        executor.run_until_stalled();
        assert!(disk.step(), "everything waits: {:?}", spool.figures());
    }
    if close {
        let closing = async move { spool.close().await.expect("the disk works") };
        executor.block_on(&disk, closing).expect("nothing hangs");
    }
    let lengths = model.borrow().messages.iter().map(|(&id, message)| (id, message.length)).collect();
    (disk.copy(), lengths)
}

/// Does one thing that a disk, a file system or a hand may do to the files.
fn damage(disk: &MemoryDisk, random: &mut Random) -> String {
    let names = disk.list().expect("a memory disk lists");
    let pick = |random: &mut Random| names[random.below(names.len() as u64) as usize].clone();
    let (name, other) = (pick(random), pick(random));
    let mut bytes = disk.contents(&name).expect("listed");
    let other_bytes = disk.contents(&other).expect("listed");
    if bytes.is_empty() {
        return format!("{name} is empty");
    }
    let somewhere = |random: &mut Random, bytes: &[u8]| {
        // Mostly where something is.
        let at = random.below(bytes.len() as u64) as usize;
        let used = bytes[at..].iter().position(|&byte| byte != 0).map_or(at, |ahead| at + ahead);
        if random.below(5) == 0 { at } else { used }
    };
    let at = somewhere(random, &bytes);
    let (sector, block) = (at & !511, at & !4095);
    let what = match random.below(9) {
        0..=2 => {
            bytes[at] ^= 1 << random.below(8);
            format!("{name}: a bit of byte {at} is flipped")
        }
        3 => {
            let end = (at + 1 + random.below(64) as usize).min(bytes.len());
            bytes[at..end].fill_with(|| random.next() as u8);
            format!("{name}: bytes {at} to {end} are noise")
        }
        4 => {
            let end = (sector + 512).min(bytes.len());
            bytes[sector..end].fill(0);
            format!("{name}: the sector at {sector} is zeros")
        }
        5 => {
            bytes.truncate(at);
            format!("{name} is cut off at {at}")
        }
        6 => {
            let from = somewhere(random, &other_bytes) & !4095;
            let length = 4096.min(bytes.len() - block).min(other_bytes.len() - from);
            bytes[block..block + length].copy_from_slice(&other_bytes[from..from + length]);
            format!("{name}: the block at {block} is that of {other} at {from}")
        }
        7 => {
            bytes = other_bytes;
            format!("{name} is a copy of {other}")
        }
        _ => {
            disk.remove(&name).expect("it is there");
            return format!("{name} is gone");
        }
    };
    disk.set_contents(&name, bytes);
    what
}

/// What `future` comes to; `None` if everything waits, or if it takes longer than any honest work would.
fn within_bounds<T: 'static>(
    executor: &LocalExecutor,
    disk: &MemoryDisk,
    future: impl Future<Output = T> + 'static,
) -> Option<T> {
    let result = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&result);
    executor.spawn(async move {
        let value = future.await;
        *slot.borrow_mut() = Some(value);
    });
    for _ in 0..STEPS_MAX {
        executor.run_until_stalled();
        if let Some(value) = result.borrow_mut().take() {
            return Some(value);
        }
        if !disk.step() {
            return None;
        }
    }
    None
}

/// Opens the disk, reads everything, goes on working with it for a while, and opens it again.
fn live_on(disk: &MemoryDisk, lengths: &BTreeMap<MessageId, usize>, seed: u64, what: &str) {
    for again in 0..2 {
        let executor = LocalExecutor::default();
        let opened = within_bounds(&executor, disk, Spool::open(disk.clone(), options()));
        let spool = match opened.unwrap_or_else(|| panic!("{what}: opening hangs")) {
            Ok(spool) => spool,
            // A disk that cannot be read; the files stay as they are.
            Err(OpenError::Disk { .. }) => return,
            Err(error) => panic!("{what}: {error}"),
        };
        let running = spool.clone();
        executor.spawn(async move { running.run().await });
        let (reading, lengths) = (spool.clone(), lengths.clone());
        let shown = what.to_owned();
        let work = async move {
            let model = RefCell::new(Model::default());
            for queued in reading.queued() {
                let length =
                    *lengths.get(&queued.id).unwrap_or_else(|| panic!("{shown}: {} is made up", queued.id));
                match read(&reading, queued.id, length).await {
                    Ok(view) => {
                        let message = common::Message {
                            length,
                            acknowledged: true,
                            views: vec![view],
                            removed: false,
                            removed_durably: false,
                        };
                        model.borrow_mut().messages.insert(queued.id, message);
                    }
                    Err(LoadError::Corrupt(_)) => {}
                    Err(error) => panic!("{shown}: {}: {error}", queued.id),
                }
            }
            let mut random = Random(seed + again);
            (0..30).for_each(|_| change(&reading, &model, &mut random, 40));
            for corrupt in reading.corrupt().iter().step_by(2) {
                corrupt.id.into_iter().for_each(|id| reading.remove(id));
            }
            reading.barrier().await.unwrap_or_else(|error| panic!("{shown}: {error}"));
            for id in reading.queued().map(|queued| queued.id).collect::<Vec<_>>() {
                match reading.load(id).await {
                    Ok(_) | Err(LoadError::Corrupt(_)) => {}
                    Err(error) => panic!("{shown}: {id}: {error}"),
                }
            }
        };
        within_bounds(&executor, disk, work).unwrap_or_else(|| panic!("{what}: everything waits"));
        for _ in 0..200 {
            executor.run_until_stalled();
            if !disk.step() {
                break;
            }
        }
    }
}

#[test]
fn nothing_that_happens_to_the_files_makes_recovery_panic_or_hand_out_what_was_not_stored() {
    let images: Vec<_> = (0..6).map(|seed| image(seed, seed % 2 == 0)).collect();
    for round in 0..ROUNDS {
        let mut random = Random(round);
        let (disk, lengths) = &images[round as usize % images.len()];
        let disk = disk.copy();
        let mut what = format!("round {round}");
        for _ in 0..1 + random.below(5) {
            what += ", ";
            what += &damage(&disk, &mut random);
        }
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            live_on(&disk, lengths, round, &what);
        }));
        assert!(caught.is_ok(), "{what}");
    }
}
