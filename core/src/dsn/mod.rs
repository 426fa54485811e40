//! dsn: what senders are told about their mail.
//!
//! Receives: status codes from replies; the recipients that failed, were delayed or were delivered.
//! Sends: [`Notice`]s, the new messages with the null sender that report them.
//! Owns: the shape and the prose of those messages.
//! Limits: the returned message obeys `bounce_size_limit`; a reason is as long as its owner kept it.
//! On failure: mail from the null sender gets no notice, ever; so a notice can cause no second one.
//! Standards: RFC 3461 (NOTIFY, RET, ENVID, ORCPT), RFC 3463 (status codes), RFC 3464 and 6522
//! (the report), RFC 6533 (internationalized reports), RFC 3834 (Auto-Submitted).

mod notice;
mod status;
mod xtext;

pub use notice::{
    Notice, NoticeKind, NoticeOptions, Original, ReportedMail, ReportedRecipient, header_bytes,
};
pub use status::{Class, Status};
pub use xtext::decode_xtext;
