//! Damaged bytes cost what they hit and nothing else; bytes of the past are never taken for the present.

mod common;

use common::{Model, Random, View, bytes_of, change, open, read, small_options, store};
use ringpost_spool::{
    LoadError, MessageId, Spool, SpoolOptions,
    disk::{Disk, LocalExecutor, MemoryDisk},
    inspect::{self, Kind},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

fn tiny_options() -> SpoolOptions {
    SpoolOptions { segment_bytes: 64 << 10, ..small_options() }
}

/// A spool with a few messages in every state; closed in order, or just stopped.
fn image(close: bool) -> (MemoryDisk, BTreeMap<MessageId, (usize, View)>) {
    let disk = MemoryDisk::new(3);
    let (spool, executor) = open(&disk, tiny_options());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        let mut random = Random(11);
        for length in [30, 100, 60, 9000, 10, 50, 80] {
            store(&task_spool, &shared, length, length == 60).await.expect("the disk works");
            change(&task_spool, &shared, &mut random, 15);
            change(&task_spool, &shared, &mut random, 0);
        }
        task_spool.barrier().await.expect("the disk works");
        if close {
            task_spool.close().await.expect("the disk works");
        }
    };
    executor.block_on(&disk, work).expect("nothing hangs");
    let model = model.borrow();
    let expected = model
        .messages
        .iter()
        .filter(|(_, message)| !message.removed)
        .map(|(&id, message)| (id, (message.length, message.views.last().expect("never empty").clone())))
        .collect();
    (disk, expected)
}

/// Opens the disk and reads everything: what was read, and what is said to be corrupt.
fn survey(
    disk: &MemoryDisk,
    lengths: &BTreeMap<MessageId, (usize, View)>,
) -> (BTreeMap<MessageId, Option<View>>, usize) {
    let executor = LocalExecutor::default();
    let opened = executor.block_on(disk, Spool::open(disk.clone(), tiny_options())).expect("opening ends");
    let spool = opened.expect("damage does not keep a spool from opening");
    let running = spool.clone();
    executor.spawn(async move { running.run().await });
    let lengths = lengths.clone();
    let reading = async move {
        let mut found = BTreeMap::new();
        for queued in spool.queued() {
            let length = lengths.get(&queued.id).map_or(0, |(length, _)| *length);
            match read(&spool, queued.id, length).await {
                Ok(view) => found.insert(queued.id, Some(view)),
                Err(LoadError::Corrupt(_)) => found.insert(queued.id, None),
                Err(error) => panic!("{}: {error}", queued.id),
            };
        }
        for corrupt in spool.corrupt() {
            if let Some(id) = corrupt.id {
                found.insert(id, None);
            }
        }
        (found, spool.corrupt().len())
    };
    executor.block_on(disk, reading).expect("reading ends")
}

/// Flips one bit in every byte that is not padding (and in some that are), and hands out what recovery makes of it.
fn flip_everything(
    disk: &MemoryDisk,
    expected: &BTreeMap<MessageId, (usize, View)>,
    stride: usize,
    mut check: impl FnMut(&str, usize, Option<(u64, Kind)>, BTreeMap<MessageId, Option<View>>, usize),
) {
    let mut flips = 0u32;
    for name in disk.list().expect("a memory disk lists") {
        let bytes = disk.contents(&name).expect("listed");
        let frames: Vec<_> = inspect::frames(&bytes)
            .map(|frame| (frame.offset, frame.payload.len(), frame.id, frame.kind))
            .collect();
        if frames.is_empty() {
            continue;
        }
        let mut zeros = 0;
        let mut nth = 0;
        for at in 0..bytes.len() {
            if bytes[at] == 0 {
                zeros += 1;
                if zeros % 611 != 0 {
                    continue;
                }
            }
            nth += 1;
            if nth % stride != 0 {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (flips % 8);
            flips += 1;
            let copy = disk.copy();
            copy.set_contents(&name, flipped);
            let owner = frames
                .iter()
                .find(|(offset, length, ..)| (*offset..offset + 24 + *length as u64).contains(&(at as u64)))
                .map(|&(_, _, id, kind)| (id, kind));
            let (found, corrupt) = survey(&copy, expected);
            check(&name, at, owner, found, corrupt);
        }
    }
    assert!(flips > 300, "only {flips} flips were tried");
}

#[test]
fn a_flipped_byte_in_a_sealed_spool_costs_only_the_message_it_hit_and_is_told() {
    let (disk, expected) = image(true);
    flip_everything(&disk, &expected, 7, |name, at, owner, found, corrupt| {
        for (id, (_, view)) in &expected {
            let hit = owner.is_some_and(|(owner, _)| owner == id.bits());
            match found.get(id) {
                Some(Some(found)) => assert_eq!(found, view, "{name} byte {at}: {id} has changed"),
                Some(None) => assert!(hit, "{name} byte {at}: {id} was not hit but is called corrupt"),
                None => panic!("{name} byte {at}: {id} has vanished ({corrupt} corrupt)"),
            }
        }
        let extra = found.keys().find(|id| !expected.contains_key(id));
        assert_eq!(extra, None, "{name} byte {at}: a removed message is back");
    });
}

#[test]
fn a_flipped_byte_in_an_open_segment_costs_only_what_it_hit_or_the_last_two_commits() {
    let (disk, expected) = image(false);
    // The first four messages were followed by many commits.
    let early: Vec<_> = expected.keys().take(3).copied().collect();
    flip_everything(&disk, &expected, 11, |name, at, owner, found, corrupt| {
        for id in &early {
            let hit = owner.is_some_and(|(owner, _)| owner == id.bits());
            let nameless = owner.is_none() || owner.is_some_and(|(_, kind)| kind == Kind::Commit);
            match found.get(id) {
                Some(Some(_)) => {}
                _ => assert!(hit || (nameless && corrupt > 0), "{name} byte {at}: {id} is lost"),
            }
        }
    });
}

#[test]
fn damaged_content_is_never_handed_out() {
    let (disk, expected) = image(true);
    let (&id, &(length, _)) = expected.iter().find(|(_, (length, _))| *length >= 50).expect("there is one");
    let content = bytes_of(id, length);
    let mut damaged = 0;
    for name in disk.list().expect("a memory disk lists") {
        let mut bytes = disk.contents(&name).expect("listed");
        let places: Vec<_> =
            bytes.windows(length).enumerate().filter(|(_, window)| *window == content).collect();
        let Some(&(at, _)) = places.first() else { continue };
        bytes[at + length / 2] ^= 0x10;
        disk.set_contents(&name, bytes);
        damaged += 1;
    }
    assert_eq!(damaged, 1);
    let (found, corrupt) = survey(&disk, &expected);
    assert_eq!(found[&id], None);
    assert_eq!(corrupt, 1);
    assert_eq!(found.len(), expected.len());
}

#[test]
fn frames_of_an_earlier_generation_are_not_taken_for_live_ones() {
    let disk = MemoryDisk::new(8);
    let (spool, executor) = open(&disk, tiny_options());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        for _ in 0..150 {
            let id = store(&task_spool, &shared, 1000, false).await.expect("the disk works");
            task_spool.remove(id);
        }
        let last = store(&task_spool, &shared, 1000, false).await.expect("the disk works");
        task_spool.barrier().await.expect("the disk works");
        last
    };
    let last = executor.block_on(&disk, work).expect("nothing hangs");
    assert!(spool.figures().segments_recycled > 2);
    // The old frames are still there, behind the new ones.
    let mut stale = 0;
    for name in disk.list().expect("a memory disk lists") {
        let bytes = disk.contents(&name).expect("listed");
        let text = b"envelope of ";
        let seen = bytes.windows(text.len()).filter(|window| window == text).count();
        let live = inspect::frames(&bytes).filter(|frame| frame.kind == Kind::Message).count();
        stale += seen - live;
    }
    assert!(stale > 10, "the test needs stale frames, found {stale}");
    let (again, _executor) = open(&disk.copy(), tiny_options());
    assert_eq!(again.queued().map(|queued| queued.id).collect::<Vec<_>>(), [last]);
    assert!(again.corrupt().is_empty());
}
