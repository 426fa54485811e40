//! Segments are recycled, thin ones compacted, and a full disk refuses mail without losing any.

mod common;

use common::{Model, Random, View, change, check, open, read, small_options, store};
use ringpost_spool::{
    SpoolEvent, SpoolOptions, SpoolState, StoreError,
    disk::{Disk, MemoryDisk},
};
use std::{cell::RefCell, rc::Rc};

#[test]
fn a_queue_that_drains_uses_the_same_files_again() {
    let disk = MemoryDisk::new(1);
    let (spool, executor) = open(&disk, small_options());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        for _ in 0..1200 {
            let id = store(&task_spool, &shared, 2000, false).await.expect("there is room");
            task_spool.remove(id);
        }
        task_spool.barrier().await.expect("the disk works");
    };
    executor.block_on(&disk, work).expect("nothing hangs");
    let figures = spool.figures();
    assert!(figures.segments_recycled > 20, "{figures:?}");
    assert!(disk.list().expect("lists").len() <= 6, "{:?}", disk.list());
    assert_eq!(figures.live_bytes, 0, "{figures:?}");
}

#[test]
fn a_queue_that_was_emptied_gives_its_room_back_before_the_close_has_ended() {
    let disk = MemoryDisk::new(8);
    let (spool, executor) = open(&disk, SpoolOptions { spares_max: 1, ..small_options() });
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        let mut ids = Vec::new();
        for _ in 0..600 {
            ids.push(store(&task_spool, &shared, 2000, false).await.expect("there is room"));
        }
        let filled = task_spool.figures().disk_bytes;
        ids.into_iter().for_each(|id| task_spool.remove(id));
        task_spool.close().await.expect("the disk works");
        filled
    };
    let filled = executor.block_on(&disk, work).expect("nothing hangs");
    let figures = spool.figures();
    assert!(filled > 8 * small_options().segment_bytes, "{filled} bytes");
    // The last head, its successor and a spare.
    assert!(figures.disk_bytes <= 3 * small_options().segment_bytes, "{figures:?}");
}

#[test]
fn a_backlog_of_one_percent_takes_at_most_twice_its_size_on_disk() {
    let disk = MemoryDisk::new(2);
    let options = SpoolOptions { spares_max: 1, ..small_options() };
    let (spool, executor) = open(&disk, options.clone());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        for nth in 0..6000u32 {
            let id = store(&task_spool, &shared, 1500, false).await.expect("there is room");
            if nth % 100 == 0 {
                let note = b"host said 450 try later".to_vec();
                task_spool.retry(id, 9, &note);
                let view = View { due_at_s: 9, held: false, force_expired: false, notes: vec![note] };
                shared.borrow_mut().messages.get_mut(&id).expect("stored").views.push(view);
            } else {
                task_spool.remove(id);
                shared.borrow_mut().messages.get_mut(&id).expect("stored").removed = true;
            }
        }
        task_spool.barrier().await.expect("the disk works");
    };
    executor.block_on(&disk, work).expect("nothing hangs");
    for _ in 0..2000 {
        executor.run_until_stalled();
        if !disk.step() {
            break;
        }
    }
    let figures = spool.figures();
    // Besides: the head, its successor, one spare, and the slack before compaction starts.
    let beside = (3 + u64::from(options.slack_segments) + 1) * options.segment_bytes;
    assert!(figures.disk_bytes <= 2 * figures.live_bytes + beside, "{figures:?}");
    assert_eq!(figures.queued, 60);
    let snapshot = model.borrow().snapshot();
    model.borrow_mut().settle(snapshot, &Default::default());
    let again = disk.crash(9);
    let (spool, executor) = open(&again, options);
    check(&spool, &executor, &again, &model, "after compaction");
}

#[test]
fn compaction_keeps_every_message_its_chunks_and_its_latest_state() {
    for seed in 0..6 {
        let disk = MemoryDisk::new(seed);
        let (spool, executor) = open(&disk, small_options());
        let model = Rc::new(RefCell::new(Model::default()));
        let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
        let work = async move {
            let mut random = Random(seed);
            for _ in 0..700 {
                let length = if random.below(15) == 0 { 20_000 } else { random.below(2500) };
                store(&task_spool, &shared, length as usize, false).await.expect("there is room");
                (0..2).for_each(|_| change(&task_spool, &shared, &mut random, 45));
            }
            task_spool.barrier().await.expect("the disk works");
            let messages = shared.borrow().messages.clone();
            for (id, message) in messages {
                if message.removed {
                    assert!(task_spool.load(id).await.is_err());
                    continue;
                }
                let view = read(&task_spool, id, message.length).await.expect("nothing is damaged");
                assert_eq!(&view, message.views.last().expect("never empty"), "seed {seed}: {id}");
            }
        };
        executor.block_on(&disk, work).expect("nothing hangs");
        assert!(spool.figures().compacted_bytes > 100_000, "seed {seed}: {:?}", spool.figures());
        assert!(spool.corrupt().is_empty());
    }
}

#[test]
fn a_full_spool_refuses_mail_takes_records_and_recovers_when_messages_leave() {
    let disk = MemoryDisk::new(4);
    let options = SpoolOptions { bytes_max: 6 * (128 << 10), ..small_options() };
    let (spool, executor) = open(&disk, options.clone());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let work = async move {
        let mut ids = Vec::new();
        let refused = loop {
            match store(&task_spool, &shared, 3000, false).await {
                Ok(id) => ids.push(id),
                Err(error) => break error,
            }
            assert!(ids.len() < 1000, "the limit does not hold");
        };
        assert!(matches!(refused, StoreError::Full), "{refused}");
        assert!(ids.len() > 60, "only {} messages fit", ids.len());
        assert!(!task_spool.room_for(3000));
        assert_eq!(task_spool.figures().state, SpoolState::Full);
        assert!(task_spool.ready_for_notes());
        for &id in &ids {
            task_spool.outcome(id, b"delivered to one of two");
            task_spool.retry(id, 99, b"later");
        }
        task_spool.barrier().await.expect("records about queued messages always fit");
        for &id in &ids {
            task_spool.remove(id);
            shared.borrow_mut().messages.get_mut(&id).expect("stored").removed = true;
        }
        task_spool.barrier().await.expect("records about queued messages always fit");
        // Upkeep frees the segments.
        for _ in 0..100 {
            if task_spool.room_for(3000) {
                break;
            }
            let id = task_spool.new_id();
            let _ = task_spool.load(id).await;
            task_spool.barrier().await.expect("the disk works");
        }
    };
    executor.block_on(&disk, work).expect("nothing hangs");
    for _ in 0..200 {
        executor.run_until_stalled();
        disk.step();
    }
    assert!(spool.room_for(3000), "{:?}", spool.figures());
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let stored = async move { store(&task_spool, &shared, 3000, false).await };
    executor.block_on(&disk, stored).expect("nothing hangs").expect("there is room again");
    assert!(disk.used_bytes() <= options.bytes_max);
    let again = disk.crash(1);
    let (spool, executor) = open(&again, options);
    check(&spool, &executor, &again, &model, "after a full disk");
}

#[test]
fn a_file_system_without_room_refuses_mail_until_there_is_some() {
    let disk = MemoryDisk::new(5);
    disk.set_available(4 * (128 << 10));
    let (spool, executor) = open(&disk, small_options());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let filling = async move {
        loop {
            if let Err(error) = store(&task_spool, &shared, 3000, false).await {
                return error;
            }
        }
    };
    let error = executor.block_on(&disk, filling).expect("nothing hangs");
    assert!(matches!(error, StoreError::Full), "{error}");
    disk.set_available(100 * (128 << 10));
    for _ in 0..200 {
        executor.run_until_stalled();
        disk.step();
    }
    let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
    let stored = async move { store(&task_spool, &shared, 3000, false).await };
    executor.block_on(&disk, stored).expect("nothing hangs").expect("there is room again");
}

#[test]
fn room_that_another_program_gives_back_is_noticed_though_the_spool_was_not_full() {
    let disk = MemoryDisk::new(7);
    disk.set_available(3 * (128 << 10));
    let (spool, executor) = open(&disk, small_options());
    for _ in 0..50 {
        executor.run_until_stalled();
        disk.step();
    }
    assert!(spool.room_for(3000), "{:?}", spool.figures());
    assert!(!spool.room_for(1 << 20));
    disk.set_available(100 * (128 << 10));
    for _ in 0..200 {
        executor.run_until_stalled();
        disk.step();
        if spool.room_for(1 << 20) {
            return;
        }
    }
    panic!("the room is not seen: {:?}", spool.figures());
}

#[test]
fn being_full_is_told_though_mail_is_refused_before_it_is_stored() {
    let disk = MemoryDisk::new(8);
    disk.set_available(4 * (128 << 10));
    let (spool, executor) = open(&disk, small_options());
    let model = Rc::new(RefCell::new(Model::default()));
    let (task_spool, shared, turning) = (spool.clone(), Rc::clone(&model), disk.clone());
    // As at MAIL: what finds no room is not sent. Compaction makes room a few times, and then there is none.
    let filling = async move {
        for _ in 0..2000 {
            if task_spool.room_for(500) {
                store(&task_spool, &shared, 500, false).await.expect("there is room");
            } else {
                task_spool.barrier().await.expect("the disk works");
                turning.sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    };
    executor.block_on(&disk, filling).expect("nothing hangs");
    let told = spool.take_events();
    let full = |event: &SpoolEvent| matches!(event, SpoolEvent::State(SpoolState::Full));
    assert!(told.iter().any(full), "{told:?}");
}

#[test]
fn a_spool_that_nobody_uses_comes_to_rest_with_room_and_without() {
    const STEPS: u32 = 30_000;
    for (seed, segments) in [(20, 1000), (21, 12), (22, 6), (23, 4)] {
        let disk = MemoryDisk::new(seed);
        let segment_bytes = 128 << 10;
        let options = SpoolOptions { compaction_percent: 20, spares_max: 1, ..small_options() };
        disk.set_available(segments * segment_bytes);
        let (spool, executor) = open(&disk, options.clone());
        let model = Rc::new(RefCell::new(Model::default()));
        let (task_spool, shared) = (spool.clone(), Rc::clone(&model));
        // Each message in a commit of its own: 4 KiB on disk for a few hundred bytes.
        let work = async move {
            let mut random = Random(seed);
            for _ in 0..800 {
                let length = if random.below(30) == 0 { 9_000 } else { 100 + random.below(900) };
                if !task_spool.room_for(length) {
                    break;
                }
                let _full_is_no_failure = store(&task_spool, &shared, length as usize, false).await;
                change(&task_spool, &shared, &mut random, 20);
            }
            task_spool.barrier().await.expect("the disk works");
        };
        executor.block_on(&disk, work).expect("nothing hangs");
        // What a full spool does once a second, it does without copying.
        let (mut copied_bytes, mut last_copy) = (0, 0);
        for nth in 0..STEPS {
            executor.run_until_stalled();
            if !disk.step() {
                break;
            }
            let figures = spool.figures();
            if figures.compacted_bytes != copied_bytes {
                (copied_bytes, last_copy) = (figures.compacted_bytes, nth);
            }
        }
        let figures = spool.figures();
        assert!(
            last_copy < STEPS / 2,
            "segments {segments}: still copying after {last_copy} steps: {figures:?}"
        );
        if segments == 1000 {
            let beside = (3 + u64::from(options.slack_segments) + 1) * segment_bytes;
            assert!(figures.disk_bytes <= 2 * figures.live_bytes + beside, "{figures:?}");
        }
    }
}
