//! Reaping: what the kernel has done is told to those who wait for it.

use super::{
    CLASS_BELL, CLASS_CANCEL, CLASS_CLOSE, CLASS_SHIFT, CLASS_SLOT, CLASS_SLOT_SECOND, Core, figures::add,
    kernel::Completion,
};
use crate::{slot::Slot, trace::Kind};
use io_uring::cqueue;

impl Core {
    /// Takes all completions out of the ring and tells those who wait for them.
    pub(super) fn reap(&self) {
        let mut reaped = self.reaped.take();
        self.kernel.take_completions(&mut reaped);
        add(&self.counters.completions, reaped.len() as u64);
        for completion in &reaped {
            self.dispatch(*completion);
        }
        reaped.clear();
        self.reaped.replace(reaped);
    }

    pub(super) fn dispatch(&self, Completion { user_data, result, flags }: Completion) {
        let (class, index) = (user_data >> CLASS_SHIFT, (user_data & ((1 << CLASS_SHIFT) - 1)) as usize);
        let more = cqueue::more(flags);
        if !more {
            self.counters.operation_ended();
        }
        match class {
            CLASS_SLOT => self.dispatch_slot(index, 0, result, flags),
            CLASS_SLOT_SECOND => self.dispatch_slot(index, 1, result, flags),
            CLASS_CANCEL => self.trace_complete(Kind::Cancel, index as u64, 0, result, more),
            CLASS_CLOSE => self.trace_complete(Kind::Close, 0, index as u64, result, more),
            CLASS_BELL => {
                self.trace_complete(Kind::Bell, 0, 0, result, more);
                if self.is_running() {
                    self.listen_to_bell();
                }
            }
            _ => unreachable!("we made the user data"),
        }
    }

    pub(super) fn trace_complete(&self, kind: Kind, slot: u64, file: u64, result: i32, more: bool) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().complete(kind, slot, file, result, more);
        }
    }

    pub(super) fn dispatch_slot(&self, index: usize, part: usize, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        let mut slots = self.slots.borrow_mut();
        match &mut slots[index] {
            Slot::Once(once) => {
                once.results[part] = result;
                once.outstanding -= 1;
                self.trace_complete(once.kinds[part], index as u64, once.file.id, result, more);
                if once.outstanding > 0 {
                    return;
                }
                if once.orphan {
                    self.counters.orphan_reaped();
                    let slot = slots.remove(index);
                    drop(slots);
                    drop(slot);
                } else if let Some(waker) = once.waker.take() {
                    drop(slots);
                    waker.wake();
                }
            }
            Slot::Receive(stream) => {
                let stream = stream.clone();
                let ended = (!more).then(|| slots.remove(index));
                drop(slots);
                self.trace_complete(Kind::Recv, index as u64, stream.descriptor.id, result, more);
                stream.on_receive(result, flags);
                drop(ended);
            }
            Slot::Accept(listener) => {
                let listener = listener.clone();
                let ended = (!more).then(|| slots.remove(index));
                drop(slots);
                self.trace_complete(Kind::Accept, index as u64, listener.descriptor.id, result, more);
                listener.on_accept(result, more);
                drop(ended);
            }
        }
    }
}
