//! Submitting: operations begin, are cancelled, and descriptors are closed.

use super::{
    CLASS_BELL, CLASS_CANCEL, CLASS_CLOSE, CLASS_SHIFT, CLASS_SLOT, CLASS_SLOT_SECOND, Core, Note, Stage,
    kernel::Batch,
};
use crate::{
    slot::{Cargo, Descriptor, IfDropped, Once, Operation, Slot},
    trace::{Kind, Trace},
};
use io_uring::{opcode, squeue, types};
use std::{cell::RefCell, os::fd::RawFd, rc::Rc};

impl Core {
    /// Begins an operation whose result one future takes.
    ///
    /// # Safety
    /// Every pointer in `entry` must lead into memory that `cargo` owns on the heap (so that moving the cargo does not
    /// move it), and its descriptor must be `file`.
    pub(crate) unsafe fn begin<'a>(
        &'a self,
        entry: squeue::Entry,
        note: Note,
        file: &Rc<Descriptor>,
        cargo: Cargo,
        if_dropped: IfDropped,
    ) -> Operation<'a> {
        let text_from = if note.kind == Kind::Send { Some(note.offset as usize) } else { None };
        let index = self.new_slot(cargo, file, [note.kind; 2], 1);
        if self.is_running() {
            if let Some(trace) = &self.trace {
                self.trace_once(trace, index, note, file, text_from);
            }
            self.push(Batch::One(entry.user_data(CLASS_SLOT << CLASS_SHIFT | index as u64)));
        } else {
            self.refuse(index);
        }
        Operation { core: self, index, if_dropped, finished: false }
    }

    /// Begins two operations of which the second starts after the first has succeeded.
    ///
    /// # Safety
    /// As for [`begin`](Self::begin), for both entries.
    pub(crate) unsafe fn begin_linked<'a>(
        &'a self,
        entries: [(squeue::Entry, Note); 2],
        file: &Rc<Descriptor>,
        cargo: Cargo,
        if_dropped: IfDropped,
    ) -> Operation<'a> {
        let [(first, first_note), (second, second_note)] = entries;
        let index = self.new_slot(cargo, file, [first_note.kind, second_note.kind], 2);
        if self.is_running() {
            if let Some(trace) = &self.trace {
                self.trace_once(trace, index, first_note, file, None);
                self.trace_once(trace, index, second_note, file, None);
            }
            self.push(Batch::Linked([
                first.flags(squeue::Flags::IO_LINK).user_data(CLASS_SLOT << CLASS_SHIFT | index as u64),
                second.user_data(CLASS_SLOT_SECOND << CLASS_SHIFT | index as u64),
            ]));
        } else {
            self.refuse(index);
        }
        Operation { core: self, index, if_dropped, finished: false }
    }

    pub(super) fn new_slot(
        &self,
        cargo: Cargo,
        file: &Rc<Descriptor>,
        kinds: [Kind; 2],
        outstanding: u8,
    ) -> usize {
        self.slots.borrow_mut().insert(Slot::Once(Once {
            cargo,
            file: file.clone(),
            kinds,
            results: [0; 2],
            outstanding,
            orphan: false,
            waker: None,
        }))
    }

    pub(super) fn trace_once(
        &self,
        trace: &RefCell<Trace>,
        index: usize,
        note: Note,
        file: &Descriptor,
        text_from: Option<usize>,
    ) {
        let slots = self.slots.borrow();
        let Slot::Once(once) = &slots[index] else { unreachable!("made just now") };
        let text = match note.kind {
            Kind::Send => once.cargo.text(text_from.unwrap_or(0)),
            Kind::SendMsg => once.cargo.text(0),
            _ => None,
        };
        trace.borrow_mut().submit(note.kind, index as u64, file.id, note.offset, note.bytes, text);
    }

    pub(super) fn refuse(&self, index: usize) {
        let mut slots = self.slots.borrow_mut();
        let Slot::Once(once) = &mut slots[index] else { unreachable!("made just now") };
        once.results = [-libc::ECANCELED; 2];
        once.outstanding = 0;
    }

    /// Begins a multishot operation; its slot belongs to `slot` until the last completion.
    ///
    /// # Safety
    /// `entry` must hold no pointers, and `slot` must keep its descriptor open.
    pub(crate) unsafe fn begin_multishot(
        &self,
        entry: squeue::Entry,
        kind: Kind,
        file: u64,
        slot: Slot,
    ) -> usize {
        let index = self.slots.borrow_mut().insert(slot);
        if let Some(trace) = &self.trace {
            trace.borrow_mut().submit(kind, index as u64, file, 0, 0, None);
        }
        self.push(Batch::One(entry.user_data(CLASS_SLOT << CLASS_SHIFT | index as u64)));
        index
    }

    /// Asks the kernel to end the operations of a slot; their completions still come.
    pub(crate) fn cancel(&self, index: usize) {
        if self.stage.get() == Stage::Stopped {
            return;
        }
        if let Some(trace) = &self.trace {
            trace.borrow_mut().submit(Kind::Cancel, index as u64, 0, 0, 0, None);
        }
        // Of two linked operations the first: when that fails, the kernel cancels the second.
        let target = types::CancelBuilder::user_data(CLASS_SLOT << CLASS_SHIFT | index as u64);
        let entry = opcode::AsyncCancel2::new(target).build();
        self.push(Batch::One(entry.user_data(CLASS_CANCEL << CLASS_SHIFT | index as u64)));
    }

    /// Closes a descriptor that nothing uses any more.
    pub(crate) fn close(&self, fd: RawFd, id: u64) {
        if self.stage.get() == Stage::Stopped {
            // SAFETY: the caller owned the descriptor and has given it up.
            unsafe { rustix::io::close(fd) };
            return;
        }
        if let Some(trace) = &self.trace {
            trace.borrow_mut().submit(Kind::Close, 0, id, 0, 0, None);
        }
        let entry = opcode::Close::new(types::Fd(fd)).build();
        self.push(Batch::One(entry.user_data(CLASS_CLOSE << CLASS_SHIFT | id)));
    }

    pub(super) fn listen_to_bell(&self) {
        let fd = types::Fd(self.board.event());
        let entry = opcode::Read::new(fd, self.bell_count.get().cast(), 8).build();
        self.push(Batch::One(entry.user_data(CLASS_BELL << CLASS_SHIFT)));
    }

    pub(super) fn push(&self, batch: Batch) {
        self.counters.submitted(batch.len());
        self.kernel.push(batch);
    }
}
