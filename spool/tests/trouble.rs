//! A failing disk: what was not acknowledged is refused, what was said is written elsewhere, order holds.

mod common;

use common::{Model, View, check, open, produce, small_options, store};
use ringpost_spool::{
    Content, EngineLock, LockError, NewMessage, SpoolEvent, StoreError,
    disk::{Fault, MemoryDisk},
};
use std::{cell::RefCell, rc::Rc};

#[test]
fn a_failed_sync_refuses_the_message_and_keeps_every_record_about_others() {
    for fault in [Fault::Sync, Fault::Write, Fault::Short] {
        let disk = MemoryDisk::new(6);
        let (spool, executor) = open(&disk, small_options());
        let model = Rc::new(RefCell::new(Model::default()));
        let (task_spool, shared, faulty) = (spool.clone(), Rc::clone(&model), disk.clone());
        let work = async move {
            let kept = store(&task_spool, &shared, 500, false).await.expect("the disk works");
            let gone = store(&task_spool, &shared, 500, false).await.expect("the disk works");
            task_spool.barrier().await.expect("the disk works");
            // Let upkeep finish its own writes, so that the fault hits a commit.
            for _ in 0..40 {
                let _ = task_spool.barrier().await;
                ringpost_spool::Disk::turn(&faulty).await;
            }
            faulty.inject(fault, 0);
            task_spool.outcome(kept, b"first recipient done");
            task_spool.hold(kept);
            task_spool.remove(gone);
            let refused = store(&task_spool, &shared, 500, false).await;
            assert!(matches!(refused, Err(StoreError::Failed(_))), "{fault:?}: {refused:?}");
            task_spool.barrier().await.expect("a fresh segment takes the records");
            let next = store(&task_spool, &shared, 500, false).await.expect("the fresh segment works");
            let mut model = shared.borrow_mut();
            let view = View {
                due_at_s: 7,
                held: true,
                force_expired: false,
                notes: vec![b"first recipient done".to_vec()],
            };
            model.messages.get_mut(&kept).expect("stored").views = vec![view];
            let gone = model.messages.get_mut(&gone).expect("stored");
            gone.removed = true;
            gone.removed_durably = true;
            next
        };
        executor.block_on(&disk, work).expect("nothing hangs");
        let told = spool.take_events().iter().any(|event| matches!(event, SpoolEvent::DiskFailed { .. }));
        assert!(told, "{fault:?}: the failure is not told");
        for seed in 0..10 {
            let again = disk.crash(seed);
            let (spool, executor) = open(&again, small_options());
            let model = Rc::new(RefCell::new(Model { messages: model.borrow().messages.clone() }));
            check(&spool, &executor, &again, &model, &format!("{fault:?}, crash {seed}"));
            assert_eq!(spool.queued().count(), 2, "{fault:?}: a refused message is queued");
        }
    }
}

#[test]
fn faults_in_a_busy_spool_lose_nothing_that_was_acknowledged() {
    for seed in 0..60u64 {
        let fault = [Fault::Sync, Fault::Write, Fault::Short][seed as usize % 3];
        let disk = MemoryDisk::new(seed);
        let (spool, executor) = open(&disk, small_options());
        let model = Rc::new(RefCell::new(Model::default()));
        produce(&spool, &executor, &model, seed, 3, 1000, 30);
        for nth in 0..4 {
            disk.inject(fault, 10 + seed as u32 + nth * 25);
        }
        for _ in 0..(150 + seed * 9) {
            executor.run_until_stalled();
            assert!(disk.step(), "seed {seed}: everything waits: {:?}", spool.figures());
        }
        let again = disk.crash(seed);
        let (spool, executor) = open(&again, small_options());
        check(&spool, &executor, &again, &model, &format!("{fault:?}, seed {seed}"));
    }
}

#[test]
fn acknowledgements_come_in_the_order_of_the_commits_though_two_are_in_flight() {
    for seed in 0..10 {
        let disk = MemoryDisk::new(seed);
        let (spool, executor) = open(&disk, small_options());
        let order = Rc::new(RefCell::new(Vec::new()));
        for nth in 0..100u32 {
            let (spool, order) = (spool.clone(), Rc::clone(&order));
            executor.spawn(async move {
                let content = [b'x'; 2000];
                let pieces: [&[u8]; 1] = [&content];
                let id = spool.new_id();
                let content = Content::Inline(&pieces);
                let message = NewMessage {
                    id,
                    arrival_us: 0,
                    due_at_s: 0,
                    held: false,
                    envelope: b"e",
                    envelope_chunks: Vec::new(),
                    content,
                };
                spool.store(message).await.expect("the disk works");
                order.borrow_mut().push(nth);
            });
            if nth % 10 == 0 {
                executor.run_until_stalled();
                disk.step();
            }
        }
        executor.run_until_stalled();
        while order.borrow().len() < 100 {
            assert!(disk.step());
            executor.run_until_stalled();
        }
        assert!(order.borrow().is_sorted(), "seed {seed}: {:?}", order.borrow());
    }
}

#[test]
fn a_store_that_is_given_up_withdraws_the_message_and_abandoned_chunks_are_dead() {
    let disk = MemoryDisk::new(1);
    let (spool, executor) = open(&disk, small_options());
    let task_spool = spool.clone();
    let work = async move {
        let id = task_spool.new_id();
        let pieces: [&[u8]; 1] = [b"content"];
        let content = Content::Inline(&pieces);
        let message = NewMessage {
            id,
            arrival_us: 0,
            due_at_s: 0,
            held: false,
            envelope: b"e",
            envelope_chunks: Vec::new(),
            content,
        };
        {
            let mut storing = std::pin::pin!(task_spool.store(message));
            let once = std::future::poll_fn(|cx| {
                assert!(storing.as_mut().poll(cx).is_pending(), "a store cannot end before its sync");
                std::task::Poll::Ready(())
            });
            once.await;
        }
        let id = task_spool.new_id();
        let chunk = task_spool.store_chunk(id, &[&[7; 3000]]).await.expect("the disk works");
        assert!(task_spool.figures().live_bytes >= 3000);
        task_spool.abandon_chunks(vec![chunk]);
        task_spool.store_chunk(id, &[&[8; 3000]]).await.expect("the disk works");
        task_spool.barrier().await.expect("the disk works");
    };
    executor.block_on(&disk, work).expect("nothing hangs");
    assert_eq!(spool.queued().count(), 0);
    let again = disk.crash(3);
    let (spool, _executor) = open(&again, small_options());
    assert_eq!(spool.queued().count(), 0);
    // What is left is the record that ends the old segment.
    assert!(spool.figures().live_bytes < 100, "{:?}", spool.figures());
}

#[test]
fn identities_are_not_used_again_after_a_crash() {
    let disk = MemoryDisk::new(2);
    let (spool, _executor) = open(&disk, small_options());
    let last = (0..1000).map(|_| spool.new_id()).max().expect("a thousand");
    let (spool, _executor) = open(&disk.crash(1), small_options());
    assert!(spool.new_id() > last);
}

#[test]
fn a_second_engine_is_told_who_holds_the_spool() {
    let directory = std::env::temp_dir().join(format!("ringpost-spool-lock-{}", std::process::id()));
    let lock = EngineLock::take(&directory).expect("nobody holds it");
    match EngineLock::take(&directory) {
        Err(LockError::Held { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    assert!(EngineLock::is_held(&directory).expect("it can be looked at"));
    drop(lock);
    assert!(!EngineLock::is_held(&directory).expect("it can be looked at"));
    EngineLock::take(&directory).expect("it was given up");
    std::fs::remove_dir_all(directory).expect("ours");
}
