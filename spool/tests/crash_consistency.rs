//! What was acknowledged survives every crash; what was removed stays removed; nothing is made up.

mod common;

use common::{Model, check, open, produce, small_options};
use ringpost_spool::disk::MemoryDisk;
use std::{cell::RefCell, rc::Rc};

/// Runs a workload for `steps` stages of disk operations, crashes, recovers, checks; `epochs` times.
fn crash_again_and_again(seed: u64, steps: u64, epochs: u32, lying: bool) {
    let model = Rc::new(RefCell::new(Model::default()));
    let mut disk = MemoryDisk::new(seed);
    for epoch in 0..epochs {
        let what = format!("seed {seed}, {steps} steps, epoch {epoch}");
        if lying {
            disk.lie_about_syncs();
        }
        let (spool, executor) = open(&disk, small_options());
        check(&spool, &executor, &disk, &model, &what);
        produce(&spool, &executor, &model, seed + u64::from(epoch), 3, 1000, 30);
        let end = disk.steps() + steps + u64::from(epoch) * 7;
        while disk.steps() < end {
            executor.run_until_stalled();
            assert!(disk.step(), "{what}: everything waits: {:?}", spool.figures());
        }
        if seed.is_multiple_of(2) {
            executor.run_until_stalled();
        }
        disk = disk.crash(seed.wrapping_mul(31) + u64::from(epoch));
    }
    // Twice without a workload: recovery changes nothing.
    for again in 0..2 {
        let (spool, executor) = open(&disk, small_options());
        check(&spool, &executor, &disk, &model, &format!("seed {seed}, {steps} steps, again {again}"));
        disk = disk.crash(seed + again);
    }
}

#[test]
fn acknowledged_messages_survive_a_crash_after_every_write_and_every_sync() {
    for steps in 0..200 {
        crash_again_and_again(steps * 3 + 1, steps, 1, false);
    }
}

#[test]
fn acknowledged_messages_survive_crash_after_crash() {
    for seed in 0..20 {
        crash_again_and_again(seed, 40 + seed * 17, 6, false);
    }
}

#[test]
fn a_disk_that_acknowledges_before_the_sync_is_found_out() {
    let found = std::panic::catch_unwind(|| {
        for seed in 0..20 {
            crash_again_and_again(seed, 60 + seed, 3, true);
        }
    });
    assert!(found.is_err(), "the crash test cannot see a missing fdatasync");
}
