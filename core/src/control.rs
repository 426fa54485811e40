//! control: what the queue commands and the engine say to each other over the control socket, as bytes.
//!
//! **Receives**: frames of a command ([`Request`]) or of the engine ([`Answer`]). **Sends**: the same. **Owns**: the
//! vocabulary and its bytes, version [`VERSION`]; no socket.
//! **Limits**: [`FRAME_BYTES_MAX`] bytes a frame, [`IDS_MAX`] queue ids a request; decoding reads each byte a bounded
//! number of times and keeps nothing.
//! **On failure**: bytes that no encoder of ours wrote give [`Malformed`]; nothing panics, nothing grows.
//!
//! ```text
//! command → engine   preamble, then requests, each when the answers to the one before have ended
//! engine → command   preamble, then for each request: answers, the last of them End or Refused
//!
//! preamble = "RINGCTL" version:u8
//! frame    = payload_bytes:u32le kind:u8 payload          numbers are LEB128, text = length, UTF-8 bytes
//! ```
//!
//! Either side closes when the other's preamble names another version: the commands and the engine are one program.

mod answer;
mod frame;
mod listing;
mod printed;
mod queue;
mod request;
mod users;

pub use answer::{Answer, ListedMessage, Refusal};
pub use frame::{
    FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader, Malformed, PREAMBLE, PREAMBLE_BYTES, VERSION,
    speaks_our_version,
};
pub use listing::{JsonLines, Mailq};
pub use printed::PrintedContent;
pub use queue::{Queue, Queues};
pub use request::{IDS_MAX, Kick, Operation, Request, Which};
pub use users::{UserList, UserListError};
