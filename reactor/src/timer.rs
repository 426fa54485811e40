//! The timer wheel: millions of timers, each set and cancelled in constant time, at a resolution of one millisecond.
//!
//! Six levels of 64 slots; a slot of level n covers 64^n ms, so the wheel spans 2.2 years and later timers wait in its
//! last slot. A timer lies on the level at which its time first differs from the present, and moves down a level when
//! the present reaches its slot: at most five times, and never for the short timeouts that are cancelled.
//!
//! - **Owns** one node per pending timer, in a slab; a slot is a doubly linked list through it.
//! - **Limits**: 2^32 - 1 timers. A timer never fires early; it fires at most one millisecond late plus the turn's length.

use std::task::Waker;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Milliseconds that the wheel covers from the start of its top rotation.
const SPAN_MS: u64 = 1 << (SLOT_BITS * LEVELS as u32);

const NONE: u32 = u32::MAX;
const FIRED: u16 = u16::MAX;
const FREE: u16 = u16::MAX - 1;

/// Names a timer until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey(u32);

struct Node {
    due_ms: u64,
    waker: Option<Waker>,
    previous: u32,
    next: u32,
    /// level * 64 + slot, or FIRED, or FREE (then `next` links the free nodes).
    place: u16,
}

pub(crate) struct Wheel {
    /// Invariant: every pending timer is due later than this.
    elapsed_ms: u64,
    occupied: [u64; LEVELS],
    heads: [u32; LEVELS * SLOTS],
    nodes: Vec<Node>,
    free: u32,
    pending: usize,
}

impl Wheel {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            elapsed_ms: now_ms,
            occupied: [0; LEVELS],
            heads: [NONE; LEVELS * SLOTS],
            nodes: Vec::new(),
            free: NONE,
            pending: 0,
        }
    }

    /// Timers that have neither fired nor been removed.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Sets a timer for `due_ms`; one that is due already fires on the next millisecond.
    pub(crate) fn insert(&mut self, due_ms: u64, waker: Waker) -> TimerKey {
        let due_ms = due_ms.max(self.elapsed_ms + 1);
        let node = Node { due_ms, waker: Some(waker), previous: NONE, next: NONE, place: FREE };
        let index = if self.free == NONE {
            let index = u32::try_from(self.nodes.len()).expect("fewer than 2^32 timers");
            assert!(index != NONE, "fewer than 2^32 timers");
            self.nodes.push(node);
            index
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        self.link(index);
        self.pending += 1;
        TimerKey(index)
    }

    /// Whether the timer's time has come.
    pub(crate) fn has_fired(&self, key: TimerKey) -> bool {
        self.nodes[key.0 as usize].place == FIRED
    }

    /// Has another task woken when the timer fires.
    pub(crate) fn replace_waker(&mut self, key: TimerKey, waker: &Waker) {
        match &mut self.nodes[key.0 as usize].waker {
            Some(present) if present.will_wake(waker) => {}
            present => *present = Some(waker.clone()),
        }
    }

    /// Forgets a timer, fired or not. The key must not be used again.
    pub(crate) fn remove(&mut self, key: TimerKey) {
        let index = key.0;
        let place = self.nodes[index as usize].place;
        assert!(place != FREE, "a timer is removed once");
        if place != FIRED {
            self.unlink(index);
            self.pending -= 1;
        }
        let node = &mut self.nodes[index as usize];
        node.waker = None;
        node.place = FREE;
        node.next = self.free;
        self.free = index;
    }

    /// When the wheel has next to be advanced: the earliest timer, or the moment at which a far one moves down a level.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.next_slot().map(|(_, start_ms)| start_ms)
    }

    /// Moves the present to `now_ms` and hands out the wakers of the timers whose time has come.
    pub(crate) fn advance(&mut self, now_ms: u64, mut wake: impl FnMut(Waker)) {
        while let Some((place, start_ms)) = self.next_slot() {
            if start_ms > now_ms {
                break;
            }
            self.elapsed_ms = self.elapsed_ms.max(start_ms);
            let mut index = std::mem::replace(&mut self.heads[place], NONE);
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
            while index != NONE {
                let node = &mut self.nodes[index as usize];
                let next = node.next;
                if node.due_ms <= self.elapsed_ms {
                    node.place = FIRED;
                    self.pending -= 1;
                    if let Some(waker) = node.waker.take() {
                        wake(waker);
                    }
                } else {
                    self.link(index);
                }
                index = next;
            }
        }
        self.elapsed_ms = self.elapsed_ms.max(now_ms);
    }

    /// The occupied slot that begins first, and when.
    fn next_slot(&self) -> Option<(usize, u64)> {
        // A lower level's slots all begin before the next slot of a higher level: they lie within its present slot.
        (0..LEVELS).find(|&level| self.occupied[level] != 0).map(|level| {
            let shift = SLOT_BITS * level as u32;
            let present = (self.elapsed_ms >> shift) as u32 % SLOTS as u32;
            let ahead = self.occupied[level].rotate_right(present).trailing_zeros();
            let slot = (present + ahead) as usize % SLOTS;
            let start_ms = ((self.elapsed_ms >> shift) + u64::from(ahead)) << shift;
            (level * SLOTS + slot, start_ms)
        })
    }

    fn link(&mut self, index: u32) {
        let due_ms = self.nodes[index as usize].due_ms;
        // Beyond the wheel's span a timer waits in the farthest slot, and is placed anew when that is reached.
        let reach_ms = due_ms
            .min((self.elapsed_ms & !(SPAN_MS / SLOTS as u64 - 1)) + (SPAN_MS - SPAN_MS / SLOTS as u64));
        let differing = (self.elapsed_ms ^ reach_ms) | (SLOTS as u64 - 1);
        let level = (((63 - differing.leading_zeros()) / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = (reach_ms >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let place = level * SLOTS + slot;
        let head = self.heads[place];
        if head != NONE {
            self.nodes[head as usize].previous = index;
        }
        let node = &mut self.nodes[index as usize];
        node.previous = NONE;
        node.next = head;
        node.place = place as u16;
        self.heads[place] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node { previous, next, place, .. } = self.nodes[index as usize];
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        } else {
            let place = place as usize;
            self.heads[place] = next;
            if next == NONE {
                self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeMap,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    struct Note(u64, Arc<Mutex<Vec<u64>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    /// A small seeded generator (xorshift64*), so that a failure repeats.
    struct Seeded(u64);

    impl Seeded {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
        }
    }

    #[test]
    fn fires_what_a_sorted_map_fires_never_early_never_twice() {
        for seed in 1..=20 {
            let mut random = Seeded(seed);
            let mut now = random.next() % (1 << 40);
            let mut wheel = Wheel::new(now);
            let fired = Arc::new(Mutex::new(Vec::new()));
            let mut model: BTreeMap<u64, (u64, TimerKey)> = BTreeMap::new();
            for step in 0..20_000u64 {
                match random.next() % 8 {
                    0..=3 => {
                        let wait = random.next() % (1 << (random.next() % 40));
                        let key = wheel.insert(now + wait, Waker::from(Arc::new(Note(step, fired.clone()))));
                        model.insert(step, ((now + wait).max(now + 1), key));
                    }
                    4..=5 => {
                        let pick = random.next() as usize % model.len().max(1);
                        if let Some((&name, &(_, key))) = model.iter().nth(pick.min(50)) {
                            wheel.remove(key);
                            model.remove(&name);
                        }
                    }
                    _ => {
                        now += random.next() % (1 << (random.next() % 24));
                        let next = model.values().map(|timer| timer.0).min();
                        if let (Some(next), Some(wake)) = (next, wheel.next_ms()) {
                            assert!(wake <= next, "seed {seed}: would sleep past a timer");
                        }
                        assert_eq!(next.is_none(), wheel.next_ms().is_none());
                        wheel.advance(now, Waker::wake);
                        let mut got = std::mem::take(&mut *fired.lock().unwrap());
                        got.sort();
                        let want: Vec<u64> =
                            model.iter().filter(|timer| timer.1.0 <= now).map(|timer| *timer.0).collect();
                        assert_eq!(got, want, "seed {seed} step {step}");
                        for name in want {
                            let (_, key) = model.remove(&name).unwrap();
                            assert!(wheel.has_fired(key));
                            wheel.remove(key);
                        }
                    }
                }
                assert_eq!(wheel.pending(), model.len());
            }
        }
    }

    #[test]
    fn a_timer_beyond_the_span_waits_its_time() {
        let mut wheel = Wheel::new(12_345);
        let fired = Arc::new(Mutex::new(Vec::new()));
        let due = 12_345 + 3 * SPAN_MS + 77;
        let key = wheel.insert(due, Waker::from(Arc::new(Note(0, fired.clone()))));
        let mut wakes = 0;
        while let Some(next) = wheel.next_ms() {
            assert!(next <= due);
            wheel.advance(next, Waker::wake);
            wakes += 1;
        }
        assert!(wheel.has_fired(key));
        assert!(wakes < 20, "an idle wheel is advanced a few times only, not {wakes}");
    }

    #[test]
    fn a_million_timers_are_set_and_cancelled() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut wheel = Wheel::new(0);
        let keys: Vec<_> = (0..1_000_000u64).map(|n| wheel.insert(1 + n % 300_000, waker.clone())).collect();
        for key in keys.iter().step_by(2) {
            wheel.remove(*key);
        }
        wheel.advance(300_000, Waker::wake);
        assert_eq!(count.0.load(Ordering::Relaxed), 500_000);
        assert_eq!(wheel.pending(), 0);
    }
}
