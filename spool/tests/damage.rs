//! Damaged bytes cost what they hit and nothing else; bytes of the past are never taken for the present.

mod common;

use common::{Model, View, bytes_of, open, read, small_options, store, store_in_chunks};
use ringpost_spool::{
    LoadError, MessageId, Spool, SpoolOptions,
    disk::{Disk, LocalExecutor, MemoryDisk},
    inspect::{self, Kind},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

fn tiny_options() -> SpoolOptions {
    SpoolOptions { segment_bytes: 64 << 10, ..small_options() }
}

/// A spool with one message in every state, and what is to be found in it.
struct Image {
    disk: MemoryDisk,
    /// By id: content's length, and state.
    alive: BTreeMap<MessageId, (usize, View)>,
    /// Bytes of content of those that were removed.
    removed: BTreeMap<MessageId, usize>,
    /// Those that later commits prove durable.
    early: Vec<MessageId>,
}

/// Closed in order, or just stopped. Small enough that every byte of it can be flipped.
fn image(close: bool) -> Image {
    let disk = MemoryDisk::new(3);
    let (spool, executor) = open(&disk, tiny_options());
    let model = Rc::new(RefCell::new(Model::default()));
    let (spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        let view = |due_at_s, held, force_expired, notes: &[&[u8]]| View {
            due_at_s,
            held,
            force_expired,
            notes: notes.iter().map(|note| note.to_vec()).collect(),
        };
        let mut early = Vec::new();
        for length in [30, 60, 10, 100] {
            early.push(store(&spool, &shared, length, length == 60).await.expect("the disk works"));
        }
        let [noted, released, removed, retried] = early[..] else { unreachable!("four were stored") };
        spool.outcome(noted, b"first recipient done");
        spool.outcome(noted, b"second recipient done");
        spool.release(released);
        spool.outcome(retried, b"forgotten");
        spool.retry(retried, 900, b"host said 450");
        spool.outcome(retried, b"another recipient done");
        spool.remove(removed);
        let mut chunked = Vec::new();
        // Content, envelope and both in chunks.
        for length in [90, 40, 35, 45] {
            chunked.push((store_in_chunks(&spool, &shared, length).await, view(7, false, false, &[])));
        }
        let expired = store(&spool, &shared, 50, false).await.expect("the disk works");
        spool.force_expire(expired);
        let gone = store(&spool, &shared, 20, false).await.expect("the disk works");
        let held = store(&spool, &shared, 80, false).await.expect("the disk works");
        spool.hold(held);
        spool.remove(gone);
        spool.barrier().await.expect("the disk works");
        if close {
            spool.close().await.expect("the disk works");
        }
        let views = chunked.into_iter().chain([
            (noted, view(7, false, false, &[b"first recipient done", b"second recipient done"])),
            (released, view(7, false, false, &[])),
            (retried, view(900, false, false, &[b"host said 450", b"another recipient done"])),
            (expired, view(7, false, true, &[])),
            (held, view(7, true, false, &[])),
        ]);
        early.retain(|&id| id != removed);
        (views.collect::<Vec<_>>(), [removed, gone], early)
    };
    let (views, removed, early) = executor.block_on(&disk, work).expect("nothing hangs");
    let length = |id| model.borrow().messages[&id].length;
    Image {
        disk,
        alive: views.into_iter().map(|(id, view)| (id, (length(id), view))).collect(),
        removed: removed.into_iter().map(|id| (id, length(id))).collect(),
        early,
    }
}

/// Opens the disk and reads everything: what was read, and what is said to be corrupt.
fn survey(disk: &MemoryDisk, image: &Image) -> (BTreeMap<MessageId, Option<View>>, usize) {
    let executor = LocalExecutor::default();
    let opened = executor.block_on(disk, Spool::open(disk.clone(), tiny_options())).expect("opening ends");
    let spool = opened.expect("damage does not keep a spool from opening");
    let running = spool.clone();
    executor.spawn(async move { running.run().await });
    let alive = image.alive.iter().map(|(&id, &(length, _))| (id, length));
    let lengths: BTreeMap<_, _> =
        alive.chain(image.removed.iter().map(|(&id, &length)| (id, length))).collect();
    let reading = async move {
        let mut found = BTreeMap::new();
        for queued in spool.queued() {
            match read(&spool, queued.id, lengths[&queued.id]).await {
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

/// Flips one bit of every byte up to the last that is used in its block, then all its bits; and one bit of one byte in
/// a few of the zeros behind. Hands out what recovery makes of it.
fn flip_everything(
    image: &Image,
    mut check: impl FnMut(&str, usize, Option<(u64, Kind)>, BTreeMap<MessageId, Option<View>>, usize),
) {
    let mut flips = 0u32;
    for name in image.disk.list().expect("a memory disk lists") {
        let bytes = image.disk.contents(&name).expect("listed");
        let frames: Vec<_> = inspect::frames(&bytes)
            .map(|frame| (frame.offset, frame.payload.len(), frame.id, frame.kind))
            .collect();
        let used = |block: &[u8]| block.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let used: Vec<usize> = bytes.chunks(4096).map(used).collect();
        for at in 0..bytes.len() {
            let masks: &[u8] = match at % 4096 < used[at / 4096] {
                true => &[1 << (at % 8), 0xff],
                false if at % 61 == 0 => &[1 << (at % 8)],
                false => &[],
            };
            let owner = frames
                .iter()
                .find(|(offset, length, ..)| (*offset..offset + 24 + *length as u64).contains(&(at as u64)))
                .map(|&(_, _, id, kind)| (id, kind));
            for mask in masks {
                let mut flipped = bytes.clone();
                flipped[at] ^= mask;
                flips += 1;
                let copy = image.disk.copy();
                copy.set_contents(&name, flipped);
                let (found, corrupt) = survey(&copy, image);
                check(&name, at, owner, found, corrupt);
            }
        }
    }
    assert!(flips > 5_000, "only {flips} flips were tried");
}

#[test]
fn a_flipped_byte_in_a_sealed_spool_costs_only_the_message_it_hit_and_is_told() {
    let image = image(true);
    flip_everything(&image, |name, at, owner, found, corrupt| {
        for (id, (_, view)) in &image.alive {
            let hit = owner.is_some_and(|(owner, _)| owner == id.bits());
            match found.get(id) {
                Some(Some(found)) => assert_eq!(found, view, "{name} byte {at}: {id} has changed"),
                Some(None) => assert!(hit, "{name} byte {at}: {id} was not hit but is called corrupt"),
                None => panic!("{name} byte {at}: {id} has vanished ({corrupt} corrupt)"),
            }
        }
        let extra = found.keys().find(|id| !image.alive.contains_key(id));
        assert_eq!(extra, None, "{name} byte {at}: a removed message is back");
    });
}

#[test]
fn a_flipped_byte_in_an_open_segment_costs_only_what_it_hit_or_the_last_two_commits() {
    let image = image(false);
    flip_everything(&image, |name, at, owner, found, corrupt| {
        for id in &image.early {
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
    let image = image(true);
    let disk = &image.disk;
    let (&id, &(length, _)) =
        image.alive.iter().find(|(_, (length, _))| *length == 50).expect("there is one");
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
    let (found, corrupt) = survey(disk, &image);
    assert_eq!(found[&id], None);
    assert_eq!(corrupt, 1);
    assert_eq!(found.len(), image.alive.len());
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
