//! Tables that are listened to.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use ringpost_core::lookup::{Found, TableId, TableSpec, Tables};

/// Tables that remember what they were asked, and what was made of it.
pub struct Listening<'a, T> {
    tables: &'a T,
    specs: &'a [TableSpec],
    steps: RefCell<Vec<String>>,
}

impl<'a, T: Tables> Listening<'a, T> {
    /// Listens to `tables`, of which these are the names.
    pub fn to(tables: &'a T, specs: &'a [TableSpec]) -> Listening<'a, T> {
        Listening { tables, specs, steps: RefCell::default() }
    }

    /// What has happened since the last call.
    pub fn take(&self) -> Vec<String> {
        self.steps.take()
    }
}

impl<T: Tables> Tables for Listening<'_, T> {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        let found = self.tables.lookup(table, key).await;
        let answer = match &found {
            Ok(Some(value)) => format!("\"{value}\""),
            Ok(None) => "not found".to_owned(),
            Err(trouble) => format!("trouble: {}", trouble.reason),
        };
        let spec = self.specs.get(table.0 as usize).map(TableSpec::to_string).unwrap_or_default();
        self.steps.borrow_mut().push(format!("{spec}: {key}: {answer}"));
        found
    }

    fn note(&self, parameter: &str, decision: fmt::Arguments<'_>) {
        self.steps.borrow_mut().push(format!("{parameter}: {decision}"));
    }
}

/// Waits for a future on this thread: tables behind a server answer from threads of their own.
pub fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
