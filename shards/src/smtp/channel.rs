//! channel: a connection's bytes, plain or encrypted.

use std::io;
use std::ops::Deref;

use bytes::Bytes;
use ringpost_reactor::{Chunk, Handle, PassedStream, Stream};
use ringpost_tls::{PassedSecureStream, SecureStream};

/// What carries a connection.
pub enum Channel {
    /// As it is.
    Plain(Stream),
    /// Under TLS.
    Secure(Box<SecureStream>),
}

/// A channel on its way to another shard.
pub enum PassedChannel {
    /// As it is.
    Plain(PassedStream),
    /// Under TLS.
    Secure(Box<PassedSecureStream>),
}

/// What was received; nothing at the end.
pub enum Received {
    /// In a buffer of the reactor.
    Chunk(Chunk),
    /// Decrypted.
    Bytes(Vec<u8>),
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Received::Chunk(chunk) => chunk,
            Received::Bytes(bytes) => bytes,
        }
    }
}

impl Channel {
    /// What the peer says next.
    pub async fn recv(&self) -> io::Result<Received> {
        match self {
            Channel::Plain(stream) => stream.recv().await.map(Received::Chunk),
            Channel::Secure(stream) => stream.recv().await.map(Received::Bytes),
        }
    }

    /// Sends bytes, and gives their buffer back.
    pub async fn send(&self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            Channel::Plain(stream) => stream.send(bytes).await,
            Channel::Secure(stream) => stream.send(bytes).await,
        }
    }

    /// Sends the last bytes.
    pub async fn send_last(&self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Channel::Plain(stream) => stream.send(bytes).await.0,
            Channel::Secure(stream) => stream.send_last(&bytes).await,
        }
    }

    /// Sends pieces.
    pub async fn send_vectored(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        match self {
            Channel::Plain(stream) => stream.send_vectored(pieces).await,
            Channel::Secure(stream) => stream.send_vectored(pieces).await,
        }
    }

    /// Waits until nothing more is received here, and takes the channel off this shard.
    pub async fn pass(self) -> PassedChannel {
        match self {
            Channel::Plain(stream) => {
                stream.rest().await;
                PassedChannel::Plain(stream.pass())
            }
            Channel::Secure(stream) => {
                stream.rest().await;
                PassedChannel::Secure(Box::new(stream.pass()))
            }
        }
    }

    /// Takes up a channel of another shard.
    pub fn adopt(handle: &Handle, passed: PassedChannel) -> Channel {
        match passed {
            PassedChannel::Plain(stream) => Channel::Plain(handle.adopt(stream)),
            PassedChannel::Secure(stream) => Channel::Secure(Box::new(SecureStream::adopt(handle, *stream))),
        }
    }
}
