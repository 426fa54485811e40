//! The envelope as stored with a message.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Cursor, Damaged, put_number, put_text};
use super::{RECIPIENTS_MAX, TEXT_BYTES_MAX};
use crate::verp::VerpDelimiters;

const VERSION: u8 = 1;

/// Recipients between two places that an [`Envelope`] remembers: so many are read at most to find one.
const PLACE_STRIDE: u32 = 32;

/// What the client declared about the content (`BODY=`, RFC 6152 and 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// Nothing declared, or `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
    /// `BINARYMIME`.
    BinaryMime,
}

/// How much of the message a failure notice returns (`RET=`, RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Only its headers.
    Headers,
}

/// When the sender wants to hear of a recipient (`NOTIFY=`, RFC 3461 section 4.1).
/// The default, nothing declared, means failures and possibly delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify(u8);

impl Notify {
    /// Nothing declared.
    pub const UNSET: Notify = Notify(0);
    /// `NEVER`; stands alone.
    pub const NEVER: Notify = Notify(1);
    /// `SUCCESS`.
    pub const SUCCESS: Notify = Notify(2);
    /// `FAILURE`.
    pub const FAILURE: Notify = Notify(4);
    /// `DELAY`.
    pub const DELAY: Notify = Notify(8);

    /// Both.
    pub const fn with(self, other: Notify) -> Notify {
        Notify(self.0 | other.0)
    }

    /// True if all of `other` is in this.
    pub const fn has(self, other: Notify) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if the client declared nothing.
    pub const fn is_unset(self) -> bool {
        self.0 == 0
    }

    /// True if a failure is to be reported.
    pub const fn wants_failure(self) -> bool {
        self.is_unset() || (self.has(Notify::FAILURE) && !self.has(Notify::NEVER))
    }

    /// True if a delay is to be reported. RFC 3461 leaves it to the MTA when nothing is declared; like
    /// Postfix we then report it (if `delay_warning_time` is set at all).
    pub const fn wants_delay(self) -> bool {
        self.is_unset() || (self.has(Notify::DELAY) && !self.has(Notify::NEVER))
    }

    /// True if a delivery is to be reported.
    pub const fn wants_success(self) -> bool {
        self.has(Notify::SUCCESS) && !self.has(Notify::NEVER)
    }

    /// The four flags as they are stored.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The flags from stored bits; others than the lowest four are dropped.
    pub const fn from_bits(bits: u8) -> Notify {
        Notify(bits & 0x0f)
    }
}

/// Everything in an envelope but its recipients. Addresses are in the form that stands between the
/// angle brackets on the wire (quoted where RFC 5321 wants it); the null sender is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvelopeFields<'a> {
    /// Reverse-path; empty for the null sender.
    pub sender: &'a str,
    /// ENVID, xtext already decoded; empty if none.
    pub envid: &'a str,
    /// RET, if declared.
    pub ret: Option<Ret>,
    /// BODY.
    pub body: BodyKind,
    /// The client asked for SMTPUTF8.
    pub smtputf8: bool,
    /// Bytes of the stored content.
    pub content_bytes: u64,
    /// When the message arrived, microseconds since 1970.
    pub arrival_us: u64,
    /// The client's verified name, or `unknown`.
    pub client_name: &'a str,
    /// The client's address as printed in logs.
    pub client_address: &'a str,
    /// The client's port; 0 if none.
    pub client_port: u16,
    /// What the client said in HELO or EHLO.
    pub helo: &'a str,
    /// `SMTP`, `ESMTP`, `QMQP`, …
    pub protocol: &'a str,
    /// `XVERP`: each recipient gets the message from a return path of its own.
    pub verp: Option<VerpDelimiters>,
}

/// One recipient of an envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// Forward-path without angle brackets.
    pub address: &'a str,
    /// ORCPT, xtext already decoded: `rfc822;user@host`. Empty if none.
    pub orcpt: &'a str,
    /// The address before aliases; empty if it is the same.
    pub original: &'a str,
    /// NOTIFY.
    pub notify: Notify,
}

/// Writes an envelope without building it in memory twice: fields first, then recipients one by one.
#[derive(Debug)]
pub struct EnvelopeWriter {
    out: Vec<u8>,
    count_at: usize,
    count: u32,
}

impl EnvelopeWriter {
    /// Starts an envelope in `out`, which is cleared and whose allocation is used again.
    pub fn new(mut out: Vec<u8>, fields: &EnvelopeFields<'_>) -> EnvelopeWriter {
        out.clear();
        let body = match fields.body {
            BodyKind::SevenBit => 0,
            BodyKind::EightBitMime => 1,
            BodyKind::BinaryMime => 2,
        };
        let ret = match fields.ret {
            None => 0,
            Some(Ret::Full) => 1,
            Some(Ret::Headers) => 2,
        };
        out.push(VERSION);
        out.push(body | u8::from(fields.smtputf8) << 2 | ret << 3 | u8::from(fields.verp.is_some()) << 5);
        out.extend_from_slice(&fields.arrival_us.to_le_bytes());
        put_number(&mut out, fields.content_bytes);
        put_text(&mut out, fields.sender);
        put_text(&mut out, fields.envid);
        put_text(&mut out, fields.client_name);
        put_text(&mut out, fields.client_address);
        put_number(&mut out, u64::from(fields.client_port));
        put_text(&mut out, fields.helo);
        put_text(&mut out, fields.protocol);
        if let Some(verp) = fields.verp {
            out.extend_from_slice(&verp.bytes());
        }
        let count_at = out.len();
        out.extend_from_slice(&PADDED_ZERO);
        EnvelopeWriter { out, count_at, count: 0 }
    }

    /// Adds a recipient. Its index is the number of recipients added before it.
    ///
    /// # Panics
    /// Above [`RECIPIENTS_MAX`] recipients; whoever accepts them has a lower limit.
    pub fn recipient(&mut self, recipient: &Recipient<'_>) {
        assert!(self.count < RECIPIENTS_MAX, "recipients are limited where they are accepted");
        let flags = recipient.notify.bits()
            | u8::from(!recipient.orcpt.is_empty()) << 4
            | u8::from(!recipient.original.is_empty()) << 5;
        self.out.push(flags);
        put_text(&mut self.out, recipient.address);
        if !recipient.orcpt.is_empty() {
            put_text(&mut self.out, recipient.orcpt);
        }
        if !recipient.original.is_empty() {
            put_text(&mut self.out, recipient.original);
        }
        self.count += 1;
    }

    /// The number of recipients so far.
    pub fn recipient_count(&self) -> u32 {
        self.count
    }

    /// The bytes to store.
    pub fn finish(mut self) -> Vec<u8> {
        for (place, byte) in padded(self.count).into_iter().enumerate() {
            self.out[self.count_at + place] = byte;
        }
        self.out
    }
}

/// A varint of three bytes holds 21 bits, enough for [`RECIPIENTS_MAX`]; its fixed width lets the
/// writer fill it in last.
const PADDED_ZERO: [u8; 3] = [0x80, 0x80, 0x00];

const fn padded(count: u32) -> [u8; 3] {
    [count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8 & 0x7f]
}

/// Where a text lies in an envelope's bytes.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    bytes: u16,
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
    recipients_at: u32,
    recipient_count: u32,
    /// Where every [`PLACE_STRIDE`]th recipient begins, from the first; none when there are no more than that.
    places: Option<Arc<[u32]>>,
    client_port: u16,
    flags: u8,
    verp: Option<VerpDelimiters>,
    success_wanted: bool,
    content_bytes: u64,
    arrival_us: u64,
}

impl Envelope {
    /// Reads an envelope and checks all of it, so that reading its recipients later cannot fail.
    ///
    /// # Errors
    /// [`Damaged`] for whatever [`EnvelopeWriter`] would not have written.
    pub fn decode(raw: Bytes) -> Result<Envelope, Damaged> {
        let mut cursor = Cursor::new(&raw, 0);
        if cursor.byte()? != VERSION {
            return Err(Damaged);
        }
        let flags = cursor.byte()?;
        if flags & 0x03 == 3 || flags & 0x18 == 0x18 || flags & 0xc0 != 0 {
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
        let verp = match flags & 0x20 {
            0 => None,
            _ => Some(VerpDelimiters::from_bytes([cursor.byte()?, cursor.byte()?]).ok_or(Damaged)?),
        };
        let recipient_count = cursor.number_up_to(u64::from(RECIPIENTS_MAX))? as u32;
        let recipients_at = u32::try_from(cursor.at()).map_err(|_| Damaged)?;
        let mut success_wanted = false;
        let mut places: Vec<u32> = Vec::new();
        for index in 0..recipient_count {
            if recipient_count > PLACE_STRIDE && index % PLACE_STRIDE == 0 {
                places.push(u32::try_from(cursor.at()).map_err(|_| Damaged)?);
            }
            success_wanted |= read_recipient(&mut cursor)?.notify.wants_success();
        }
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
            recipients_at,
            recipient_count,
            places: (!places.is_empty()).then(|| places.into()),
            client_port,
            flags,
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
            verp: self.verp,
        }
    }

    /// True if the sender wants to hear of at least one recipient's delivery (`NOTIFY=SUCCESS`).
    pub fn success_wanted(&self) -> bool {
        self.success_wanted
    }

    /// Reverse-path; empty for the null sender.
    pub fn sender(&self) -> &str {
        self.text(self.sender)
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

    /// The recipients in the order of their indexes, read as they are asked for.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient<'_>> {
        let mut cursor = Cursor::new(&self.raw, self.recipients_at as usize);
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

    fn text(&self, span: Span) -> &str {
        let start = span.start as usize;
        std::str::from_utf8(&self.raw[start..start + usize::from(span.bytes)])
            .expect("decode has checked every text")
    }
}

/// A walk over an envelope's recipients that goes on from where it is, or from the nearest remembered place.
struct Walk<'a> {
    envelope: &'a Envelope,
    cursor: Cursor<'a>,
    /// Index of the recipient at the cursor.
    next: u32,
}

impl<'a> Walk<'a> {
    fn new(envelope: &'a Envelope) -> Walk<'a> {
        Walk { envelope, cursor: Cursor::new(&envelope.raw, envelope.recipients_at as usize), next: 0 }
    }

    /// The recipient with this index, which exists.
    fn recipient(&mut self, index: u32) -> Recipient<'a> {
        if index < self.next || index / PLACE_STRIDE > self.next / PLACE_STRIDE {
            let place = index / PLACE_STRIDE;
            let at = match &self.envelope.places {
                Some(places) => places[place as usize],
                None => self.envelope.recipients_at,
            };
            self.cursor = Cursor::new(&self.envelope.raw, at as usize);
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

fn span(cursor: &mut Cursor<'_>) -> Result<Span, Damaged> {
    const { assert!(TEXT_BYTES_MAX <= u16::MAX as usize) };
    let text = cursor.text()?;
    let start = u32::try_from(cursor.at() - text.len()).map_err(|_| Damaged)?;
    Ok(Span { start, bytes: text.len() as u16 })
}

fn read_recipient<'a>(cursor: &mut Cursor<'a>) -> Result<Recipient<'a>, Damaged> {
    let flags = cursor.byte()?;
    if flags & 0xc0 != 0 {
        return Err(Damaged);
    }
    let address = cursor.text()?;
    let orcpt = if flags & 0x10 != 0 { cursor.text()? } else { "" };
    let original = if flags & 0x20 != 0 { cursor.text()? } else { "" };
    Ok(Recipient { address, orcpt, original, notify: Notify::from_bits(flags) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let fields = EnvelopeFields {
            sender: "jürgen@example.com",
            envid: "batch 7",
            ret: Some(Ret::Headers),
            body: BodyKind::EightBitMime,
            smtputf8: true,
            content_bytes: 4096,
            arrival_us: 1_700_000_000_123_456,
            client_name: "mail.example.com",
            client_address: "2001:db8::1",
            client_port: 49152,
            helo: "mail",
            protocol: "ESMTP",
            verp: VerpDelimiters::from_bytes(*b"+="),
        };
        let mut writer = EnvelopeWriter::new(Vec::new(), &fields);
        writer.recipient(&Recipient { address: "a@example.org", ..Recipient::default() });
        writer.recipient(&Recipient {
            address: "\"b c\"@example.org",
            orcpt: "rfc822;list@example.org",
            original: "list@example.org",
            notify: Notify::SUCCESS.with(Notify::FAILURE),
        });
        writer.finish()
    }

    #[test]
    fn what_is_written_is_read() {
        let envelope = Envelope::decode(sample().into()).expect("whole");
        let fields = envelope.fields();
        assert_eq!(fields.sender, "jürgen@example.com");
        assert_eq!(fields.envid, "batch 7");
        assert_eq!(fields.ret, Some(Ret::Headers));
        assert_eq!(fields.body, BodyKind::EightBitMime);
        assert!(fields.smtputf8);
        assert_eq!((fields.content_bytes, fields.arrival_us), (4096, 1_700_000_000_123_456));
        assert_eq!((fields.client_name, fields.client_address), ("mail.example.com", "2001:db8::1"));
        assert_eq!((fields.client_port, fields.helo, fields.protocol), (49152, "mail", "ESMTP"));
        assert_eq!(fields.verp, VerpDelimiters::from_bytes(*b"+="));
        assert!(envelope.success_wanted());
        let recipients: Vec<_> = envelope.recipients().collect();
        assert_eq!(recipients.len(), 2);
        assert_eq!(recipients[0].address, "a@example.org");
        assert!(recipients[0].notify.wants_failure() && !recipients[0].notify.wants_success());
        assert_eq!(recipients[1].orcpt, "rfc822;list@example.org");
        assert!(recipients[1].notify.wants_success());
    }

    #[test]
    fn a_hundred_thousand_recipients_are_read_one_by_one() {
        let mut writer = EnvelopeWriter::new(Vec::new(), &EnvelopeFields::default());
        for number in 0..100_000 {
            let address = format!("user{number}@example.com");
            writer.recipient(&Recipient { address: &address, ..Recipient::default() });
        }
        let envelope = Envelope::decode(writer.finish().into()).expect("whole");
        assert_eq!(envelope.recipient_count(), 100_000);
        assert_eq!(envelope.recipients().last().map(|last| last.address), Some("user99999@example.com"));
    }

    #[test]
    fn any_recipient_is_found_without_a_walk_from_the_first() {
        for count in [1, 31, 32, 33, 64, 5000] {
            let mut writer = EnvelopeWriter::new(Vec::new(), &EnvelopeFields::default());
            for number in 0..count {
                let address = format!("user{number}@example.com");
                writer.recipient(&Recipient { address: &address, ..Recipient::default() });
            }
            let envelope = Envelope::decode(writer.finish().into()).expect("whole");
            let address = |index: u32| format!("user{index}@example.com");
            for index in 0..count {
                assert_eq!(
                    envelope.recipient(index).map(|found| found.address.to_owned()),
                    Some(address(index))
                );
            }
            assert_eq!(envelope.recipient(count), None);
            let rest: Vec<_> = envelope.recipients_from(count / 2).map(|(index, _)| index).collect();
            assert_eq!(rest, (count / 2..count).collect::<Vec<_>>());
            let wanted = [count - 1, 0, count / 3, count / 3, count, count / 2];
            let found: Vec<_> =
                envelope.select(wanted).map(|(index, found)| (index, found.address.to_owned())).collect();
            let expected: Vec<_> =
                wanted.iter().filter(|&&index| index < count).map(|&index| (index, address(index))).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_cut_and_every_addition_is_noticed() {
        let whole = sample();
        for end in 0..whole.len() {
            assert!(Envelope::decode(Bytes::copy_from_slice(&whole[..end])).is_err(), "cut at {end}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(Envelope::decode(longer.into()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(envelope) = Envelope::decode(bytes.into()) {
                envelope.recipients().for_each(drop);
            }
        }

        #[test]
        fn flipped_bytes_never_panic(at in 0usize..200, value in any::<u8>()) {
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(envelope) = Envelope::decode(bytes.into()) {
                let _ = envelope.fields();
                envelope.recipients().for_each(drop);
            }
        }
    }
}
