//! Lists of the queue: walked while it changes, read in long reads, and equal to what is loaded one by one.

mod common;

use common::{Model, Random, change, open, small_options, store};
use ringpost_spool::{
    Content, LoadError, NewMessage, Spool, SpoolOptions,
    disk::{Disk, LocalExecutor, MemoryDisk},
};
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
};

/// Stores `count` messages in all states, some large.
fn filled(seed: u64, count: u32) -> (MemoryDisk, Spool<MemoryDisk>, LocalExecutor) {
    let disk = MemoryDisk::new(seed);
    let (spool, executor) = open(&disk, small_options());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        let mut random = Random(seed);
        for _ in 0..count {
            let length = if random.below(15) == 0 { 20_000 } else { random.below(2500) };
            store(&task_spool, &shared, length as usize, random.below(10) == 0)
                .await
                .expect("the disk works");
            (0..2).for_each(|_| change(&task_spool, &shared, &mut random, 5));
        }
        task_spool.barrier().await.expect("the disk works");
    };
    executor.block_on(&disk, work).expect("nothing hangs");
    (disk, spool, executor)
}

#[test]
fn a_list_says_what_loading_each_message_says() {
    for seed in 0..4 {
        let (disk, spool, executor) = filled(seed, 300);
        let listing = async move {
            let mut ids: Vec<_> = spool.queued().map(|queued| queued.id).collect();
            assert!(ids.len() > 200, "{}", ids.len());
            // Asked for in another order than they lie in.
            ids.sort_by_key(|id| Random(id.bits()).next());
            for batch in ids.chunks(70) {
                let listed = spool.envelopes(batch, u64::MAX).await;
                assert_eq!(listed.len(), batch.len());
                for (&id, listed) in batch.iter().zip(listed) {
                    let listed = listed.expect("the disk works");
                    let loaded = spool.load(id).await.expect("the disk works");
                    assert_eq!(listed.queued, spool.find(id).expect("it is queued"));
                    assert_eq!(listed.arrival_us, loaded.arrival_us);
                    assert_eq!(listed.envelope, loaded.envelope);
                    assert_eq!(listed.notes, loaded.notes);
                }
            }
        };
        executor.block_on(&disk, listing).expect("nothing hangs");
    }
}

#[test]
fn a_list_meets_what_changes_meanwhile_as_it_is_then() {
    let (disk, spool, executor) = filled(9, 60);
    let listing = async move {
        let ids: Vec<_> = spool.queued().map(|queued| queued.id).collect();
        spool.remove(ids[0]);
        spool.retry(ids[1], 77, b"on its way to the disk");
        spool.outcome(ids[2], b"one more");
        spool.hold(ids[3]);
        let listed = spool.envelopes(&ids[..4], u64::MAX).await;
        assert!(matches!(listed[0], Err(LoadError::Unknown(_))));
        let second = listed[1].as_ref().expect("the disk works");
        assert_eq!(
            (second.queued.due_at_s, &second.notes[..]),
            (77, &[b"on its way to the disk".to_vec().into()][..])
        );
        let third = listed[2].as_ref().expect("the disk works");
        assert_eq!(third.notes.last().expect("just said")[..], b"one more"[..]);
        assert!(listed[3].as_ref().expect("the disk works").queued.held);
    };
    executor.block_on(&disk, listing).expect("nothing hangs");
}

#[test]
fn a_list_lets_others_have_their_say_every_64_records() {
    let disk = MemoryDisk::new(3);
    let (spool, executor) = open(&disk, small_options());
    let listing = async move {
        let mut ids = Vec::new();
        for _ in 0..700 {
            let id = spool.new_id();
            let content = Content::Inline(&[]);
            let message = NewMessage {
                id,
                arrival_us: 1,
                due_at_s: 1,
                held: false,
                envelope: b"small",
                envelope_chunks: Vec::new(),
                content,
            };
            spool.store(message).await.expect("there is room");
            ids.push(id);
        }
        let (mut turns, mut listing) = (0, pin!(spool.envelopes(&ids, u64::MAX)));
        let listed = poll_fn(|cx| {
            turns += 1;
            listing.as_mut().poll(cx)
        });
        assert_eq!(listed.await.len(), ids.len());
        assert!(turns > ids.len() / 64, "{turns} turns for {} records", ids.len());
    };
    executor.block_on(&disk, listing).expect("nothing hangs");
}

#[test]
fn a_list_of_bounded_bytes_ends_with_the_message_that_reaches_them() {
    let (disk, spool, executor) = filled(8, 60);
    let listing = async move {
        let ids: Vec<_> = spool.queued().map(|queued| queued.id).collect();
        assert_eq!(spool.envelopes(&ids, 0).await.len(), 1, "one at least");
        let (mut rest, mut pieces) = (&ids[..], 0);
        while !rest.is_empty() {
            let listed = spool.envelopes(rest, 5000).await;
            assert!(!listed.is_empty() && listed.len() < ids.len() / 2, "{} at once", listed.len());
            for (id, listed) in rest.iter().zip(&listed) {
                assert_eq!(listed.as_ref().expect("the disk works").queued.id, *id);
            }
            rest = &rest[listed.len()..];
            pieces += 1;
        }
        assert!(pieces > 3, "{pieces}");
    };
    executor.block_on(&disk, listing).expect("nothing hangs");
}

#[test]
fn a_damaged_message_is_told_and_costs_the_list_no_other() {
    let (disk, spool, executor) = filled(5, 40);
    let ids: Vec<_> = spool.queued().map(|queued| queued.id).collect();
    let hit = ids[ids.len() / 2];
    let text = format!("envelope of {hit}");
    for name in disk.list().expect("a memory disk lists") {
        let mut bytes = disk.contents(&name).expect("listed");
        while let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
        }
        disk.set_contents(&name, bytes);
    }
    let (task_spool, asked) = (spool.clone(), ids.clone());
    let listed = executor
        .block_on(&disk, async move { task_spool.envelopes(&asked, u64::MAX).await })
        .expect("nothing hangs");
    for (&id, listed) in ids.iter().zip(listed) {
        match listed {
            Ok(_) => assert_ne!(id, hit),
            Err(LoadError::Corrupt(_)) => assert_eq!(id, hit),
            Err(error) => panic!("{id}: {error}"),
        }
    }
    assert_eq!(spool.queued().count(), ids.len() - 1, "what is in quarantine is not queued");
}

#[test]
fn a_forced_expiry_survives_hold_release_retry_compaction_and_a_crash() {
    let disk = MemoryDisk::new(2);
    let options = SpoolOptions { spares_max: 1, ..small_options() };
    let (spool, executor) = open(&disk, options.clone());
    let task_spool = spool.clone();
    let work = async move {
        let mut kept = Vec::new();
        for nth in 0..1500u32 {
            let id = task_spool.new_id();
            let pieces: [&[u8]; 1] = [&[b'x'; 1500]];
            let content = Content::Inline(&pieces);
            let message = NewMessage {
                id,
                arrival_us: 1,
                due_at_s: 1,
                held: nth % 200 == 0,
                envelope: b"e",
                envelope_chunks: Vec::new(),
                content,
            };
            task_spool.store(message).await.expect("there is room");
            if nth % 100 == 0 {
                task_spool.force_expire(id);
                assert_eq!(
                    task_spool.find(id).expect("queued").held,
                    nth % 200 == 0,
                    "one does not touch the other"
                );
                kept.push(id);
            } else {
                task_spool.remove(id);
            }
        }
        for &id in &kept {
            task_spool.hold(id);
            task_spool.release(id);
            task_spool.retry(id, 5, b"later");
        }
        task_spool.barrier().await.expect("the disk works");
        kept
    };
    let kept = executor.block_on(&disk, work).expect("nothing hangs");
    while disk.steps() < 100_000 {
        executor.run_until_stalled();
        if !disk.step() {
            break;
        }
    }
    assert!(spool.figures().compacted_bytes > 0, "{:?}", spool.figures());
    let disk = disk.crash(3);
    let (again, executor) = open(&disk, options);
    let mut queued: Vec<_> = again.queued().collect();
    queued.sort_by_key(|queued| queued.id);
    assert_eq!(queued.iter().map(|queued| queued.id).collect::<Vec<_>>(), kept);
    assert!(queued.iter().all(|queued| queued.force_expired && !queued.held && queued.due_at_s == 5));
    let loading = async move { again.load(kept[0]).await.expect("the disk works").force_expired };
    assert_eq!(executor.block_on(&disk, loading), Some(true));
}
