//! dsn: what senders are told about their mail.
//!
//! Receives: status codes from replies; the recipients that failed, were delayed or were delivered; templates; excerpts
//! of sessions that had errors.
//! Sends: [`Notice`]s, the new messages that report them: from the null sender to the sender, from the double-bounce
//! address to the postmaster; [`SessionReport`]s to the postmaster.
//! Owns: the shape and the prose of those messages.
//! Limits: the returned message obeys `bounce_size_limit`; a reason is as long as its owner kept it; a shard's
//! [`ReportBudget`] bounds the reports of sessions.
//! On failure: mail from the null sender is told only to the postmaster, mail from the double-bounce address to
//! nobody; so a notice can cause one more at the most.
//! Standards: RFC 3461 (NOTIFY, RET, ENVID, ORCPT), RFC 3463 (status codes), RFC 3464 and 6522
//! (the report), RFC 6533 (internationalized reports), RFC 3834 (Auto-Submitted).
//!
//! Reports about address probes (`verify_template`, Postfix's verify service) will be one more [`NoticeKind`] with
//! actions of its own; their template is read and checked already.

mod action;
mod budget;
mod from_format;
mod lines;
mod notice;
mod report;
mod status;
mod template;
mod xtext;

pub use action::Action;
pub use budget::{Allowance, REPORT_INTERVAL_MS, REPORTS_AT_ONCE_MAX, ReportBudget};
pub use from_format::FromFormat;
pub use notice::{
    Audience, Notice, NoticeKind, NoticeOptions, Original, ReportedMail, ReportedRecipient, header_bytes,
};
pub use report::{SessionKind, SessionReport};
pub use status::{Class, Status};
pub use template::{Template, TemplateError, Templates};
pub use xtext::decode_xtext;
