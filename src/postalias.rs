//! `postalias`: build, query, list or change a table of aliases.

use std::ffi::OsString;

use ringpost_shards::failure::Failure;

use crate::map_command::{Entry, MapCommand, input_lines};

/// How it is called.
pub const USAGE: &str = "postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...";

const COMMAND: MapCommand = MapCommand {
    name: "postalias",
    usage: USAGE,
    plain: "Nfinoprsuw",
    split,
    separator: ":\t",
    is_signed: true,
};

/// `postalias`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    COMMAND.call(words)?.run(input_lines)
}

/// A piece of a line of an alias file, in the sense of RFC 822.
#[derive(Debug, PartialEq)]
enum Token {
    Atom(Vec<u8>),
    Quoted(Vec<u8>),
    /// With its parentheses, as written.
    Comment(Vec<u8>),
    /// Without its brackets.
    Literal(Vec<u8>),
    Operator(u8),
}

impl Token {
    fn is(&self, operator: u8) -> bool {
        *self == Token::Operator(operator)
    }

    fn is_operator(&self) -> bool {
        matches!(self, Token::Operator(_))
    }
}

const OPERATORS: &[u8] = b"|%!()<>@,;:\\\".[]";

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The tokens of a line.
fn tokens(line: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        if is_space(byte) {
            rest = after;
            continue;
        }
        let token = match byte {
            b'(' => Token::Comment(comment(rest, &mut rest)),
            b'[' => Token::Literal(until(after, &mut rest, |byte| byte == b']')),
            b'"' => Token::Quoted(until(after, &mut rest, |byte| byte == b'"')),
            byte if byte != b'\\' && OPERATORS.contains(&byte) => {
                rest = after;
                Token::Operator(byte)
            }
            _ => {
                let text = rest;
                Token::Atom(take(text, &mut rest, |byte| is_space(byte) || OPERATORS.contains(&byte)))
            }
        };
        tokens.push(token);
    }
    tokens
}

/// What stands before the first byte that `ends`, a backslash takes the next byte as it is; `rest` begins with that byte.
fn take<'a>(text: &'a [u8], rest: &mut &'a [u8], ends: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut taken = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let byte = match byte {
            b'\\' => {
                at += 1;
                match text.get(at) {
                    Some(&escaped) => escaped,
                    None => break,
                }
            }
            byte if ends(byte) => break,
            byte => byte,
        };
        taken.push(if is_space(byte) { b' ' } else { byte });
        at += 1;
    }
    *rest = &text[at.min(text.len())..];
    taken
}

/// As [`take`], and the byte that ends it is passed by.
fn until<'a>(text: &'a [u8], rest: &mut &'a [u8], ends: impl Fn(u8) -> bool) -> Vec<u8> {
    let taken = take(text, rest, ends);
    *rest = rest.get(1..).unwrap_or_default();
    taken
}

/// A comment as it is written; comments nest.
fn comment<'a>(text: &'a [u8], rest: &mut &'a [u8]) -> Vec<u8> {
    let mut depth = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => at = (at + 1).min(text.len()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    *rest = &text[at..];
    text[..at].to_vec()
}

/// How text is put together again.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// As it is meant, for keys.
    Internal,
    /// Quoted again, for values.
    External,
}

fn text_of(tokens: &[Token], style: Style) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Operator(b',') => {
                text.extend_from_slice(b", ");
                continue;
            }
            Token::Operator(byte) => text.push(*byte),
            Token::Atom(bytes) | Token::Comment(bytes) => text.extend_from_slice(bytes),
            Token::Quoted(bytes) if style == Style::Internal => text.extend_from_slice(bytes),
            Token::Quoted(bytes) => enclose(&mut text, b'"', bytes, b'"', b"\"\\\r\n"),
            Token::Literal(bytes) => enclose(&mut text, b'[', bytes, b']', b"\\\r\n"),
        }
        let Some(next) = tokens.get(index + 1) else { break };
        if next.is(b'<') || (!token.is_operator() && !next.is_operator()) {
            text.push(b' ');
        }
    }
    text
}

fn enclose(text: &mut Vec<u8>, open: u8, bytes: &[u8], close: u8, escaped: &[u8]) {
    text.push(open);
    for &byte in bytes {
        if escaped.contains(&byte) {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(close);
}

fn split(line: &[u8], _remarks: &mut Vec<&'static str>) -> Result<Entry, String> {
    let tokens = tokens(line);
    let no_pair = || "need name:value pair".to_owned();
    let colon = tokens.iter().position(|token| token.is(b':')).ok_or_else(no_pair)?;
    let (key, value) = (&tokens[..colon], &tokens[colon + 1..]);
    if key.is_empty() || value.is_empty() || key.iter().any(|token| token.is(b',')) {
        return Err(no_pair());
    }
    if key.iter().any(|token| token.is(b'@')) {
        return Err("name must be local".to_owned());
    }
    Ok((text_of(key, Style::Internal), text_of(value, Style::External)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let found = match split(line.as_bytes(), &mut Vec::new()) {
            Ok((key, value)) => {
                format!("{} = {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value))
            }
            Err(reason) => reason,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn names_and_values_are_taken_apart() {
        check("root: a, b\tc@d", "root = a, b c@d");
        check("\"q r\": x", "q r = x");
        check("Foo : \"|cmd a b\",:include:/x", "Foo = \"|cmd a b\", :include:/x");
        check("b\\@c: d (comment (nested))", "b@c = d (comment (nested))");
        check("k: \"b c\",<d@e>,[1.2]", "k = \"b c\", <d@e>, [1.2]");
        check("x . y: a\\\"b \"c\\\"d\"", "x.y = a\"b \"c\\\"d\"");
        check("s: \"", "s = \"\"");
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        check("bad", "need name:value pair");
        check("empty:", "need name:value pair");
        check("a, b: c", "need name:value pair");
        check("a@b: c", "name must be local");
    }
}
