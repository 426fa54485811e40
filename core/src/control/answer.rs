//! What the engine answers.

use super::Malformed;
use super::frame::{FRAME_BYTES_MAX, put_frame};
use super::queue::Queue;
use super::request::queue_id;
use crate::envelope::codec::{Cursor, put_number, put_text};
use crate::queue_id::QueueId;

/// A message as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedMessage<'a> {
    /// Where it is.
    pub queue: Queue,
    /// Its name.
    pub queue_id: QueueId,
    /// When it arrived, microseconds since 1970.
    pub arrival_us: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// An operator has expired it: it is given up at the next attempt.
    pub forced_expire: bool,
    /// The reverse-path; empty for the null sender.
    pub sender: &'a str,
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user may not ask that.
    NotAllowed,
    /// No such message is queued.
    NotFound,
    /// The request makes no sense.
    Invalid,
    /// What would be needed is not configured.
    NotConfigured,
    /// Too many control sessions, or the shard has no time.
    Busy,
    /// The mail system is stopping.
    Stopping,
    /// The disk failed.
    Failed,
}

impl Refusal {
    const ALL: [Refusal; 7] = [
        Refusal::NotAllowed,
        Refusal::NotFound,
        Refusal::Invalid,
        Refusal::NotConfigured,
        Refusal::Busy,
        Refusal::Stopping,
        Refusal::Failed,
    ];
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A message; its recipients follow.
    Message(ListedMessage<'a>),
    /// A recipient that remains of the message before.
    Recipient {
        /// The forward-path.
        address: &'a str,
        /// Why it waits; empty if no reason is known.
        reason: &'a str,
    },
    /// An operation changed this message.
    Operated(QueueId),
    /// A field of an envelope, as `postcat` prints it.
    Field {
        /// What it is: `sender`, `recipient`, `named_attribute`, ….
        label: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// The next bytes of a message's content, in wire form: CRLF, dot-stuffed.
    Content(&'a [u8]),
    /// A line for people to read.
    Line(&'a str),
    /// Something went wrong, and the rest goes on.
    Warning(&'a str),
    /// The request is not carried out, or not to its end.
    Refused(Refusal, &'a str),
    /// The request has been carried out; how many messages it concerned.
    End(u64),
}

const MESSAGE: u8 = 65;
const RECIPIENT: u8 = 66;
const OPERATED: u8 = 67;
const FIELD: u8 = 68;
const CONTENT: u8 = 69;
const LINE: u8 = 70;
const WARNING: u8 = 71;
const REFUSED: u8 = 72;
const END: u8 = 73;

impl<'a> Answer<'a> {
    /// Bytes of content that one [`Answer::Content`] can carry.
    pub const CONTENT_BYTES_MAX: usize = FRAME_BYTES_MAX;

    /// Appends the answer as a frame. Texts longer than the protocol allows are cut.
    ///
    /// # Panics
    /// For content above [`Answer::CONTENT_BYTES_MAX`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Answer::Message(message) => put_frame(out, MESSAGE, |out| {
                out.extend_from_slice(&[message.queue.code(), u8::from(message.forced_expire)]);
                put_text(out, message.queue_id.as_str());
                put_number(out, message.arrival_us);
                put_number(out, message.bytes);
                put_text(out, message.sender);
            }),
            Answer::Recipient { address, reason } => put_frame(out, RECIPIENT, |out| {
                put_text(out, address);
                put_text(out, reason);
            }),
            Answer::Operated(id) => put_frame(out, OPERATED, |out| put_text(out, id.as_str())),
            Answer::Field { label, value } => put_frame(out, FIELD, |out| {
                put_text(out, label);
                put_text(out, value);
            }),
            Answer::Content(bytes) => put_frame(out, CONTENT, |out| out.extend_from_slice(bytes)),
            Answer::Line(text) => put_frame(out, LINE, |out| put_text(out, text)),
            Answer::Warning(text) => put_frame(out, WARNING, |out| put_text(out, text)),
            Answer::Refused(refusal, text) => put_frame(out, REFUSED, |out| {
                out.push(refusal as u8);
                put_text(out, text);
            }),
            Answer::End(count) => put_frame(out, END, |out| put_number(out, count)),
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`Malformed`] for what [`Answer::encode`] would not have written.
    pub fn decode(kind: u8, payload: &'a [u8]) -> Result<Answer<'a>, Malformed> {
        let mut cursor = Cursor::new(payload, 0);
        let answer = match kind {
            MESSAGE => {
                let queue = Queue::from_code(cursor.byte()?).ok_or(Malformed)?;
                let forced_expire = match cursor.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed),
                };
                Answer::Message(ListedMessage {
                    queue,
                    forced_expire,
                    queue_id: queue_id(&mut cursor)?,
                    arrival_us: cursor.number()?,
                    bytes: cursor.number()?,
                    sender: cursor.text()?,
                })
            }
            RECIPIENT => Answer::Recipient { address: cursor.text()?, reason: cursor.text()? },
            OPERATED => Answer::Operated(queue_id(&mut cursor)?),
            FIELD => Answer::Field { label: cursor.text()?, value: cursor.text()? },
            CONTENT => return Ok(Answer::Content(payload)),
            LINE => Answer::Line(cursor.text()?),
            WARNING => Answer::Warning(cursor.text()?),
            REFUSED => {
                let code = cursor.byte()?;
                let refusal = Refusal::ALL.into_iter().find(|refusal| *refusal as u8 == code);
                Answer::Refused(refusal.ok_or(Malformed)?, cursor.text()?)
            }
            END => Answer::End(cursor.number()?),
            _ => return Err(Malformed),
        };
        if cursor.left() == 0 { Ok(answer) } else { Err(Malformed) }
    }
}
