//! Writing an envelope: whole into one record, or in pieces when its recipients are too many for that.

use super::codec::{put_number, put_text};
use super::stored::{
    FLAG_IN_PIECES, FLAG_SUCCESS_WANTED, FLAG_VERP, MORE_FORWARDED, MORE_IDENT, MORE_LOCAL, MORE_PROBE,
    VERSION,
};
use super::{BodyKind, EnvelopeFields, PIECE_BYTES_MAX, RECIPIENTS_MAX, Recipient, Ret};

/// Writes an envelope without building it in memory twice: fields first, then recipients one by one.
#[derive(Debug)]
pub struct EnvelopeWriter {
    out: Vec<u8>,
    count_at: usize,
    count: u32,
    /// Recipients in each piece that was handed out; none while all fit into one record.
    pieces: Vec<u32>,
    count_in_pieces: u32,
    success_wanted: bool,
}

/// An envelope that is written, but for the pieces that [`EnvelopeWriter::recipient`] has handed out.
#[derive(Debug)]
pub struct WrittenEnvelope {
    /// The bytes to store with the message: all of the envelope, or fields and the table of pieces.
    pub head: Vec<u8>,
    /// The last piece, if there are any.
    pub last_piece: Option<Vec<u8>>,
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
        let verp = if fields.verp.is_some() { FLAG_VERP } else { 0 };
        out.push(VERSION);
        out.push(body | u8::from(fields.smtputf8) << 2 | ret << 3 | verp);
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        out.push(
            bit(fields.forwarded.is_some(), MORE_FORWARDED)
                | bit(!fields.ident.is_empty(), MORE_IDENT)
                | bit(fields.is_local, MORE_LOCAL)
                | bit(fields.is_probe, MORE_PROBE),
        );
        out.extend_from_slice(&fields.arrival_us.to_le_bytes());
        put_number(&mut out, fields.content_bytes);
        put_text(&mut out, fields.sender);
        put_text(&mut out, fields.envid);
        put_text(&mut out, fields.client_name);
        put_text(&mut out, fields.client_address);
        put_number(&mut out, u64::from(fields.client_port));
        put_text(&mut out, fields.helo);
        put_text(&mut out, fields.protocol);
        put_text(&mut out, fields.filter);
        if let Some(verp) = fields.verp {
            out.extend_from_slice(&verp.bytes());
        }
        if let Some(forwarded) = &fields.forwarded {
            put_text(&mut out, forwarded.name);
            put_text(&mut out, forwarded.address);
            put_number(&mut out, u64::from(forwarded.port));
            put_text(&mut out, forwarded.helo);
            put_text(&mut out, forwarded.protocol);
        }
        if !fields.ident.is_empty() {
            put_text(&mut out, fields.ident);
        }
        let count_at = out.len();
        out.extend_from_slice(&PADDED_ZERO);
        let (pieces, count_in_pieces, success_wanted) = (Vec::new(), 0, false);
        EnvelopeWriter { out, count_at, count: 0, pieces, count_in_pieces, success_wanted }
    }

    /// Adds a recipient. Its index is the number of recipients added before it. Answers a piece that is full, to be
    /// stored in the order in which they come, when those before it take more than [`PIECE_BYTES_MAX`] bytes with it.
    ///
    /// # Panics
    /// Above [`RECIPIENTS_MAX`] recipients; whoever accepts them has a lower limit.
    #[must_use = "a piece has to be stored"]
    pub fn recipient(&mut self, recipient: &Recipient<'_>) -> Option<Vec<u8>> {
        assert!(self.count < RECIPIENTS_MAX, "recipients are limited where they are accepted");
        let before = self.out.len();
        put_recipient(&mut self.out, recipient);
        self.success_wanted |= recipient.notify.wants_success();
        self.count += 1;
        if self.out.len() - self.recipients_at() <= PIECE_BYTES_MAX {
            return None;
        }
        self.out.truncate(before);
        let piece = self.take_piece(self.count - 1);
        put_recipient(&mut self.out, recipient);
        Some(piece)
    }

    /// The recipients up to `count` that are in no piece become one.
    fn take_piece(&mut self, count: u32) -> Vec<u8> {
        let first = std::mem::replace(&mut self.count_in_pieces, count);
        assert!(count > first, "a recipient's texts are bounded, so that each fits into a piece");
        self.pieces.push(count - first);
        let recipients_at = self.recipients_at();
        let mut piece = Vec::with_capacity(self.out.len() - recipients_at + 3);
        put_number(&mut piece, u64::from(first));
        piece.extend_from_slice(&self.out[recipients_at..]);
        self.out.truncate(recipients_at);
        piece
    }

    fn recipients_at(&self) -> usize {
        self.count_at + PADDED_ZERO.len()
    }

    /// The number of recipients so far.
    pub fn recipient_count(&self) -> u32 {
        self.count
    }

    /// What is left to store.
    pub fn finish(mut self) -> WrittenEnvelope {
        if self.pieces.is_empty() {
            self.out[self.count_at..self.count_at + PADDED_ZERO.len()].copy_from_slice(&padded(self.count));
            return WrittenEnvelope { head: self.out, last_piece: None };
        }
        // What follows a full piece is at least the recipient that it had no room for.
        let last_piece = self.take_piece(self.count);
        let mut head = self.out;
        head.truncate(self.count_at);
        head[1] |= FLAG_IN_PIECES | if self.success_wanted { FLAG_SUCCESS_WANTED } else { 0 };
        put_number(&mut head, self.pieces.len() as u64);
        self.pieces.iter().for_each(|&members| put_number(&mut head, u64::from(members)));
        WrittenEnvelope { head, last_piece: Some(last_piece) }
    }
}

/// Appends a recipient as it is stored.
pub(super) fn put_recipient(out: &mut Vec<u8>, recipient: &Recipient<'_>) {
    let flags = recipient.notify.bits()
        | u8::from(!recipient.orcpt.is_empty()) << 4
        | u8::from(!recipient.original.is_empty()) << 5;
    out.push(flags);
    put_text(out, recipient.address);
    if !recipient.orcpt.is_empty() {
        put_text(out, recipient.orcpt);
    }
    if !recipient.original.is_empty() {
        put_text(out, recipient.original);
    }
}

/// A varint of three bytes holds 21 bits, enough for [`RECIPIENTS_MAX`]; its fixed width lets the
/// writer fill it in last.
const PADDED_ZERO: [u8; 3] = [0x80, 0x80, 0x00];

const fn padded(count: u32) -> [u8; 3] {
    [count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8 & 0x7f]
}
