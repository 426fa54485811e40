//! Tasks, time, and other threads.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

use ringpost_reactor::{Figures, Handle, Reactor, ReactorOptions, StartError, local, ring};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    thread,
    time::Duration,
};

fn small() -> ReactorOptions {
    ReactorOptions { ring_entries: 64, buffer_count: 16, buffer_bytes: 4096, ..Default::default() }
}

fn run<T, F: Future<Output = T>>(body: impl FnOnce(Handle) -> F) -> T {
    let reactor = Reactor::start(small()).unwrap();
    let handle = reactor.handle();
    reactor.run(body(handle))
}

#[test]
fn tasks_run_and_speak_to_each_other() {
    let sum = run(async |handle| {
        let total = Rc::new(Cell::new(0));
        let done = Rc::new(local::Notify::new());
        for n in 1..=1000u32 {
            let (total, done, again) = (total.clone(), done.clone(), handle.clone());
            handle.spawn(async move {
                again.yield_now().await;
                total.set(total.get() + n);
                if total.get() == 500_500 {
                    done.notify();
                }
            });
        }
        done.notified().await;
        total.get()
    });
    assert_eq!(sum, 500_500);
}

#[test]
fn sleeps_end_in_order_and_never_early() {
    run(async |handle| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let (last, ended) = local::oneshot();
        let mut last = Some(last);
        let begin = handle.now();
        for wait in [30, 5, 20, 0, 10, 40u64] {
            let (order, again, last) =
                (order.clone(), handle.clone(), if wait == 40 { last.take() } else { None });
            handle.spawn(async move {
                again.sleep(Duration::from_millis(wait)).await;
                assert!(again.now().since(begin) >= Duration::from_millis(wait));
                order.borrow_mut().push(wait);
                if let Some(last) = last {
                    last.send(()).unwrap();
                }
            });
        }
        ended.await.unwrap();
        assert_eq!(*order.borrow(), [0, 5, 10, 20, 30, 40]);
        assert_eq!(handle.figures().timers, 0);
    });
}

#[test]
fn a_time_limit_ends_what_does_not_end_and_costs_no_timer_otherwise() {
    run(async |handle| {
        let never = std::future::pending::<()>();
        assert!(handle.timeout(Duration::from_millis(5), never).await.is_err());
        assert_eq!(handle.timeout(Duration::from_secs(60), async { 7 }).await, Ok(7));
        let inner = handle.sleep(Duration::from_millis(1));
        assert_eq!(handle.timeout(Duration::from_secs(60), inner).await, Ok(()));
        assert_eq!(handle.figures().timers, 0);
    });
}

#[test]
fn an_idle_reactor_takes_no_turns() {
    let turns = run(async |handle| {
        // A far timer must not make the loop tick.
        let far = handle.clone();
        handle.spawn(async move { far.sleep(Duration::from_secs(3600)).await });
        handle.sleep(Duration::from_millis(5)).await;
        let before = handle.figures().turns;
        handle.sleep(Duration::from_millis(300)).await;
        handle.figures().turns - before
    });
    assert!(turns <= 10, "300 ms of idling took {turns} turns");
}

#[test]
fn the_end_of_a_turn_comes_after_the_other_tasks() {
    run(async |handle| {
        let ran = Rc::new(Cell::new(0));
        for _ in 0..10 {
            let ran = ran.clone();
            handle.spawn(async move { ran.set(ran.get() + 1) });
        }
        handle.end_of_turn().await;
        assert_eq!(ran.get(), 10);
    });
}

#[test]
fn a_task_that_never_rests_does_not_stop_the_clock() {
    run(async |handle| {
        let again = handle.clone();
        handle.spawn(async move {
            loop {
                again.yield_now().await;
            }
        });
        handle.sleep(Duration::from_millis(20)).await;
    });
}

#[test]
fn another_thread_wakes_a_sleeping_reactor() {
    let reactor = Reactor::start(small()).unwrap();
    let (handle, remote) = (reactor.handle(), reactor.remote());
    let (mut questions, mut inbox) = ring::spsc::<u32>(4);
    let (mut outbox, mut answers) = ring::spsc::<u32>(4);
    let other = thread::spawn(move || {
        let reactor = Reactor::start(small()).unwrap();
        reactor.run(async move {
            while let Some(question) = inbox.recv().await {
                outbox.try_send(question * 2).unwrap();
            }
        });
        remote.wake();
    });
    reactor.run(async {
        for question in 0..2000 {
            questions.try_send(question).unwrap();
            assert_eq!(answers.recv().await, Some(question * 2));
        }
        drop(questions);
        handle.woken().await;
    });
    other.join().unwrap();
}

#[test]
fn more_wake_ups_than_the_board_holds_are_not_lost() {
    const TASKS: usize = 5000;
    let reactor = Reactor::start(small()).unwrap();
    let handle = reactor.handle();
    let left = Rc::new(Cell::new(TASKS));
    let done = Rc::new(local::Notify::new());
    let mut senders = Vec::new();
    for _ in 0..TASKS {
        let (sender, mut receiver) = ring::spsc::<()>(2);
        senders.push(sender);
        let (left, done) = (left.clone(), done.clone());
        handle.spawn(async move {
            assert_eq!(receiver.recv().await, Some(()));
            left.set(left.get() - 1);
            if left.get() == 0 {
                done.notify();
            }
        });
    }
    reactor.run(async {
        handle.yield_now().await;
        // All at once, from another thread, while this one is kept from hearing them.
        thread::scope(|scope| {
            scope.spawn(|| senders.iter_mut().for_each(|sender| sender.try_send(()).unwrap()));
        });
        done.notified().await;
    });
}

#[test]
fn stopping_drops_tasks_that_wait() {
    let dropped = Rc::new(Cell::new(0));
    struct OnDrop(Rc<Cell<u32>>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let reactor = Reactor::start(small()).unwrap();
    let handle = reactor.handle();
    for _ in 0..3 {
        let (guard, again) = (OnDrop(dropped.clone()), handle.clone());
        handle.spawn(async move {
            again.sleep(Duration::from_secs(3600)).await;
            drop(guard);
        });
    }
    reactor.run(async { handle.yield_now().await });
    assert_eq!(dropped.get(), 3);
    let Figures { timers, in_flight, orphans, .. } = handle.figures();
    assert_eq!((timers, in_flight, orphans), (0, 0, 0));
}

#[test]
fn a_core_that_is_not_there_is_told() {
    let error = thread::spawn(|| Reactor::start(ReactorOptions { core: Some(1023), ..small() }).err())
        .join()
        .unwrap();
    assert!(matches!(error, Some(StartError::Pin(1023, _))), "{error:?}");
}
