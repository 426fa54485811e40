//! The content scanner: message content from the wire, in one pass, into *wire form*.
//!
//! Wire form is what the next hop is sent after its `354`: lines end in CRLF, a line that begins with a dot has one
//! more dot before it, and the final `.` line is not part of it. Content arrives dot-stuffed by DATA and unstuffed by
//! BDAT; both come out alike. No output of this scanner contains a bare CR, a bare LF or a line that is a lone dot,
//! so no way of reading line ends can find a second message inside the first (SMTP smuggling).
//!
//! - Receives: slices of content, cut anywhere; the same content cut otherwise gives the same output.
//! - Sends: wire form appended to the caller's buffer, whole slices at a time.
//! - Limits: constant memory; content beyond the size limit is dropped and remembered as [`ContentScanner::too_big`].
//! - Standards: RFC 5321 §4.5.2 (transparency), §2.3.8 (line ends); RFC 3030 (BDAT).

use memchr::{memchr2, memmem};

/// Content is looked at in blocks for flaws of its lines; a message of usual size has several.
const BLOCK_BYTES: usize = 256;

/// What a bare LF in content is taken for (`smtpd_forbid_bare_newline`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// `normalize`: a line end in content, but only CRLF `.` CRLF ends the message.
    #[default]
    Normalize,
    /// `reject`: as `Normalize` while reading, and the message is refused at its end.
    Reject,
    /// `no`: a line end everywhere; LF `.` LF ends the message, as Postfix 3.8 and older did.
    No,
}

/// How the end of content is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// DATA: dot-stuffed, ended by a line that is a lone dot.
    Dot,
    /// BDAT: counted, not stuffed; the caller knows the end.
    Counted,
}

/// Where in a line the scanner stands. Bytes named as *held* were consumed and not yet written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first byte of a line; `crlf` says that the line before ended in CRLF (or that there is none).
    LineStart { crlf: bool },
    /// A dot at the start of a line is held.
    Dot { crlf: bool },
    /// A dot at the start of a line and a CR are held.
    DotCr { crlf: bool },
    /// Within a line.
    Text,
    /// Within a line; a CR is held.
    Cr,
}

/// What one call of [`ContentScanner::scan`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// Bytes of input taken. All of it unless the content ended.
    pub consumed: usize,
    /// The lone dot was seen.
    pub ended: bool,
}

/// The state of one message's content.
#[derive(Debug, Clone)]
pub struct ContentScanner {
    framing: Framing,
    policy: BareNewline,
    at: At,
    size_bytes: u64,
    limit_bytes: u64,
    too_big: bool,
    bare_lf: bool,
}

impl ContentScanner {
    /// A scanner at the start of a message. `limit_bytes` 0 means no limit.
    pub fn new(framing: Framing, policy: BareNewline, limit_bytes: u64) -> ContentScanner {
        ContentScanner {
            framing,
            policy,
            at: At::LineStart { crlf: true },
            size_bytes: 0,
            limit_bytes,
            too_big: false,
            bare_lf: false,
        }
    }

    /// Bytes of content so far, unstuffed, each line end counted as two: Postfix's `size=` without trace headers.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The content exceeds the limit; what came after it was dropped.
    pub fn too_big(&self) -> bool {
        self.too_big
    }

    /// A bare LF was seen.
    pub fn bare_lf(&self) -> bool {
        self.bare_lf
    }

    /// Takes `input`, appends wire form to `out`, and stops after the end of content.
    pub fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) -> Scanned {
        // In one go, for what usually comes out: what went in.
        out.reserve(input.len());
        let mut at = 0; // next byte to look at
        let mut run = 0; // input[run..at] is clean and not yet appended
        let mut flaw_before = 0; // until here line by line
        while at < input.len() {
            match self.at {
                At::LineStart { crlf } => {
                    if input[at] == b'.' {
                        self.append(&input[run..at], out);
                        run = at;
                        match self.framing {
                            Framing::Dot => {
                                at += 1;
                                run = at;
                                self.at = At::Dot { crlf };
                            }
                            Framing::Counted => {
                                self.append_uncounted_dot(out);
                                self.at = At::Text;
                            }
                        }
                    } else {
                        self.at = At::Text;
                    }
                }
                At::Text => {
                    if at >= flaw_before {
                        at += flawless(&input[at..]);
                        flaw_before = at + BLOCK_BYTES;
                    }
                    let Some(found) = memchr2(b'\r', b'\n', &input[at..]) else {
                        at = input.len();
                        break;
                    };
                    let end = at + found;
                    match (input[end], input.get(end + 1)) {
                        (b'\r', Some(b'\n')) => {
                            at = end + 2;
                            // The common case stays in this arm: the next line begins with text.
                            if input.get(at).is_none_or(|byte| *byte == b'.') {
                                self.at = At::LineStart { crlf: true };
                            }
                        }
                        (b'\r', Some(_)) => {
                            self.append(&input[run..end], out);
                            self.append(b" ", out);
                            at = end + 1;
                            run = at;
                        }
                        (b'\r', None) => {
                            self.append(&input[run..end], out);
                            at = end + 1;
                            run = at;
                            self.at = At::Cr;
                        }
                        _ => {
                            self.append(&input[run..end], out);
                            self.append(b"\r\n", out);
                            self.bare_lf = true;
                            at = end + 1;
                            run = at;
                            self.at = At::LineStart { crlf: false };
                        }
                    }
                }
                At::Cr => {
                    if input[at] == b'\n' {
                        self.append(b"\r\n", out);
                        at += 1;
                        run = at;
                        self.at = At::LineStart { crlf: true };
                    } else {
                        self.append(b" ", out);
                        self.at = At::Text;
                    }
                }
                At::Dot { crlf } => match input[at] {
                    b'\r' => {
                        at += 1;
                        run = at;
                        self.at = At::DotCr { crlf };
                    }
                    b'\n' => {
                        at += 1;
                        run = at;
                        self.bare_lf = true;
                        if self.policy == BareNewline::No {
                            return Scanned { consumed: at, ended: true };
                        }
                        self.append_lone_dot_line(out);
                        self.at = At::LineStart { crlf: false };
                    }
                    _ => {
                        self.append_uncounted_dot(out);
                        self.at = At::Text;
                    }
                },
                At::DotCr { crlf } => {
                    if input[at] == b'\n' {
                        at += 1;
                        run = at;
                        if crlf || self.policy == BareNewline::No {
                            return Scanned { consumed: at, ended: true };
                        }
                        self.append_lone_dot_line(out);
                        self.at = At::LineStart { crlf: true };
                    } else {
                        // The CR is stray: `.` CR text is content that begins with a space once unstuffed.
                        self.append_uncounted_dot(out);
                        self.append(b" ", out);
                        self.at = At::Text;
                    }
                }
            }
        }
        self.append(&input[run..at], out);
        Scanned { consumed: at, ended: false }
    }

    /// Ends counted content: an unfinished last line gets its line end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        assert_eq!(self.framing, Framing::Counted, "the lone dot ends stuffed content");
        match self.at {
            At::LineStart { .. } => {}
            At::Cr => {
                self.append(b" \r\n", out);
            }
            At::Text => self.append(b"\r\n", out),
            At::Dot { .. } | At::DotCr { .. } => unreachable!("counted content holds no dots"),
        }
        self.at = At::LineStart { crlf: true };
    }

    /// Appends counted content, up to the limit.
    fn append(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.too_big || bytes.is_empty() {
            return;
        }
        let mut bytes = bytes;
        if self.limit_bytes > 0 && self.limit_bytes - self.size_bytes < bytes.len() as u64 {
            self.too_big = true;
            bytes = &bytes[..(self.limit_bytes - self.size_bytes) as usize];
        }
        self.size_bytes += bytes.len() as u64;
        out.extend_from_slice(bytes);
    }

    /// Appends the dot that stuffing adds, which is no content.
    fn append_uncounted_dot(&mut self, out: &mut Vec<u8>) {
        if !self.too_big {
            out.push(b'.');
        }
    }

    /// A line that is a lone dot and does not end the message: content, stuffed so that it ends none further on.
    fn append_lone_dot_line(&mut self, out: &mut Vec<u8>) {
        self.append_uncounted_dot(out);
        self.append(b".\r\n", out);
    }
}

/// How many bytes of what goes on within a line can be passed as they are without a look at each line: only CRLF line
/// ends, and no line that begins with a dot. It stops before a CR whose LF it has not looked at, and at a flaw a block
/// early.
fn flawless(text: &[u8]) -> usize {
    if text.first() == Some(&b'\n') {
        return 0;
    }
    let mut passed = 0;
    while let Some(block) = text.get(passed..passed + BLOCK_BYTES + 1) {
        // Every pair of neighbours; without a short cut the loop vectorises.
        let flaws = block.iter().zip(&block[1..]).fold(0u8, |flaws, (&byte, &next)| {
            let ends = u8::from(byte == b'\n');
            flaws | (u8::from(byte == b'\r') ^ u8::from(next == b'\n')) | (ends & u8::from(next == b'.'))
        });
        if flaws != 0 {
            break;
        }
        passed += BLOCK_BYTES;
    }
    if passed > 0 && text[passed - 1] == b'\r' { passed - 1 } else { passed }
}

/// The lines of wire form, without line ends and with stuffing undone. A last line without CRLF is yielded too.
pub fn wire_lines(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = match memmem::find(rest, b"\r\n") {
            Some(end) => (&rest[..end], &rest[end + 2..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        Some(line.strip_prefix(b".").unwrap_or(line))
    })
}

/// Whether `wire` is wire form: only CRLF line ends, no line that is a lone dot, ended by CRLF unless empty.
pub fn is_wire_form(wire: &[u8]) -> bool {
    let mut at = 0;
    while at < wire.len() {
        let Some(found) = memchr2(b'\r', b'\n', &wire[at..]) else { return false };
        let end = at + found;
        if wire[end] != b'\r' || wire.get(end + 1) != Some(&b'\n') || &wire[at..end] == b"." {
            return false;
        }
        at = end + 2;
    }
    true
}
