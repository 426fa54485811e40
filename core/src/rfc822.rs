//! The tokens of RFC 822 text, as headers, lookup tables and alias files hold it (RFC 5322 §3.2, RFC 822 §3.3).
//!
//! Bytes, because names in headers are in any encoding. Whatever is written becomes tokens, also what no grammar allows;
//! [`Token::print`] writes them again. Limits: so many tokens as the caller says.

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Without backslashes.
    Atom(Vec<u8>),
    /// Without quotes and backslashes.
    Quoted(Vec<u8>),
    /// Without brackets and backslashes.
    Literal(Vec<u8>),
    /// As written, parentheses included.
    Comment(Vec<u8>),
    /// One of [`OPERATORS`].
    Operator(u8),
}

/// RFC 5322 specials (§3.2.3), and three that route.
pub const OPERATORS: &[u8] = b"()<>@,;:\\\".[]%!|";

impl Token {
    /// Whether it is text, and no operator.
    pub fn is_word(&self) -> bool {
        !matches!(self, Token::Operator(_))
    }

    /// Whether it is this operator.
    pub fn is_operator(&self, operator: u8) -> bool {
        *self == Token::Operator(operator)
    }

    /// Appends the token as it is written: with quotes, brackets and the backslashes that it needs in them.
    pub fn print(&self, out: &mut Vec<u8>) {
        let (open, text, special, close) = match self {
            Token::Atom(text) | Token::Comment(text) => return out.extend_from_slice(text),
            Token::Operator(operator) => return out.push(*operator),
            Token::Quoted(text) => (b'"', text, &b"\"\\\r\n"[..], b'"'),
            Token::Literal(text) => (b'[', text, &b"\\\r\n"[..], b']'),
        };
        out.push(open);
        for &byte in text {
            if special.contains(&byte) {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(close);
    }
}

/// Whether white space separates tokens here.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The tokens of a text, `tokens_max` at most; what follows them is dropped.
pub fn scan(text: &[u8], tokens_max: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if is_space(first) {
            rest = after;
            continue;
        }
        if tokens.len() == tokens_max {
            break;
        }
        tokens.push(match first {
            b'(' => {
                let (comment, behind) = rest.split_at(comment_bytes(rest));
                rest = behind;
                Token::Comment(comment.to_vec())
            }
            b'[' | b'"' => {
                let end = if first == b'[' { b']' } else { b'"' };
                rest = after;
                let content = collect(&mut rest, |byte| byte != end);
                rest = rest.get(1..).unwrap_or_default();
                if first == b'[' { Token::Literal(content) } else { Token::Quoted(content) }
            }
            _ if first != b'\\' && OPERATORS.contains(&first) => {
                rest = after;
                Token::Operator(first)
            }
            _ => Token::Atom(collect(&mut rest, |byte| !is_space(byte) && !OPERATORS.contains(&byte))),
        });
    }
    tokens
}

/// Bytes up to the first that does not belong; a backslash lets the next one belong.
fn collect(rest: &mut &[u8], belongs: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        let byte = match byte {
            b'\\' => {
                *rest = after;
                match rest.first() {
                    Some(&escaped) => escaped,
                    None => break,
                }
            }
            byte if belongs(byte) => byte,
            _ => break,
        };
        content.push(if is_space(byte) { b' ' } else { byte });
        *rest = &rest[1..];
    }
    content
}

/// RFC 5322 §3.2.2: comments nest, and have quoted pairs. One without an end goes on to the end of the text.
pub(crate) fn comment_bytes(text: &[u8]) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => at += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}
