//! `postalias`: build, query, list or change a table of aliases.

use std::ffi::OsString;

use ringpost_core::rfc822::{Token, scan};
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
            Token::Quoted(bytes) if style == Style::Internal => text.extend_from_slice(bytes),
            token => token.print(&mut text),
        }
        let Some(next) = tokens.get(index + 1) else { break };
        if next.is_operator(b'<') || (token.is_word() && next.is_word()) {
            text.push(b' ');
        }
    }
    text
}

fn split(line: &[u8], _remarks: &mut Vec<&'static str>) -> Result<Entry, String> {
    let tokens = scan(line, usize::MAX);
    let no_pair = || "need name:value pair".to_owned();
    let colon = tokens.iter().position(|token| token.is_operator(b':')).ok_or_else(no_pair)?;
    let (key, value) = (&tokens[..colon], &tokens[colon + 1..]);
    if key.is_empty() || value.is_empty() || key.iter().any(|token| token.is_operator(b',')) {
        return Err(no_pair());
    }
    if key.iter().any(|token| token.is_operator(b'@')) {
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
