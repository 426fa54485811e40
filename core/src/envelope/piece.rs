//! Recipients apart from their envelope: a piece of many as it is stored, and one that was taken out of a piece.

use std::rc::Rc;

use bytes::Bytes;

use super::Recipient;
use super::codec::{Cursor, Damaged};
use super::stored::read_recipient;
use super::writer::put_recipient;

/// Some neighbouring recipients of an envelope that is stored in pieces.
#[derive(Clone, Debug)]
pub struct RecipientPiece {
    first: u32,
    count: u32,
    /// The recipients.
    raw: Bytes,
}

impl RecipientPiece {
    /// Reads a piece of so many recipients, the first of which has this index, and checks all of it.
    pub(super) fn decode(first: u32, count: u32, raw: Bytes) -> Result<RecipientPiece, Damaged> {
        let mut cursor = Cursor::new(&raw, 0);
        if cursor.number()? != u64::from(first) {
            return Err(Damaged);
        }
        let recipients_at = cursor.at();
        for _ in 0..count {
            read_recipient(&mut cursor)?;
        }
        if cursor.left() != 0 {
            return Err(Damaged);
        }
        Ok(RecipientPiece { first, count, raw: raw.slice(recipients_at..) })
    }

    /// The recipients with their indexes, which rise by one.
    pub fn recipients(&self) -> impl Iterator<Item = (u32, Recipient<'_>)> {
        let mut cursor = Cursor::new(&self.raw, 0);
        (self.first..self.first + self.count).map(move |index| {
            (index, read_recipient(&mut cursor).expect("decode has read every recipient once"))
        })
    }
}

/// A recipient with bytes of its own, and as few as possible. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeptRecipient(Rc<[u8]>);

impl KeptRecipient {
    /// A copy of a recipient.
    pub fn of(recipient: &Recipient<'_>) -> KeptRecipient {
        let mut bytes = Vec::with_capacity(8 + recipient.address.len());
        put_recipient(&mut bytes, recipient);
        KeptRecipient(bytes.into())
    }

    /// The recipient.
    pub fn get(&self) -> Recipient<'_> {
        read_recipient(&mut Cursor::new(&self.0, 0)).expect("a recipient that was written here")
    }
}
