//! An address as tokens: what rewriting and resolving take apart and put together.
//!
//! Anything becomes tokens, also what no grammar allows: broken addresses are to keep their form, so that whoever looks
//! at them later can tell what is wrong. Comments go. `%`, `!` and `|` are operators, because not all the world routes
//! by RFC 5322.

use std::borrow::Cow;

use crate::address::quote_where_needed;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A run of other characters.
    Atom(String),
    /// A quoted string, without quotes and backslashes.
    Quoted(String),
    /// A domain literal, without brackets and backslashes.
    Literal(String),
    /// A single character with a meaning.
    Operator(char),
}

/// RFC 5322 specials (§3.2.3), and the three that route or deliver where it does not say so.
const OPERATORS: &str = "()<>@,;:\\\".[]%!|";

/// An address, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens(pub(crate) Vec<Token>);

impl Tokens {
    /// Reads an address in its external form, that is with quotes where they are needed.
    pub(crate) fn scan(text: &str) -> Tokens {
        let mut tokens = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(&next) = rest.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' => drop(rest.next()),
                '(' => skip_comment(&mut rest),
                '[' | '"' => {
                    rest.next();
                    let end = if next == '[' { ']' } else { '"' };
                    let content = collect(&mut rest, |c| c != end);
                    rest.next();
                    tokens.push(if next == '[' { Token::Literal(content) } else { Token::Quoted(content) });
                }
                c if c != '\\' && OPERATORS.contains(c) => {
                    rest.next();
                    tokens.push(Token::Operator(c));
                }
                _ => {
                    let content = collect(&mut rest, |c| !is_space(c) && !OPERATORS.contains(c));
                    // What a backslash kept from its meaning needs quotes from here on.
                    let special = |c: char| is_space(c) || c.is_ascii_control() || OPERATORS.contains(c);
                    tokens.push(match content.chars().any(special) {
                        true => Token::Quoted(content),
                        false => Token::Atom(content),
                    });
                }
            }
        }
        Tokens(tokens)
    }

    /// The place of the first such operator.
    pub(crate) fn find(&self, operator: char) -> Option<usize> {
        self.0.iter().position(|token| *token == Token::Operator(operator))
    }

    /// The place of the last such operator.
    pub(crate) fn rfind(&self, operator: char) -> Option<usize> {
        self.0.iter().rposition(|token| *token == Token::Operator(operator))
    }

    /// Whether the token at `place` is this operator.
    pub(crate) fn is(&self, place: usize, operator: char) -> bool {
        self.0.get(place) == Some(&Token::Operator(operator))
    }

    /// Puts more at the end.
    pub(crate) fn append(&mut self, more: Tokens) {
        self.0.extend(more.0);
    }

    /// Takes a dot off the end of a domain, but neither of two dots nor one right behind the `@`: what is broken stays.
    pub(crate) fn strip_trailing_dot(&mut self) {
        let last = self.0.len().wrapping_sub(1);
        if self.0.len() > 1
            && self.is(last, '.')
            && self.rfind('@').is_some()
            && !self.is(last - 1, '.')
            && !self.is(last - 1, '@')
        {
            self.0.pop();
        }
    }

    /// The address, its local part in quotes where it needs them.
    pub(crate) fn address(&self) -> String {
        let internal = self.internal();
        let (local, domain) = internal.split_at(internal.rfind('@').unwrap_or(internal.len()));
        let local = quote_where_needed(Cow::Borrowed(local));
        format!("{local}{domain}")
    }

    /// The address without quotes.
    pub(crate) fn internal(&self) -> String {
        let mut out = String::new();
        let mut after_word = false;
        for token in &self.0 {
            let word = !matches!(token, Token::Operator(_));
            if word && after_word {
                out.push(' ');
            }
            after_word = word;
            match token {
                Token::Atom(text) | Token::Quoted(text) => out.push_str(text),
                Token::Literal(text) => {
                    out.push('[');
                    out.push_str(text);
                    out.push(']');
                }
                Token::Operator(c) => out.push(*c),
            }
        }
        out
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Characters up to the first that does not belong; a backslash lets the next one belong.
fn collect(rest: &mut Characters<'_>, belongs: impl Fn(char) -> bool) -> String {
    let mut content = String::new();
    while let Some(&next) = rest.peek() {
        let escaped = next == '\\';
        if escaped {
            rest.next();
        } else if !belongs(next) {
            break;
        }
        let Some(&c) = rest.peek() else { break };
        content.push(if is_space(c) { ' ' } else { c });
        rest.next();
    }
    content
}

/// RFC 5322 §3.2.2: comments nest, and have quoted pairs.
fn skip_comment(rest: &mut Characters<'_>) {
    let mut depth = 0_u32;
    while let Some(c) = rest.next() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => drop(rest.next()),
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, address: &str, internal: &str) {
        let tokens = Tokens::scan(text);
        assert_eq!((tokens.address().as_str(), tokens.internal().as_str()), (address, internal), "{text}");
    }

    #[test]
    fn forms_are_kept() {
        check("u@d.example", "u@d.example", "u@d.example");
        check("\"a b\"@d", "\"a b\"@d", "a b@d");
        check("\"a\\\"b\"@d", "\"a\\\"b\"@d", "a\"b@d");
        check("a\\ b@d", "\"a b\"@d", "a b@d");
        check("a b@d", "\"a b\"@d", "a b@d");
        check("\"plain\"@d", "plain@d", "plain@d");
        check("u@[192.0.2.1]", "u@[192.0.2.1]", "u@[192.0.2.1]");
        check("u (of (ours))@ d", "u@d", "u@d");
        check("u@..", "u@..", "u@..");
        check("\"a", "a", "a");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            Tokens::scan(&text).address();
        }

        #[test]
        fn what_is_an_address_stays_so(local in "[ -~]{1,8}", domain in "[a-z.]{1,8}") {
            let address = format!("{}@{domain}", quote_where_needed(Cow::Borrowed(&local)));
            prop_assert_eq!(Tokens::scan(&address).address(), address);
        }
    }
}
