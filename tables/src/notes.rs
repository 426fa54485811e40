//! What is to be said of tables in the log: written by any thread, read by the shard that says it for all.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard};
use std::task::{Poll, Waker};

/// Notes that wait for the log; a table file that is broken again and again says no more than this at a time.
const NOTES_MAX: usize = 1000;

/// Something that an operator should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Something is wrong.
    Warning(String),
    /// Something happened.
    Info(String),
}

/// A queue of notes. Any thread may add, one task waits.
#[derive(Debug, Default)]
pub struct Notes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Note>,
    reader: Option<Waker>,
}

impl Notes {
    /// Adds a note. When too many wait it is dropped: those before it say enough.
    pub fn add(&self, note: Note) {
        let mut state = self.state();
        if state.waiting.len() < NOTES_MAX {
            state.waiting.push_back(note);
        }
        if let Some(reader) = state.reader.take() {
            drop(state);
            reader.wake();
        }
    }

    /// Adds a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.add(Note::Warning(text.into()));
    }

    /// Those that wait now.
    pub fn take(&self) -> Vec<Note> {
        self.state().waiting.drain(..).collect()
    }

    /// The next note, as soon as there is one. For one task at a time.
    pub async fn next(&self) -> Note {
        poll_fn(|context| {
            let mut state = self.state();
            match state.waiting.pop_front() {
                Some(note) => Poll::Ready(note),
                None => {
                    state.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}
