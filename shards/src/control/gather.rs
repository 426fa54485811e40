//! gather: waits for many small things at once, each in a task of its own.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use ringpost_reactor::Handle;
use ringpost_reactor::local::Notify;

/// The outputs of all futures, in order. The caller bounds how many there are.
pub async fn gather<T: 'static>(
    handle: &Handle,
    futures: impl IntoIterator<Item = impl Future<Output = T> + 'static>,
) -> Vec<T> {
    let outputs: Rc<RefCell<Vec<Option<T>>>> = Rc::default();
    let (ended, mut running) = (Rc::new(Notify::new()), 0_usize);
    for (place, future) in futures.into_iter().enumerate() {
        outputs.borrow_mut().push(None);
        running += 1;
        let (outputs, ended) = (outputs.clone(), ended.clone());
        handle.spawn(async move {
            let output = future.await;
            outputs.borrow_mut()[place] = Some(output);
            ended.notify();
        });
    }
    while outputs.borrow().iter().filter(|output| output.is_some()).count() < running {
        ended.notified().await;
    }
    outputs.take().into_iter().flatten().collect()
}
