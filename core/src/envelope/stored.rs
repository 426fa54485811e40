//! The envelope as stored with a message: reading it.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Cursor, Damaged};
use super::piece::RecipientPiece;
use super::{
    BodyKind, EnvelopeFields, Notify, Origin, PIECES_MAX, RECIPIENTS_MAX, Recipient, Ret, TEXT_BYTES_MAX,
};
use crate::verp::VerpDelimiters;

/// Version 2 knows recipients in pieces, version 3 filters, version 4 what XFORWARD told, and probes.
pub(super) const VERSION: u8 = 4;

pub(super) const FLAG_VERP: u8 = 0x20;
pub(super) const FLAG_IN_PIECES: u8 = 0x40;
pub(super) const FLAG_SUCCESS_WANTED: u8 = 0x80;

pub(super) const MORE_FORWARDED: u8 = 1;
pub(super) const MORE_IDENT: u8 = 2;
pub(super) const MORE_LOCAL: u8 = 4;
pub(super) const MORE_PROBE: u8 = 8;

/// Recipients between two places that an [`Envelope`] remembers: so many are read at most to find one.
const PLACE_STRIDE: u32 = 32;

/// Where a text lies in an envelope's bytes.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    bytes: u16,
}

/// What XFORWARD told; messages of most clients have none.
#[derive(Clone, Copy, Debug)]
struct ForwardedSpans {
    name: Span,
    address: Span,
    port: u16,
    helo: Span,
    protocol: Span,
}

/// Where an envelope's recipients are.
#[derive(Clone, Debug)]
enum Recipients {
    /// Behind the fields.
    Here {
        at: u32,
        /// Where every [`PLACE_STRIDE`]th begins, from the first; none when there are no more than that.
        places: Option<Arc<[u32]>>,
    },
    /// In pieces that are stored apart; the index of the first in each.
    InPieces(Arc<[u32]>),
}

/// A decoded envelope. Cheap to clone; shares the bytes that it was loaded with.
#[derive(Clone, Debug)]
pub struct Envelope {
    raw: Bytes,
    sender: Span,
    envid: Span,
    client_name: Span,
    client_address: Span,
    helo: Span,
    protocol: Span,
    filter: Span,
    forwarded: Option<Box<ForwardedSpans>>,
    ident: Option<Span>,
    recipients: Recipients,
    recipient_count: u32,
    client_port: u16,
    flags: u8,
    more: u8,
    verp: Option<VerpDelimiters>,
    success_wanted: bool,
    content_bytes: u64,
    arrival_us: u64,
}

impl Envelope {
    /// Reads an envelope and checks all of it, so that reading its recipients later cannot fail.
    ///
    /// # Errors
    /// [`Damaged`] for whatever [`super::EnvelopeWriter`] would not have written.
    pub fn decode(raw: Bytes) -> Result<Envelope, Damaged> {
        let mut cursor = Cursor::new(&raw, 0);
        if cursor.byte()? != VERSION {
            return Err(Damaged);
        }
        let flags = cursor.byte()?;
        let alone = flags & FLAG_SUCCESS_WANTED != 0 && flags & FLAG_IN_PIECES == 0;
        if flags & 0x03 == 3 || flags & 0x18 == 0x18 || alone {
            return Err(Damaged);
        }
        let more = cursor.byte()?;
        if more & !(MORE_FORWARDED | MORE_IDENT | MORE_LOCAL | MORE_PROBE) != 0 {
            return Err(Damaged);
        }
        let arrival: [u8; 8] = cursor.take(8)?.try_into().map_err(|_| Damaged)?;
        let content_bytes = cursor.number()?;
        let sender = span(&mut cursor)?;
        let envid = span(&mut cursor)?;
        let client_name = span(&mut cursor)?;
        let client_address = span(&mut cursor)?;
        let client_port = cursor.number_up_to(u64::from(u16::MAX))? as u16;
        let helo = span(&mut cursor)?;
        let protocol = span(&mut cursor)?;
        let filter = span(&mut cursor)?;
        let verp = match flags & FLAG_VERP {
            0 => None,
            _ => Some(VerpDelimiters::from_bytes([cursor.byte()?, cursor.byte()?]).ok_or(Damaged)?),
        };
        let forwarded = match more & MORE_FORWARDED {
            0 => None,
            _ => Some(Box::new(ForwardedSpans {
                name: span(&mut cursor)?,
                address: span(&mut cursor)?,
                port: cursor.number_up_to(u64::from(u16::MAX))? as u16,
                helo: span(&mut cursor)?,
                protocol: span(&mut cursor)?,
            })),
        };
        let ident = match more & MORE_IDENT {
            0 => None,
            _ => Some(span(&mut cursor)?),
        };
        let mut success_wanted = flags & FLAG_SUCCESS_WANTED != 0;
        let (recipients, recipient_count) = match flags & FLAG_IN_PIECES {
            0 => read_here(&mut cursor, &mut success_wanted)?,
            _ => read_table(&mut cursor)?,
        };
        if cursor.left() != 0 {
            return Err(Damaged);
        }
        let arrival_us = u64::from_le_bytes(arrival);
        Ok(Envelope {
            sender,
            envid,
            client_name,
            client_address,
            helo,
            protocol,
            filter,
            forwarded,
            ident,
            recipients,
            recipient_count,
            client_port,
            flags,
            more,
            verp,
            success_wanted,
            content_bytes,
            arrival_us,
            raw,
        })
    }

    /// The fields, borrowed.
    pub fn fields(&self) -> EnvelopeFields<'_> {
        EnvelopeFields {
            sender: self.sender(),
            envid: self.text(self.envid),
            ret: match self.flags >> 3 & 3 {
                1 => Some(Ret::Full),
                2 => Some(Ret::Headers),
                _ => None,
            },
            body: match self.flags & 3 {
                1 => BodyKind::EightBitMime,
                2 => BodyKind::BinaryMime,
                _ => BodyKind::SevenBit,
            },
            smtputf8: self.flags & 4 != 0,
            content_bytes: self.content_bytes,
            arrival_us: self.arrival_us,
            client_name: self.text(self.client_name),
            client_address: self.text(self.client_address),
            client_port: self.client_port,
            helo: self.text(self.helo),
            protocol: self.text(self.protocol),
            filter: self.text(self.filter),
            forwarded: self.forwarded.as_ref().map(|forwarded| Origin {
                name: self.text(forwarded.name),
                address: self.text(forwarded.address),
                port: forwarded.port,
                helo: self.text(forwarded.helo),
                protocol: self.text(forwarded.protocol),
            }),
            ident: self.ident.map_or("", |ident| self.text(ident)),
            is_local: self.more & MORE_LOCAL != 0,
            is_probe: self.is_probe(),
            verp: self.verp,
        }
    }

    /// True if the sender wants to hear of at least one recipient's delivery (`NOTIFY=SUCCESS`).
    pub fn success_wanted(&self) -> bool {
        self.success_wanted
    }

    /// A probe; see [`EnvelopeFields::is_probe`].
    pub fn is_probe(&self) -> bool {
        self.more & MORE_PROBE != 0
    }

    /// Reverse-path; empty for the null sender.
    pub fn sender(&self) -> &str {
        self.text(self.sender)
    }

    /// `transport:destination` through which the whole message goes; empty if none.
    pub fn filter(&self) -> &str {
        self.text(self.filter)
    }

    /// Bytes of the stored content.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// When the message arrived, microseconds since 1970.
    pub fn arrival_us(&self) -> u64 {
        self.arrival_us
    }

    /// How many recipients there are; their indexes are `0..recipient_count`.
    pub fn recipient_count(&self) -> u32 {
        self.recipient_count
    }

    /// True if the recipients are stored apart, in as many pieces as [`Envelope::piece_count`] says. Those who look for
    /// recipients here then panic: there are none.
    pub fn is_in_pieces(&self) -> bool {
        matches!(self.recipients, Recipients::InPieces(_))
    }

    /// How many pieces the recipients are stored in; 0 when they are here.
    pub fn piece_count(&self) -> u32 {
        match &self.recipients {
            Recipients::Here { .. } => 0,
            Recipients::InPieces(firsts) => firsts.len() as u32,
        }
    }

    /// The indexes of the recipients in a piece; none beyond the last piece.
    pub fn indexes_in_piece(&self, piece: u32) -> std::ops::Range<u32> {
        let Recipients::InPieces(firsts) = &self.recipients else { return 0..0 };
        let first = |piece: u32| firsts.get(piece as usize).copied().unwrap_or(self.recipient_count);
        first(piece)..first(piece.saturating_add(1))
    }

    /// The piece that this recipient is in; the number of pieces for an index beyond the last recipient.
    pub fn piece_of(&self, index: u32) -> u32 {
        match &self.recipients {
            Recipients::InPieces(firsts) if index < self.recipient_count => {
                firsts.partition_point(|&first| first <= index) as u32 - 1
            }
            _ => self.piece_count(),
        }
    }

    /// Reads a piece that was stored apart, and checks all of it.
    ///
    /// # Errors
    /// [`Damaged`] for bytes that are not this piece, or no piece at all.
    pub fn piece(&self, piece: u32, raw: Bytes) -> Result<RecipientPiece, Damaged> {
        let indexes = self.indexes_in_piece(piece);
        if indexes.is_empty() {
            return Err(Damaged);
        }
        RecipientPiece::decode(indexes.start, indexes.end - indexes.start, raw)
    }

    /// The recipients in the order of their indexes, read as they are asked for.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient<'_>> {
        let (at, _) = self.here();
        let mut cursor = Cursor::new(&self.raw, at as usize);
        (0..self.recipient_count)
            .map(move |_| read_recipient(&mut cursor).expect("decode has read every recipient once"))
    }

    /// The recipient with this index; `None` beyond the last. Reads at most 32 recipients, however many there are.
    pub fn recipient(&self, index: u32) -> Option<Recipient<'_>> {
        self.recipients_from(index).next().map(|(_, recipient)| recipient)
    }

    /// The recipients from this index on, with their indexes.
    pub fn recipients_from(&self, index: u32) -> impl Iterator<Item = (u32, Recipient<'_>)> {
        let mut walk = Walk::new(self);
        (index..self.recipient_count).map(move |index| (index, walk.recipient(index)))
    }

    /// The recipients with these indexes, in the order in which they are named; quickest when indexes rise. Indexes
    /// beyond the last recipient are passed over.
    pub fn select<'a>(
        &'a self,
        indexes: impl IntoIterator<Item = u32>,
    ) -> impl Iterator<Item = (u32, Recipient<'a>)> {
        let mut walk = Walk::new(self);
        let known = indexes.into_iter().filter(|&index| index < self.recipient_count);
        known.map(move |index| (index, walk.recipient(index)))
    }

    /// The bytes as stored.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    fn here(&self) -> (u32, Option<&[u32]>) {
        match &self.recipients {
            Recipients::Here { at, places } => (*at, places.as_deref()),
            Recipients::InPieces(_) => panic!("whoever looks for recipients knows that they are in pieces"),
        }
    }

    fn text(&self, span: Span) -> &str {
        let start = span.start as usize;
        std::str::from_utf8(&self.raw[start..start + usize::from(span.bytes)])
            .expect("decode has checked every text")
    }
}

/// A walk over an envelope's recipients that goes on from where it is, or from the nearest remembered place.
struct Walk<'a> {
    raw: &'a [u8],
    at: u32,
    places: Option<&'a [u32]>,
    cursor: Cursor<'a>,
    /// Index of the recipient at the cursor.
    next: u32,
}

impl<'a> Walk<'a> {
    fn new(envelope: &'a Envelope) -> Walk<'a> {
        let (at, places) = envelope.here();
        let raw = &envelope.raw;
        Walk { raw, at, places, cursor: Cursor::new(raw, at as usize), next: 0 }
    }

    /// The recipient with this index, which exists.
    fn recipient(&mut self, index: u32) -> Recipient<'a> {
        if index < self.next || index / PLACE_STRIDE > self.next / PLACE_STRIDE {
            let place = index / PLACE_STRIDE;
            let at = self.places.map_or(self.at, |places| places[place as usize]);
            self.cursor = Cursor::new(self.raw, at as usize);
            self.next = place * PLACE_STRIDE;
        }
        loop {
            let recipient = read_recipient(&mut self.cursor).expect("decode has read every recipient once");
            self.next += 1;
            if self.next > index {
                return recipient;
            }
        }
    }
}

/// Checks the recipients behind the fields.
fn read_here(cursor: &mut Cursor<'_>, success_wanted: &mut bool) -> Result<(Recipients, u32), Damaged> {
    let count = cursor.number_up_to(u64::from(RECIPIENTS_MAX))? as u32;
    let at = u32::try_from(cursor.at()).map_err(|_| Damaged)?;
    let mut places: Vec<u32> = Vec::new();
    for index in 0..count {
        if count > PLACE_STRIDE && index % PLACE_STRIDE == 0 {
            places.push(u32::try_from(cursor.at()).map_err(|_| Damaged)?);
        }
        *success_wanted |= read_recipient(cursor)?.notify.wants_success();
    }
    Ok((Recipients::Here { at, places: (!places.is_empty()).then(|| places.into()) }, count))
}

/// Reads how many recipients are in each piece.
fn read_table(cursor: &mut Cursor<'_>) -> Result<(Recipients, u32), Damaged> {
    let pieces = cursor.number_up_to(u64::from(PIECES_MAX).min(cursor.left() as u64))?;
    let mut firsts = Vec::with_capacity(pieces as usize);
    let mut count = 0;
    for _ in 0..pieces {
        let members = cursor.number_up_to(u64::from(RECIPIENTS_MAX - count))? as u32;
        if members == 0 {
            return Err(Damaged);
        }
        firsts.push(count);
        count += members;
    }
    if firsts.is_empty() { Err(Damaged) } else { Ok((Recipients::InPieces(firsts.into()), count)) }
}

fn span(cursor: &mut Cursor<'_>) -> Result<Span, Damaged> {
    const { assert!(TEXT_BYTES_MAX <= u16::MAX as usize) };
    let text = cursor.text()?;
    let start = u32::try_from(cursor.at() - text.len()).map_err(|_| Damaged)?;
    Ok(Span { start, bytes: text.len() as u16 })
}

pub(super) fn read_recipient<'a>(cursor: &mut Cursor<'a>) -> Result<Recipient<'a>, Damaged> {
    let flags = cursor.byte()?;
    if flags & 0xc0 != 0 {
        return Err(Damaged);
    }
    let address = cursor.text()?;
    let orcpt = if flags & 0x10 != 0 { cursor.text()? } else { "" };
    let original = if flags & 0x20 != 0 { cursor.text()? } else { "" };
    Ok(Recipient { address, orcpt, original, notify: Notify::from_bits(flags) })
}
