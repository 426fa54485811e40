//! ringpost-reactor: the per-core runtime on io_uring. Knows nothing of mail.
#![allow(unsafe_code)] // The one crate that speaks to the kernel's rings; each block says why it is sound.
