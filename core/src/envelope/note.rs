//! The notes that follow an envelope in the spool: outcomes as they happen, and the cumulative retry
//! note that replaces them when a message is put off.

use super::codec::{Cursor, Damaged, put_number, put_text};
use super::reports::{Reports, is_report_code};
use crate::dsn::{Class, Status};

/// Version 2 knows bitmaps of indexes.
pub(super) const VERSION: u8 = 2;

/// What finished a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// The next server took it.
    Sent,
    /// It failed for good, and nobody is to be told.
    Bounced,
    /// It was thrown away on purpose (discard, or a bounce that bounced).
    Discarded,
}

impl OutcomeKind {
    const fn code(self) -> u8 {
        match self {
            OutcomeKind::Sent => 0,
            OutcomeKind::Bounced => 1,
            OutcomeKind::Discarded => 2,
        }
    }

    const fn from_code(code: u8) -> Option<OutcomeKind> {
        match code {
            0 => Some(OutcomeKind::Sent),
            1 => Some(OutcomeKind::Bounced),
            2 => Some(OutcomeKind::Discarded),
            _ => None,
        }
    }
}

/// Why a recipient is still here: enough for the queue listing and for the notice on expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The status of the last attempt, `4.x.x`.
    pub status: Status,
    /// The text that was logged.
    pub text: String,
    /// The remote server's reply, if it was one; else empty.
    pub reply: String,
    /// The remote server's name, if there was one; else empty.
    pub remote_mta: String,
}

/// Appends an outcome note to `out`: the recipients that ended, by kind. Indexes rise within a group.
pub fn write_outcome(out: &mut Vec<u8>, groups: &[(OutcomeKind, &[u32])]) {
    out.push(VERSION);
    put_number(out, groups.len() as u64);
    for (kind, indexes) in groups {
        out.push(kind.code());
        put_indexes(out, indexes.iter().copied());
    }
}

/// Reads an outcome note, calling `each` for every recipient that ended without a report; answers those with one.
pub(super) fn read_outcome(
    note: &[u8],
    recipient_count: u32,
    mut each: impl FnMut(OutcomeKind, u32),
) -> Result<Reports, Damaged> {
    let mut reports = Reports::default();
    let mut cursor = Cursor::new(note, 0);
    if cursor.byte()? != VERSION {
        return Err(Damaged);
    }
    let groups = cursor.number_up_to(cursor.left() as u64)?;
    for _ in 0..groups {
        let code = cursor.byte()?;
        if is_report_code(code) {
            reports.read_group(code, &mut cursor, recipient_count)?;
            continue;
        }
        let kind = OutcomeKind::from_code(code).ok_or(Damaged)?;
        read_indexes(&mut cursor, recipient_count, |index| each(kind, index))?;
    }
    if cursor.left() == 0 { Ok(reports) } else { Err(Damaged) }
}

/// Appends rising indexes: as runs, or as a bitmap where runs would take more bytes, as they do when every other
/// recipient of very many is one of them.
pub(super) fn put_indexes(out: &mut Vec<u8>, indexes: impl Iterator<Item = u32> + Clone) {
    let (mut runs, mut runs_bytes, mut end_before) = (0u64, 0, 0);
    for (start, end) in Runs(indexes.clone().peekable()) {
        runs += 1;
        runs_bytes += number_bytes(start - end_before) + number_bytes(end - start);
        end_before = end;
    }
    let bitmap_bytes = end_before.div_ceil(8) as usize;
    if runs_bytes > bitmap_bytes {
        put_number(out, (bitmap_bytes as u64) << 1 | 1);
        let bitmap = out.len();
        out.resize(bitmap + bitmap_bytes, 0);
        indexes.for_each(|index| out[bitmap + index as usize / 8] |= 1 << (index % 8));
        return;
    }
    put_number(out, runs << 1);
    end_before = 0;
    for (start, end) in Runs(indexes.peekable()) {
        put_number(out, u64::from(start - end_before));
        put_number(out, u64::from(end - start));
        end_before = end;
    }
}

/// Bytes of a number in a note.
fn number_bytes(value: u32) -> usize {
    (32 - value.leading_zeros()).max(1).div_ceil(7) as usize
}

/// Reads indexes, calling `each` for every one in rising order; all are below `recipient_count`.
pub(super) fn read_indexes(
    cursor: &mut Cursor<'_>,
    recipient_count: u32,
    mut each: impl FnMut(u32),
) -> Result<(), Damaged> {
    let form = cursor.number_up_to(cursor.left() as u64 * 2 + 1)?;
    if form & 1 == 1 {
        return read_bitmap(cursor.take((form >> 1) as usize)?, recipient_count, each);
    }
    let mut at = 0u64;
    for _ in 0..form >> 1 {
        let gap = cursor.number_up_to(u64::from(recipient_count))?;
        let length = cursor.number_up_to(u64::from(recipient_count))?;
        let start = at + gap;
        let end = start + length;
        if length == 0 || end > u64::from(recipient_count) {
            return Err(Damaged);
        }
        (start as u32..end as u32).for_each(&mut each);
        at = end;
    }
    Ok(())
}

fn read_bitmap(bitmap: &[u8], recipient_count: u32, mut each: impl FnMut(u32)) -> Result<(), Damaged> {
    for (place, &byte) in bitmap.iter().enumerate() {
        for bit in (0..8).filter(|bit| byte & 1 << bit != 0) {
            let index = place * 8 + bit;
            if index >= recipient_count as usize {
                return Err(Damaged);
            }
            each(index as u32);
        }
    }
    Ok(())
}

/// Joins rising indexes to half-open runs.
struct Runs<I: Iterator<Item = u32>>(std::iter::Peekable<I>);

impl<I: Iterator<Item = u32>> Iterator for Runs<I> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let start = self.0.next()?;
        let mut end = start + 1;
        while self.0.next_if_eq(&end).is_some() {
            end += 1;
        }
        Some((start, end))
    }
}

pub(super) fn put_reason(out: &mut Vec<u8>, reason: &Reason) {
    out.push(reason.status.class().digit());
    put_number(out, u64::from(reason.status.subject()));
    put_number(out, u64::from(reason.status.detail()));
    put_text(out, &reason.text);
    put_text(out, &reason.reply);
    put_text(out, &reason.remote_mta);
}

pub(super) fn read_reason(cursor: &mut Cursor<'_>) -> Result<Reason, Damaged> {
    let class = Class::from_digit(cursor.byte()?).ok_or(Damaged)?;
    let subject = cursor.number_up_to(999)? as u16;
    let detail = cursor.number_up_to(999)? as u16;
    Ok(Reason {
        status: Status::new(class, subject, detail),
        text: cursor.text()?.to_owned(),
        reply: cursor.text()?.to_owned(),
        remote_mta: cursor.text()?.to_owned(),
    })
}
