//! The messages that a source sends: who they are for, how large, and their bytes.
//!
//! Everything about message `sequence` follows from a [`Plan`] and the number, so that the source, the sink and the
//! check at the end agree without telling each other.
//!
//! Owns: the tracking id, the headers by which a sink knows a message again, the generator.
//!
//! A message costs one copy of its bytes: the headers are a template whose fixed-width fields are overwritten, the body
//! is a slice of text made once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::date::RfcDate;
use crate::size::SizeDistribution;

/// Header that carries the [`TrackingId`].
pub const ID_HEADER: &str = "X-Ringpost-Id: ";
/// Header that carries the time of sending, µs since 1970, as 16 digits.
pub const SENT_HEADER: &str = "X-Ringpost-Sent: ";
/// Header that carries the body's length in bytes (10 digits) and CRC-32C (8 hexadecimal digits), both in wire form:
/// CRLF, dots stuffed, without the final dot.
pub const BODY_HEADER: &str = "X-Ringpost-Body: ";

/// Bytes of one line of body text on the wire, with its CRLF.
const LINE_BYTES: usize = 80;

/// Every so many lines of body text one begins with a dot, so that dot-stuffing is exercised.
const DOT_LINE_EVERY: usize = 16;

/// Most recipients of one message: what RFC 5321 §4.5.3.1.8 asks every server to take is 100; a test may ask more.
pub const RECIPIENTS_MAX: u32 = 100_000;

/// Names one message for ever: the run that sent it and its number in that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackingId {
    /// Which run.
    pub run: u64,
    /// Which message of the run, from 0.
    pub sequence: u64,
}

impl TrackingId {
    /// Bytes of the printed form.
    const TEXT_BYTES: usize = 16 + 1 + 10;

    /// Reads the printed form from the start of `text`; what follows it does not matter.
    pub fn parse_prefix(text: &[u8]) -> Option<TrackingId> {
        let (run, rest) = text.split_at_checked(16)?;
        let run = u64::from_str_radix(std::str::from_utf8(run).ok()?, 16).ok()?;
        let sequence = leading_number(rest.strip_prefix(b"-")?)?;
        Some(TrackingId { run, sequence })
    }
}

impl fmt::Display for TrackingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}-{:010}", self.run, self.sequence)
    }
}

impl FromStr for TrackingId {
    type Err = String;

    fn from_str(text: &str) -> Result<TrackingId, String> {
        TrackingId::parse_prefix(text.as_bytes())
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| format!("not a tracking id: {text:?}"))
    }
}

/// The decimal number at the start of `text`.
pub(crate) fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// The hash by which ledgers know a recipient: of the address as ASCII in lower case.
pub fn recipient_key(address: &[u8]) -> u64 {
    // FNV-1a: the same in every process and run, which seeded hashers are not.
    address.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What a source is going to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the run in every tracking id.
    pub run: u64,
    /// Envelope sender; empty for the null reverse-path.
    pub sender: String,
    /// Recipients of each message, 1 to [`RECIPIENTS_MAX`].
    pub recipients: u32,
    /// Recipient domains in turn.
    pub domains: u32,
    /// A recipient's address: `{n}` is its number in the message, `{d}` its domain's number, `{i}` the message's.
    pub recipient_template: String,
    /// Message sizes.
    pub sizes: SizeDistribution,
    /// Seed of the sizes and of the body text.
    pub seed: u64,
}

impl Plan {
    /// Checks that the plan can be carried out and accounted for.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        if self.recipients == 0 || self.recipients > RECIPIENTS_MAX {
            return Err(format!("recipients: 1 to {RECIPIENTS_MAX}, not {}", self.recipients));
        }
        if self.domains == 0 {
            return Err("domains: at least 1".into());
        }
        let mut keys: Vec<u64> = (0..self.recipients).map(|number| self.recipient_key(0, number)).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() != self.recipients as usize {
            return Err(format!(
                "the recipients of one message must differ, or deliveries cannot be counted: put {{n}} into the \
                 recipient template {:?}",
                self.recipient_template
            ));
        }
        let mut address = String::new();
        self.recipient(0, 0, &mut address);
        if !address.contains('@') || address.bytes().any(|byte| byte <= b' ' || byte == b'<' || byte == b'>')
        {
            return Err(format!("the recipient template gives {address:?}, which is not an address"));
        }
        if self.sender.bytes().any(|byte| byte <= b' ' || byte == b'<' || byte == b'>') {
            return Err(format!("the sender {:?} is not an address", self.sender));
        }
        Ok(())
    }

    /// Appends the address of recipient `number` of message `sequence`.
    pub fn recipient(&self, sequence: u64, number: u32, out: &mut String) {
        use fmt::Write as _;
        let domain =
            (sequence.wrapping_mul(u64::from(self.recipients)) + u64::from(number)) % u64::from(self.domains);
        let mut rest = self.recipient_template.as_str();
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            let field = rest[open..].get(..3);
            // Writing to a String cannot fail.
            let _ = match field {
                Some("{n}") => write!(out, "{number}"),
                Some("{d}") => write!(out, "{domain}"),
                Some("{i}") => write!(out, "{sequence}"),
                _ => {
                    out.push('{');
                    rest = &rest[open + 1..];
                    continue;
                }
            };
            rest = &rest[open + 3..];
        }
        out.push_str(rest);
    }

    /// [`recipient_key`] of recipient `number` of message `sequence`.
    pub fn recipient_key(&self, sequence: u64, number: u32) -> u64 {
        let mut address = String::new();
        self.recipient(sequence, number, &mut address);
        recipient_key(address.as_bytes())
    }

    /// Size of message `sequence` in bytes, as sent, without the final dot.
    pub fn size(&self, sequence: u64) -> usize {
        self.sizes.sample(self.seed, sequence)
    }
}

/// Makes the bytes of a plan's messages. One per thread; clones share the body text.
#[derive(Clone)]
pub struct Generator {
    plan: Arc<Plan>,
    template: Vec<u8>,
    fields: Fields,
    text: Arc<[u8]>,
    date: RfcDate,
    checksum: Option<(usize, u32)>,
    address: String,
}

/// Where the fields lie in the template.
#[derive(Clone, Copy, Default)]
struct Fields {
    ids: [usize; 3],
    sent: usize,
    body: usize,
    date: usize,
}

/// A generated message: what precedes the shared text is in the caller's buffer.
pub struct Generated {
    /// So many bytes of [`Generator::text`], from its start, follow the head; then the final dot.
    pub text_bytes: usize,
}

impl Generator {
    /// Prepares template and text for a plan.
    pub fn new(plan: Arc<Plan>) -> Generator {
        let mut template = Vec::with_capacity(512);
        let mut fields = Fields::default();
        let id_blank = [b'0'; TrackingId::TEXT_BYTES];
        let mut line = |name: &str, value: &[u8], after: &[u8]| {
            template.extend_from_slice(name.as_bytes());
            let at = template.len();
            template.extend_from_slice(value);
            template.extend_from_slice(after);
            template.extend_from_slice(b"\r\n");
            at
        };
        fields.ids[0] = line(ID_HEADER, &id_blank, b"");
        fields.sent = line(SENT_HEADER, &[b'0'; 16], b"");
        fields.body = line(BODY_HEADER, b"0000000000:00000000", b"");
        fields.date = line("Date: ", &[b' '; RfcDate::BYTES], b"");
        let from = if plan.sender.is_empty() { "nobody@ringpost.invalid" } else { &plan.sender };
        line("From: ", b"<", format!("{from}>").as_bytes());
        fields.ids[1] = line("Message-Id: <", &id_blank, b"@loadgen.ringpost.invalid>");
        fields.ids[2] = line("Subject: Load test message ", &id_blank, b"");
        line("MIME-Version: ", b"1.0", b"");
        line("Content-Type: ", b"text/plain; charset=us-ascii", b"");
        let text = body_text(plan.sizes.largest(), plan.seed);
        Generator {
            plan,
            template,
            fields,
            text,
            date: RfcDate::default(),
            checksum: None,
            address: String::new(),
        }
    }

    /// The body text that messages share, in wire form.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The same, for one who must keep it while the generator goes on.
    pub fn shared_text(&self) -> Arc<[u8]> {
        Arc::clone(&self.text)
    }

    /// Puts headers and the first line of message `sequence` into `head`, replacing what it holds. `now_us` is the time
    /// of sending in µs since 1970.
    ///
    /// The message is as large as the plan says; one that is to be smaller than its headers has an empty body.
    pub fn generate(&mut self, sequence: u64, now_us: u64, head: &mut Vec<u8>) -> Generated {
        let id = TrackingId { run: self.plan.run, sequence }.to_string();
        head.clear();
        head.extend_from_slice(&self.template);
        for at in self.fields.ids {
            head[at..at + TrackingId::TEXT_BYTES].copy_from_slice(&id.as_bytes()[..TrackingId::TEXT_BYTES]);
        }
        put_digits(&mut head[self.fields.sent..][..16], now_us);
        let date = self.date.at(now_us / 1_000_000);
        head[self.fields.date..self.fields.date + RfcDate::BYTES].copy_from_slice(date);
        self.address.clear();
        self.plan.recipient(sequence, 0, &mut self.address);
        head.extend_from_slice(b"To: <");
        head.extend_from_slice(self.address.as_bytes());
        head.extend_from_slice(b">\r\n\r\n");

        let header_bytes = head.len();
        let body_bytes = self.plan.size(sequence).saturating_sub(header_bytes);
        // A first line fills up to a whole number of lines of the shared text. It has at least its CRLF, or the body
        // is empty.
        let text_bytes = body_bytes.saturating_sub(2) / LINE_BYTES * LINE_BYTES;
        if body_bytes >= 2 {
            head.resize(header_bytes + body_bytes - text_bytes - 2, b'-');
            head.extend_from_slice(b"\r\n");
        }
        let body_bytes = head.len() - header_bytes + text_bytes;
        let crc = match self.checksum {
            Some((bytes, crc)) if bytes == body_bytes => crc,
            _ => {
                let crc =
                    crc32c::crc32c_append(crc32c::crc32c(&head[header_bytes..]), &self.text[..text_bytes]);
                self.checksum = Some((body_bytes, crc));
                crc
            }
        };
        put_digits(&mut head[self.fields.body..][..10], body_bytes as u64);
        let hex = b"0123456789abcdef";
        for (index, digit) in head[self.fields.body + 11..][..8].iter_mut().enumerate() {
            *digit = hex[(crc >> (28 - 4 * index)) as usize & 15];
        }
        Generated { text_bytes }
    }
}

/// Writes a number as decimal digits that fill the whole field.
fn put_digits(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Lines of printable text, at least `bytes` of them, some with a stuffed dot at their start.
fn body_text(bytes: usize, seed: u64) -> Arc<[u8]> {
    let mut random = fastrand::Rng::with_seed(seed);
    let alphabet = b"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789";
    let mut text = Vec::with_capacity(bytes + LINE_BYTES);
    let mut line_number = 0;
    while text.len() < bytes {
        let start = text.len();
        if line_number % DOT_LINE_EVERY == 1 {
            text.extend_from_slice(b"..");
        }
        while text.len() < start + LINE_BYTES - 2 {
            text.push(alphabet[random.usize(..alphabet.len())]);
        }
        text.extend_from_slice(b"\r\n");
        line_number += 1;
    }
    text.into()
}

/// What a sink reads in the headers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// The message.
    pub id: TrackingId,
    /// When it was sent, µs since 1970; 0 if the header is missing.
    pub sent_us: u64,
    /// Length of the body in bytes and its CRC-32C, as sent; none if the header is missing.
    pub body: Option<(u64, u32)>,
}

impl Tracking {
    /// Finds the tracking headers among `headers`; none if there is no id.
    pub fn find(headers: &[u8]) -> Option<Tracking> {
        let value = |name: &str| {
            memchr::memmem::find_iter(headers, name.as_bytes())
                .find(|&at| at == 0 || headers[at - 1] == b'\n')
                .map(|at| &headers[at + name.len()..])
        };
        let id = TrackingId::parse_prefix(value(ID_HEADER)?)?;
        let sent_us = value(SENT_HEADER).and_then(leading_number).unwrap_or(0);
        let body = value(BODY_HEADER).and_then(|text| {
            let bytes = leading_number(text)?;
            let crc = text.get(11..19)?;
            Some((bytes, u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?))
        });
        Some(Tracking { id, sent_us, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sizes: &str) -> Plan {
        Plan {
            run: 0xabc,
            sender: "from@client.example".into(),
            recipients: 2,
            domains: 3,
            recipient_template: "r{n}@d{d}.example".into(),
            sizes: sizes.parse().expect("a size"),
            seed: 7,
        }
    }

    fn message(plan: &Plan, sequence: u64) -> Vec<u8> {
        let mut generator = Generator::new(Arc::new(plan.clone()));
        let mut bytes = Vec::new();
        let generated = generator.generate(sequence, 1_700_000_000_123_456, &mut bytes);
        bytes.extend_from_slice(&generator.text()[..generated.text_bytes]);
        bytes
    }

    #[test]
    fn messages_have_exactly_the_size_asked_for() {
        for size in [480, 481, 482, 560, 561, 562, 1000, 4096, 5000, 65_536] {
            let bytes = message(&plan(&size.to_string()), 5);
            assert!(bytes.len() == size || size < 490, "{size}: {}", bytes.len());
            assert!(bytes.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn messages_are_valid_on_the_wire() {
        for size in ["100", "600", "601", "4096", "70001"] {
            let bytes = message(&plan(size), 12);
            let text = String::from_utf8(bytes).expect("ASCII");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "no bare CR or LF");
            let (headers, body) = text.split_once("\r\n\r\n").expect("a blank line");
            for name in ["Date", "From", "To", "Message-Id", "Subject", "X-Ringpost-Id"] {
                let prefix = format!("{name}: ");
                assert_eq!(
                    headers.split("\r\n").filter(|line| line.starts_with(&prefix)).count(),
                    1,
                    "{name}"
                );
            }
            assert!(headers.contains("Date: Tue, 14 Nov 2023 22:13:20 +0000"));
            assert!(text.split("\r\n").all(|line| line.len() <= 998));
            assert!(body.split("\r\n").all(|line| !line.starts_with('.') || line.starts_with("..")));
        }
        assert!(
            message(&plan("4096"), 0).windows(4).any(|bytes| bytes == b"\r\n.."),
            "a line with a dot to stuff"
        );
    }

    #[test]
    fn a_sink_finds_the_tracking_headers_below_those_of_relays() {
        let plan = plan("3000");
        let bytes = message(&plan, 99);
        let relayed = [b"Received: from X-Ringpost-Id: x\r\n by relay\r\n", &bytes[..]].concat();
        let tracking = Tracking::find(&relayed).expect("tracked");
        assert_eq!(tracking.id, TrackingId { run: 0xabc, sequence: 99 });
        assert_eq!(tracking.sent_us, 1_700_000_000_123_456);
        let body_at = memchr::memmem::find(&bytes, b"\r\n\r\n").expect("a blank line") + 4;
        let body = &bytes[body_at..];
        assert_eq!(tracking.body, Some((body.len() as u64, crc32c::crc32c(body))));
        assert_eq!(Tracking::find(b"Subject: none\r\n"), None);
    }

    #[test]
    fn tracking_ids_survive_printing() {
        let id = TrackingId { run: u64::MAX - 3, sequence: 12_345_678_901 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("abc".parse::<TrackingId>().is_err());
        assert!("0000000000000abc-".parse::<TrackingId>().is_err());
    }

    #[test]
    fn recipients_follow_from_the_plan() {
        let plan = plan("1000");
        let mut address = String::new();
        plan.recipient(4, 1, &mut address);
        assert_eq!(address, "r1@d0.example");
        assert_eq!(plan.recipient_key(4, 1), recipient_key(b"R1@D0.Example"));
        assert_eq!(plan.check(), Ok(()));
        let same = Plan { recipient_template: "r@d.example".into(), ..plan.clone() };
        assert!(same.check().is_err());
        let odd = Plan { recipient_template: "r{n}{x}{".into(), ..plan };
        assert!(odd.check().is_err());
    }
}
