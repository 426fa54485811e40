//! What a reactor counts.

use std::cell::Cell;

/// Counts since the start of a reactor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Turns of the loop.
    pub turns: u64,
    /// System calls that handed over submissions or waited.
    pub enters: u64,
    /// Operations given to the kernel.
    pub submissions: u64,
    /// Completions reaped; a multishot operation has many.
    pub completions: u64,
    /// Receives that found no free buffer and had to begin anew.
    pub enobufs: u64,
    /// Chunks that were copied to the heap because buffers were short and nobody was waiting for them.
    pub spilled: u64,
    /// Operations in flight now whose future was dropped.
    pub orphans: u64,
    /// Operations in flight now: waiting accepts and receives, connects, sends, writes.
    pub in_flight: u64,
    /// Receive buffers that hold bytes now.
    pub leased_buffers: u64,
    /// Timers set now.
    pub timers: u64,
    /// Trace lines that could not be written.
    pub trace_lost: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) turns: Cell<u64>,
    pub(crate) enters: Cell<u64>,
    pub(crate) submissions: Cell<u64>,
    pub(crate) completions: Cell<u64>,
    pub(crate) enobufs: Cell<u64>,
    pub(crate) spilled: Cell<u64>,
    pub(crate) orphans: Cell<u64>,
    pub(crate) in_flight: Cell<u64>,
}

pub(crate) fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get() + count);
}

impl Counters {
    pub(crate) fn submitted(&self, count: u64) {
        add(&self.submissions, count);
        add(&self.in_flight, count);
    }

    pub(crate) fn operation_ended(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
    }

    pub(crate) fn orphan_reaped(&self) {
        self.orphans.set(self.orphans.get() - 1);
    }

    pub(crate) fn orphan_made(&self) {
        add(&self.orphans, 1);
    }

    pub(crate) fn enobufs(&self) {
        add(&self.enobufs, 1);
    }

    pub(crate) fn spilled(&self) {
        add(&self.spilled, 1);
    }
}
