//! MIME structure: where headers of parts begin and end, and which part a line of the body belongs to.
//!
//! Receives: headers and lines of a message, in order. Owns: the boundaries that are open.
//! Limits: `mime_nesting_limit` boundaries, `mime_boundary_length_limit` bytes of each.
//! On failure: [`MimeError`], where the configuration wants to hear of it; the message is read on.
//! Standards: RFC 2045, RFC 2046.

/// What is wrong with a message's MIME, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MimeError {
    /// More open boundaries than `mime_nesting_limit`.
    Nesting,
    /// A byte beyond ASCII in a header.
    EightBitHeader,
    /// A byte beyond ASCII in a body that is said to have none.
    EightBitBody,
    /// A multipart or a message that is encoded as a whole.
    EncodingDomain,
}

impl MimeError {
    /// In Postfix's words.
    pub fn text(self) -> &'static str {
        match self {
            MimeError::Nesting => "MIME nesting exceeds safety limit",
            MimeError::EightBitHeader => "improper use of 8-bit data in message header",
            MimeError::EightBitBody => "improper use of 8-bit data in message body",
            MimeError::EncodingDomain => "invalid message/* or multipart/* encoding domain",
        }
    }
}

/// What the administrator decided about MIME.
#[derive(Debug, Clone, Default)]
pub struct MimeSettings {
    /// `disable_mime_input_processing`: everything behind the first headers is text.
    pub disabled: bool,
    /// `mime_nesting_limit`.
    pub nesting_max: usize,
    /// `mime_boundary_length_limit`, bytes.
    pub boundary_bytes_max: usize,
    /// Too much nesting is an error (something is checked at all).
    pub reports_nesting: bool,
    /// `strict_7bit_headers` or `strict_8bitmime`.
    pub strict_headers: bool,
    /// `strict_8bitmime_body` or `strict_8bitmime`.
    pub strict_body: bool,
    /// `strict_mime_encoding_domain`.
    pub strict_encoding: bool,
}

/// Whose headers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderClass {
    /// The message's own.
    Primary,
    /// Those of a part.
    Multipart,
    /// Those of an attached message.
    Nested,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// `message/rfc822`: headers follow.
    Message,
    /// `message/partial`, `message/external-body`: never encoded.
    MessagePart,
    /// Another `message/…`.
    OtherMessage,
    Multipart,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    SevenBit,
    EightBit,
    Binary,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    fn named(word: &[u8]) -> Option<Encoding> {
        let known: [(&[u8], Encoding); 5] = [
            (b"7bit", Encoding::SevenBit),
            (b"8bit", Encoding::EightBit),
            (b"binary", Encoding::Binary),
            (b"base64", Encoding::Base64),
            (b"quoted-printable", Encoding::QuotedPrintable),
        ];
        known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, encoding)| encoding)
    }

    fn is_identity(self) -> bool {
        !matches!(self, Encoding::Base64 | Encoding::QuotedPrintable)
    }

    fn word(self) -> &'static str {
        match self {
            Encoding::SevenBit => "7bit",
            Encoding::EightBit => "8bit",
            Encoding::Binary => "binary",
            Encoding::Base64 => "base64",
            Encoding::QuotedPrintable => "quoted-printable",
        }
    }
}

#[derive(Debug, Clone)]
struct Boundary {
    text: Vec<u8>,
    /// What its parts are that do not say it.
    default: Kind,
}

/// The state between two lines.
#[derive(Debug, Clone)]
pub(crate) struct Mime {
    /// None in a body.
    headers: Option<HeaderClass>,
    kind: Kind,
    encoding: Encoding,
    boundaries: Vec<Boundary>,
    /// Bytes of the body of this part so far, each line end counted as one.
    offset: u64,
    body_error_told: bool,
    header_error_told: bool,
}

impl Mime {
    pub(crate) fn new() -> Mime {
        Mime {
            headers: Some(HeaderClass::Primary),
            kind: Kind::Text,
            encoding: Encoding::SevenBit,
            boundaries: Vec::new(),
            offset: 0,
            body_error_told: false,
            header_error_told: false,
        }
    }

    /// Whose headers are read; `None` in a body.
    pub(crate) fn headers(&self) -> Option<HeaderClass> {
        self.headers
    }

    /// How far into its part's body the next line is, bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// A line of the body was read.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.offset += bytes as u64;
    }

    /// Whether nothing but text can follow.
    pub(crate) fn is_flat(&self) -> bool {
        self.headers.is_none() && self.boundaries.is_empty()
    }

    /// What `Content-Transfer-Encoding` says once the present part can pass where only 7 bits can; `None` if it can
    /// already, as it is declared.
    pub(crate) fn seven_bit_encoding(&self) -> Option<&'static str> {
        if !matches!(self.encoding, Encoding::EightBit | Encoding::Binary) {
            return None;
        }
        // What is made of parts is encoded in its parts.
        let of_parts = matches!(self.kind, Kind::Multipart | Kind::Message);
        Some(if of_parts { Encoding::SevenBit } else { Encoding::QuotedPrintable }.word())
    }

    /// Whether a line, which begins, ends the present part.
    pub(crate) fn is_boundary(&self, line: &[u8]) -> bool {
        let marked = line.strip_prefix(b"--");
        marked.is_some_and(|line| self.boundaries.iter().any(|boundary| line.starts_with(&boundary.text)))
    }

    /// Takes a header.
    pub(crate) fn header(&mut self, settings: &MimeSettings, name: &[u8], value: &[u8]) -> Option<MimeError> {
        let mut error = None;
        if !settings.disabled {
            if name.eq_ignore_ascii_case(b"Content-Type") {
                error = self.content_type(settings, value);
            } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding")
                && let Some(Token::Word(word)) = parameters(value).next().and_then(|mut t| t.drain(..).next())
                && let Some(encoding) = Encoding::named(&word)
            {
                self.encoding = encoding;
            }
        }
        if settings.strict_headers && !self.header_error_told && !(name.is_ascii() && value.is_ascii()) {
            self.header_error_told = true;
            error = error.or(Some(MimeError::EightBitHeader));
        }
        error
    }

    fn content_type(&mut self, settings: &MimeSettings, value: &[u8]) -> Option<MimeError> {
        let mut all = parameters(value);
        let first = all.next().filter(|tokens| !tokens.is_empty())?;
        let is = |token: Option<&Token>, word: &[u8]| matches!(token, Some(Token::Word(text)) if text.eq_ignore_ascii_case(word));
        let subtype = first.get(2).filter(|_| first.get(1) == Some(&Token::Special(b'/')));
        if is(first.first(), b"text") {
            self.kind = Kind::Text;
        } else if is(first.first(), b"message") {
            self.kind = if is(subtype, b"rfc822") {
                Kind::Message
            } else if is(subtype, b"partial") || is(subtype, b"external-body") {
                Kind::MessagePart
            } else {
                Kind::OtherMessage
            };
        } else if is(first.first(), b"multipart") {
            self.kind = Kind::Multipart;
            let default = if is(subtype, b"digest") { Kind::Message } else { Kind::Text };
            // All of several boundaries count, as somebody who hides something may write them.
            for tokens in all {
                let (true, Some(Token::Special(b'=')), Some(text)) =
                    (is(tokens.first(), b"boundary"), tokens.get(1), tokens.get(2))
                else {
                    continue;
                };
                let (Token::Word(text) | Token::Quoted(text)) = text else { continue };
                let text = text[..text.len().min(settings.boundary_bytes_max)].to_vec();
                // Said again it is no level of its own.
                if self.boundaries.last().is_some_and(|open| open.text == text) {
                    continue;
                }
                if self.boundaries.len() > settings.nesting_max {
                    return settings.reports_nesting.then_some(MimeError::Nesting);
                }
                self.boundaries.push(Boundary { text, default });
            }
        } else {
            self.kind = Kind::Other;
        }
        None
    }

    /// The headers are over: with a blank line, or with text that is none. The second is what the error is about.
    pub(crate) fn end_of_headers(
        &mut self,
        settings: &MimeSettings,
        blank: bool,
    ) -> Option<(MimeError, &'static str)> {
        let encoded = match self.kind {
            Kind::MessagePart => self.encoding != Encoding::SevenBit && self.encoding.is_identity(),
            Kind::Message | Kind::Multipart => !self.encoding.is_identity(),
            _ => false,
        };
        let error = (settings.strict_encoding && encoded)
            .then_some((MimeError::EncodingDomain, self.encoding.word()));
        match self.kind {
            Kind::Message if blank && !settings.disabled => {
                self.headers = Some(HeaderClass::Nested);
                self.kind = Kind::Text;
                self.encoding = Encoding::SevenBit;
                return error;
            }
            // What stands before the first part is plain, whatever was said of the parts.
            Kind::Multipart if blank => {
                self.kind = Kind::Other;
                self.encoding = Encoding::SevenBit;
            }
            _ => {}
        }
        self.headers = None;
        self.offset = 0;
        error
    }

    /// Takes a line of a body; `begins` says that it is no continuation of a long one.
    pub(crate) fn body_line(
        &mut self,
        settings: &MimeSettings,
        line: &[u8],
        begins: bool,
    ) -> Option<MimeError> {
        let mut error = None;
        if settings.strict_body
            && self.encoding == Encoding::SevenBit
            && !self.body_error_told
            && !line.is_ascii()
        {
            self.body_error_told = true;
            error = Some(MimeError::EightBitBody);
        }
        if begins && line.len() > 2 && line.starts_with(b"--") && !self.boundaries.is_empty() {
            self.boundary(&line[2..]);
        }
        error
    }

    fn boundary(&mut self, line: &[u8]) {
        let Some(open) = self.boundaries.iter().rposition(|boundary| line.starts_with(&boundary.text)) else {
            return;
        };
        self.boundaries.truncate(open + 1);
        let Some(boundary) = self.boundaries.last() else { return };
        let ends = line[boundary.text.len()..].starts_with(b"--");
        self.encoding = Encoding::SevenBit;
        if ends {
            self.boundaries.pop();
            self.kind = Kind::Other;
            self.offset = 0;
        } else {
            self.kind = boundary.default;
            self.headers = Some(HeaderClass::Multipart);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Vec<u8>),
    Quoted(Vec<u8>),
    Special(u8),
}

/// The parameters of a header, each as its tokens; comments and white space go.
fn parameters(value: &[u8]) -> impl Iterator<Item = Vec<Token>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut tokens = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => rest = after,
                b';' => {
                    rest = after;
                    break;
                }
                b'(' => rest = &rest[crate::rfc822::comment_bytes(rest)..],
                b'"' => {
                    rest = after;
                    tokens.push(Token::Quoted(quoted(&mut rest)));
                }
                _ if is_special(byte) => {
                    rest = after;
                    tokens.push(Token::Special(byte));
                }
                _ => {
                    let ends =
                        |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';') || is_special(*byte);
                    let end = rest.iter().position(ends).unwrap_or(rest.len());
                    tokens.push(Token::Word(rest[..end].to_vec()));
                    rest = &rest[end..];
                }
            }
        }
        Some(tokens)
    })
}

/// RFC 2045 §5.1 tspecials, and controls.
fn is_special(byte: u8) -> bool {
    b"()<>@,;:\\\"/[]?=".contains(&byte) || byte.is_ascii_control()
}

fn quoted(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        *rest = after;
        match byte {
            b'"' => break,
            b'\n' | b'\r' => {}
            b'\\' => {
                let Some((&escaped, after)) = rest.split_first() else { break };
                *rest = after;
                text.push(escaped);
            }
            _ => text.push(byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> MimeSettings {
        MimeSettings { nesting_max: 3, boundary_bytes_max: 2048, ..MimeSettings::default() }
    }

    /// Reads lines; tells for each whose header it is (P, M, N), `b` for body, and errors.
    fn read(settings: &MimeSettings, text: &str) -> String {
        let mut mime = Mime::new();
        let mut told = String::new();
        for line in text.split_inclusive('\n').map(|line| line.trim_end_matches('\n')) {
            let error = match (mime.headers(), line.split_once(':')) {
                (Some(class), Some((name, value))) => {
                    told.push(match class {
                        HeaderClass::Primary => 'P',
                        HeaderClass::Multipart => 'M',
                        HeaderClass::Nested => 'N',
                    });
                    mime.header(settings, name.as_bytes(), value.as_bytes())
                }
                (headers, _) => {
                    told.push('b');
                    let ended = match headers {
                        Some(_) => mime.end_of_headers(settings, line.is_empty()).map(|(error, _)| error),
                        None => None,
                    };
                    ended.or_else(|| match mime.headers() {
                        None => mime.body_line(settings, line.as_bytes(), true),
                        Some(_) => None,
                    })
                }
            };
            if error.is_some() {
                told.push('!');
            }
        }
        told
    }

    #[test]
    fn parts_and_attached_messages_have_headers() {
        let text = "Content-Type: multipart/mixed;\n\tboundary=\"x y\"\n";
        let text = format!(
            "{}\n--x y\nA: b\n\ntext\n--x y\nContent-Type: message/rfc822\n\nSubject: x\n\nbody\n--x y--\nA: b\n",
            text.replace(";\n\t", "; ").trim_end_matches('\n').to_owned() + "\n"
        );
        assert_eq!(read(&settings(), &text), "PbbMbbbMbNbbbb");
        let digest = "Content-Type: multipart/digest (so); boundary=x\n\n--x\n\nSubject: y\n\nbody\n--x--\n";
        assert_eq!(read(&settings(), digest), "PbbbNbbb");
        let disabled = MimeSettings { disabled: true, ..settings() };
        assert_eq!(read(&disabled, digest), "Pbbbbbbb");
    }

    #[test]
    fn boundaries_nest_up_to_a_limit() {
        let level = |n: u32| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n");
        let text: String = (0..6).map(level).collect();
        assert_eq!(read(&settings(), &text), "PbbMbbMbbMbbMbbbbb");
        let reports = MimeSettings { reports_nesting: true, ..settings() };
        assert!(read(&reports, &text).contains("M!"));
    }

    #[test]
    fn strictness_finds_what_is_not_declared() {
        let strict =
            MimeSettings { strict_headers: true, strict_body: true, strict_encoding: true, ..settings() };
        assert_eq!(read(&strict, "A: \u{e9}\n\n\u{e9}\n\u{e9}\n"), "P!bb!b");
        assert_eq!(read(&strict, "Content-Transfer-Encoding: 8bit\n\n\u{e9}\n"), "Pbb");
        let encoded = "Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: base64\n\n";
        assert_eq!(read(&strict, encoded), "PPb!");
        assert_eq!(read(&settings(), encoded), "PPb");
    }
}
