//! ringpost-reactor: the per-core runtime on io_uring. Knows nothing of mail.
#![allow(unsafe_code)] // The one crate that speaks to the kernel's rings; each block says why it is sound.

mod aligned;
mod endpoint;
mod face;
pub mod fs;
pub mod local;
pub mod ring;
mod time;

pub use aligned::AlignedBuffer;
pub use endpoint::{ConnectOptions, Endpoint, ListenOptions};
pub use face::*;
pub use time::{Elapsed, Moment, WallTime};
