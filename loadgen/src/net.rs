//! Reading from glommio's sockets through one buffer per thread instead of one per connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_lite::AsyncRead;
use glommio::net::TcpStream;

/// Most bytes taken from a socket at once. Many 4 KiB messages fit, and it stays in the cache.
const READ_BYTES: usize = 64 * 1024;

/// A thread's read buffer.
#[derive(Clone)]
pub(crate) struct ReadBuffer(Rc<RefCell<Box<[u8]>>>);

impl ReadBuffer {
    pub(crate) fn new() -> ReadBuffer {
        ReadBuffer(Rc::new(RefCell::new(vec![0; READ_BYTES].into_boxed_slice())))
    }

    /// Waits for bytes and lets `take` have them (none at the end of the stream) before any other task runs.
    pub(crate) async fn read<T>(
        &self,
        stream: &mut TcpStream,
        mut take: impl FnMut(&[u8]) -> T,
    ) -> io::Result<T> {
        poll_fn(|context| {
            let buffer = &mut *self.0.borrow_mut();
            match Pin::new(&mut *stream).poll_read(context, buffer) {
                Poll::Ready(Ok(bytes)) => Poll::Ready(Ok(take(&buffer[..bytes]))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
