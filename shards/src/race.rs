//! race: the first of two futures to end; the other is dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::drain::DrainWatch;

/// Which of the two ended first.
pub enum First<A, B> {
    /// The first future's output.
    Left(A),
    /// The second future's output.
    Right(B),
}

/// Waits for either; the left one is asked first.
pub async fn race<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> First<A, B> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| {
        if let Poll::Ready(output) = left.as_mut().poll(context) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(context).map(First::Right)
    })
    .await
}

/// Waits for `future`, or answers None once the stop has begun and `future` has nothing yet.
pub async fn unless_draining<A>(watch: &mut DrainWatch, future: impl Future<Output = A>) -> Option<A> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if watch.poll(context) { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}
