//! The content of one message as it arrives at the sink: finds its end, its tracking headers, its checksum, and what a
//! bounce says.
//!
//! Memory: nothing of the body is kept, but for messages from the null sender, of which
//! [`NOTICE_BYTES_MAX`] are, because they may be bounces.

use memchr::memmem;

use super::session::NOTICE_BYTES_MAX;
use crate::message::{ID_HEADER, Tracking, TrackingId, recipient_key};
use crate::smtp::DotFinder;

/// Headers longer than this are not searched for tracking.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Reads the content of one message.
#[derive(Debug, Default)]
pub(super) struct Content {
    finder: DotFinder,
    /// The headers so far, if they came in more than one piece.
    head: Vec<u8>,
    in_body: bool,
    tracking: Option<Tracking>,
    bytes: u64,
    body_bytes: u64,
    body_crc: u32,
    notice: Option<Vec<u8>>,
}

/// What a whole message turned out to be.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) tracking: Option<Tracking>,
    /// Bytes of content.
    pub(super) bytes: u64,
    /// The body's length or checksum is not what the source said.
    pub(super) damaged: bool,
    /// The beginning of the message, if it came from the null sender.
    pub(super) notice: Option<Vec<u8>>,
}

impl Content {
    /// Starts a message; `keep` is set for those from the null sender.
    pub(super) fn start(keep: bool) -> Content {
        Content { notice: keep.then(Vec::new), ..Content::default() }
    }

    /// Takes input; says how much of it was used and whether the message is complete.
    pub(super) fn push(&mut self, input: &[u8]) -> (usize, bool) {
        let piece = self.finder.push(input);
        if piece.released > 0 {
            self.content(&b".\r"[..piece.released]);
        }
        self.content(&input[..piece.content]);
        (piece.consumed, piece.ended)
    }

    fn content(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(notice) = &mut self.notice {
            let room = NOTICE_BYTES_MAX.saturating_sub(notice.len());
            notice.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if self.in_body {
            self.body(bytes);
            return;
        }
        if self.head.is_empty() {
            // The usual case: all headers in the first piece. Nothing is copied.
            if let Some(end) = memmem::find(bytes, b"\r\n\r\n") {
                self.headers_end(&bytes[..end + 2]);
                self.body(&bytes[end + 4..]);
                return;
            }
        }
        let known = self.head.len();
        let room = HEAD_BYTES_MAX.saturating_sub(known);
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if let Some(end) = memmem::find(&self.head[known.saturating_sub(3)..], b"\r\n\r\n") {
            let end = known.saturating_sub(3) + end;
            let head = std::mem::take(&mut self.head);
            self.headers_end(&head[..end + 2]);
            self.body(&bytes[end + 4 - known..]);
        } else if bytes.len() > room {
            // Too long for us: counted as without tracking rather than kept.
            self.in_body = true;
            self.head = Vec::new();
        }
    }

    fn headers_end(&mut self, headers: &[u8]) {
        self.in_body = true;
        self.tracking = Tracking::find(headers);
    }

    fn body(&mut self, bytes: &[u8]) {
        self.body_bytes += bytes.len() as u64;
        if self.tracking.is_some_and(|tracking| tracking.body.is_some()) {
            self.body_crc = crc32c::crc32c_append(self.body_crc, bytes);
        }
    }

    /// The message is complete.
    pub(super) fn finish(mut self) -> Received {
        if !self.in_body {
            // No blank line: all of it is headers.
            let head = std::mem::take(&mut self.head);
            self.headers_end(&head);
        }
        let damaged = self
            .tracking
            .and_then(|tracking| tracking.body)
            .is_some_and(|sent| sent != (self.body_bytes, self.body_crc));
        Received { tracking: self.tracking, bytes: self.bytes, damaged, notice: self.notice }
    }
}

/// What a notice of failure in RFC 3464 form says: the message it returns and the keys of the recipients that failed.
///
/// None if it is not one, or does not return the headers of one of our messages.
pub(super) fn read_failure_notice(notice: &[u8]) -> Option<(TrackingId, Vec<u64>)> {
    let mut id = None;
    let mut failed = Vec::new();
    let (mut original, mut last) = (None, None);
    for line in notice.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            // Each recipient has a group of fields, parted by blank lines (RFC 3464 §2.3).
            (original, last) = (None, None);
        } else if let Some(address) = address_field(line, b"Original-Recipient:") {
            original = Some(recipient_key(address));
        } else if let Some(address) = address_field(line, b"Final-Recipient:") {
            last = Some(recipient_key(address));
        } else if let Some(action) = field(line, b"Action:") {
            if action.eq_ignore_ascii_case(b"failed") {
                failed.extend(original.or(last));
            }
        } else if let Some(text) = line.strip_prefix(ID_HEADER.as_bytes()) {
            id = id.or_else(|| TrackingId::parse_prefix(text));
        }
    }
    id.filter(|_| !failed.is_empty()).map(|id| (id, failed))
}

/// The value of a field, without surrounding space.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, value) = line.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// The address of a field such as `Final-Recipient: rfc822; user@example.org`.
fn address_field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = field(line, name)?;
    let semicolon = memchr::memchr(b';', value)?;
    let address = value[semicolon + 1..].trim_ascii();
    Some(address.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(address))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::{Generator, Plan};

    fn message(size: &str) -> Vec<u8> {
        let plan = Plan {
            run: 5,
            sender: String::new(),
            recipients: 1,
            domains: 1,
            recipient_template: "r{n}@d{d}.example".into(),
            sizes: size.parse().expect("a size"),
            seed: 1,
        };
        let mut generator = Generator::new(Arc::new(plan));
        let mut bytes = Vec::new();
        let generated = generator.generate(3, 77, &mut bytes);
        bytes.extend_from_slice(&generator.text()[..generated.text_bytes]);
        bytes.extend_from_slice(b".\r\n");
        bytes
    }

    fn receive(pieces: &[&[u8]]) -> Received {
        let mut content = Content::start(false);
        for (index, piece) in pieces.iter().enumerate() {
            let (used, ended) = content.push(piece);
            assert_eq!((used, ended), (piece.len(), index + 1 == pieces.len()));
        }
        content.finish()
    }

    #[test]
    fn a_message_is_recognised_and_verified_however_it_is_split() {
        let bytes = message("2000");
        for split in 1..bytes.len() {
            let received = receive(&[&bytes[..split], &bytes[split..]]);
            let tracking = received.tracking.expect("tracked");
            assert_eq!((tracking.id, tracking.sent_us), (TrackingId { run: 5, sequence: 3 }, 77));
            assert!(!received.damaged, "split at {split}");
            assert_eq!(received.bytes, bytes.len() as u64 - 3);
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert!(!receive(&single).damaged);
    }

    #[test]
    fn a_changed_body_is_noticed() {
        let mut bytes = message("2000");
        let at = bytes.len() - 100;
        bytes[at] ^= 1;
        assert!(receive(&[&bytes]).damaged);
        // A relay that stuffs a dot twice.
        let bytes = message("2000");
        let dot = memmem::find(&bytes, b"\r\n..").expect("a stuffed dot") + 2;
        let stuffed = [&bytes[..dot], b".", &bytes[dot..]].concat();
        assert!(receive(&[&stuffed]).damaged);
    }

    #[test]
    fn endless_headers_are_not_kept() {
        let mut content = Content::start(false);
        for _ in 0..1000 {
            content.push(&[b'h'; 1000]);
        }
        assert!(content.head.capacity() <= 2 * HEAD_BYTES_MAX);
        assert_eq!(content.push(b"\r\n.\r\n"), (5, true));
        assert_eq!(content.finish().tracking, None);
    }

    #[test]
    fn failed_recipients_are_read_from_a_bounce() {
        let notice = b"Subject: Undelivered\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
            Reporting-MTA: dns; relay\r\n\r\n\
            Final-Recipient: rfc822; R0@d0.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
            Final-Recipient: rfc822; r1@d0.example\r\nAction: delayed\r\n\r\n\
            Original-Recipient: rfc822;r2@d0.example\r\nFinal-Recipient: rfc822; other@d0.example\r\nAction: failed\r\n\
            \r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nX-Ringpost-Id: 0000000000000005-0000000003\r\n--b--\r\n";
        let (id, failed) = read_failure_notice(notice).expect("a notice");
        assert_eq!(id, TrackingId { run: 5, sequence: 3 });
        assert_eq!(failed, [recipient_key(b"r0@d0.example"), recipient_key(b"r2@d0.example")]);
        assert!(read_failure_notice(b"Subject: hello\r\n\r\nhello\r\n").is_none());
    }
}
