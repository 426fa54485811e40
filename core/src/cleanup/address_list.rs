//! A list of addresses as a header or a lookup table writes it, with everything that stands around them.
//!
//! Whatever is written can be printed again: names, comments, groups, and what no grammar allows. Only addresses are
//! set apart, so that they can be exchanged. A comma that is missing between two addresses is put in. Printed lists have
//! one address a line, for [`folded`] to put together again.
//!
//! Bytes, because names in headers are in any encoding; an address that is not UTF-8 is left as it is.
//! Limits: so many tokens as the caller says; the rest of the text is dropped, as Postfix drops it
//! (`header_address_token_limit`). Standards: RFC 5322 §3.4; RFC 2822 §4.4 for what is obsolete.

use std::borrow::Cow;

use crate::rewrite::tokens::Tokens;
use crate::rfc822::{OPERATORS, Token, is_space, scan};

/// More text than this around one address is dropped: older mail systems are said to overrun a buffer of 256 bytes.
const TEXT_AROUND_BYTES_MAX: usize = 250;

/// A folded line has about so many bytes, the white space at its beginning counted as one.
const FOLDED_LINE_BYTES: usize = 70;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// An address, as it was written but for white space and comments.
    Address(Vec<u8>),
    /// An address that has been put in the place of another, in standard form.
    Exchanged(String),
    /// Anything else.
    Other(Token),
}

impl Node {
    fn is_operator(&self, operator: u8) -> bool {
        matches!(self, Node::Other(token) if token.is_operator(operator))
    }

    fn is_word(&self) -> bool {
        !matches!(self, Node::Other(Token::Operator(_)))
    }
}

/// A list of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressList {
    nodes: Vec<Node>,
}

impl AddressList {
    /// Reads a list, of `tokens_max` tokens at most.
    pub(crate) fn parse(text: &[u8], tokens_max: usize) -> AddressList {
        let mut parser =
            Parser { tokens: scan_list(text, tokens_max), pending: Vec::new(), done: Vec::new() };
        parser.run();
        parser.done.reverse();
        AddressList { nodes: parser.done }
    }

    /// The addresses in order, each as it was written; those that are not UTF-8 are left out.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Address(text) => std::str::from_utf8(text).ok(),
            Node::Exchanged(text) => Some(text.as_str()),
            Node::Other(_) => None,
        })
    }

    /// The places of the addresses that can be exchanged.
    pub(crate) fn places(&self) -> Vec<usize> {
        let exchangeable = |node: &Node| match node {
            Node::Address(text) => std::str::from_utf8(text).is_ok(),
            _ => false,
        };
        (0..self.nodes.len()).filter(|&place| exchangeable(&self.nodes[place])).collect()
    }

    /// The address at one of [`AddressList::places`].
    pub(crate) fn at(&self, place: usize) -> &str {
        match &self.nodes[place] {
            Node::Address(text) => std::str::from_utf8(text).unwrap_or_default(),
            Node::Exchanged(text) => text,
            Node::Other(_) => "",
        }
    }

    /// Puts another address in the place of one.
    pub(crate) fn exchange(&mut self, place: usize, address: String) {
        self.nodes[place] = Node::Exchanged(address);
    }

    /// The list as text, a line end (LF) after each comma.
    pub(crate) fn print(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Where the expression between two commas begins, its address, and how long that is as printed.
        let mut start = 0;
        let mut address: Option<(Cow<'_, str>, usize)> = None;
        for (index, node) in self.nodes.iter().enumerate() {
            let next = self.nodes.get(index + 1);
            match node {
                Node::Address(_) | Node::Exchanged(_) => {
                    let text = printed_address(node);
                    out.extend_from_slice(&text);
                    address = Some((String::from_utf8_lossy(&text).into_owned().into(), text.len()));
                }
                Node::Other(Token::Operator(b',')) => {
                    shorten(&mut out, start, address.take());
                    out.extend_from_slice(b",\n");
                    start = out.len();
                    continue;
                }
                Node::Other(token) => {
                    if token.is_operator(b'<') && next.is_some_and(|next| next.is_operator(b'>')) {
                        address = Some(("".into(), 0));
                    }
                    token.print(&mut out);
                }
            }
            let Some(next) = next else { continue };
            let group_begins = node.is_operator(b':');
            if group_begins || next.is_operator(b'<') || (node.is_word() && next.is_word()) {
                out.push(b' ');
            }
        }
        shorten(&mut out, start, address);
        out
    }
}

/// A printed list in lines of a header: as many addresses in a line as fit. `name_bytes` stand before it in its first
/// line. Lines end in CRLF and begin with a tab, except that the last has no end.
pub(crate) fn folded(list: &[u8], name_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(list.len() + 16);
    let mut line_bytes = name_bytes;
    for (index, address) in list.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            if line_bytes + 1 + address.len() < FOLDED_LINE_BYTES {
                out.push(b' ');
                line_bytes += 1;
            } else {
                out.extend_from_slice(b"\r\n\t");
                line_bytes = 0;
            }
        }
        out.extend_from_slice(address);
        line_bytes += address.len();
    }
    out
}

/// Takes the text around an address away if there is too much of it.
fn shorten(out: &mut Vec<u8>, start: usize, address: Option<(Cow<'_, str>, usize)>) {
    if let Some((text, bytes)) = address
        && out.len() - bytes > start + TEXT_AROUND_BYTES_MAX
    {
        out.truncate(start);
        out.push(b'<');
        out.extend_from_slice(text.as_bytes());
        out.push(b'>');
    }
}

/// An address with the quotes that it needs.
fn printed_address(node: &Node) -> Cow<'_, [u8]> {
    match node {
        Node::Exchanged(text) => Cow::Borrowed(text.as_bytes()),
        Node::Address(text) => match std::str::from_utf8(text) {
            Ok(text) => Cow::Owned(Tokens::scan(text).address().into_bytes()),
            Err(_) => Cow::Borrowed(text),
        },
        Node::Other(_) => Cow::Borrowed(b""),
    }
}

/// The tokens of one address as text.
fn printed_tokens(tokens: &[Token]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        token.print(&mut out);
        if tokens.get(index + 1).is_some_and(|next| token.is_word() && next.is_word()) {
            out.push(b' ');
        }
    }
    out
}

/// Sets addresses apart, from right to left: what a word is shows only by what follows it.
struct Parser {
    tokens: Vec<Token>,
    /// Tokens of what may be an address, last first.
    pending: Vec<Token>,
    /// What is decided, last first.
    done: Vec<Node>,
}

impl Parser {
    fn run(&mut self) {
        // Another word may come; a group is open (its `;` has been seen).
        let (mut word_may_come, mut in_group) = (true, false);
        while let Some(token) = self.tokens.pop() {
            match token {
                Token::Comment(_) => self.done.push(Node::Other(token)),
                Token::Operator(b';') => {
                    self.group(true);
                    self.done.push(Node::Other(token));
                    (word_may_come, in_group) = (true, true);
                }
                Token::Operator(b':') if in_group => {
                    self.group(false);
                    self.done.push(Node::Other(token));
                    self.pass_over(b",");
                }
                Token::Operator(b'>') => {
                    self.group(true);
                    self.done.push(Node::Other(token));
                    self.route();
                    self.pass_over(b">;,:");
                    word_may_come = true;
                }
                Token::Operator(b',') => {
                    self.group(false);
                    self.done.push(Node::Other(token));
                    word_may_come = true;
                }
                Token::Operator(_) => {
                    self.pending.push(token);
                    word_may_come = true;
                }
                Token::Atom(_) | Token::Quoted(_) | Token::Literal(_) => {
                    if !word_may_come {
                        self.group(true);
                    }
                    self.pending.push(token);
                    word_may_come = false;
                }
            }
        }
        self.group(false);
    }

    /// What is pending is an address. With `comma` there must be one before it.
    fn group(&mut self, comma: bool) {
        if self.pending.is_empty() {
            return;
        }
        self.pending.reverse();
        let text = printed_tokens(&self.pending);
        self.pending.clear();
        self.done.push(Node::Address(text));
        if comma {
            self.done.push(Node::Other(Token::Operator(b',')));
        }
    }

    /// The address between brackets, whose `>` has been seen.
    fn route(&mut self) {
        while let Some(token) = self.tokens.pop() {
            match token {
                Token::Comment(_) => self.done.push(Node::Other(token)),
                Token::Operator(b'<') => {
                    self.group(false);
                    self.done.push(Node::Other(token));
                    return;
                }
                _ => self.pending.push(token),
            }
        }
        self.group(false);
    }

    /// What stands before the next of these operators is no address.
    fn pass_over(&mut self, until: &[u8]) {
        while let Some(token) = self.tokens.pop() {
            if matches!(token, Token::Operator(operator) if until.contains(&operator)) {
                self.tokens.push(token);
                return;
            }
            self.done.push(Node::Other(token));
        }
    }
}

/// The tokens of a list. An atom that backslashes have given what no atom may have is a quoted word.
fn scan_list(text: &[u8], tokens_max: usize) -> Vec<Token> {
    let special = |byte: &u8| is_space(*byte) || byte.is_ascii_control() || OPERATORS.contains(byte);
    let mut tokens = scan(text, tokens_max);
    for token in &mut tokens {
        if let Token::Atom(content) = token
            && content.iter().any(special)
        {
            *token = Token::Quoted(std::mem::take(content));
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MANY: usize = 10_240;

    /// The addresses of a text, and how the whole is printed.
    fn check(text: &str, addresses: &[&str], printed: &str) {
        let list = AddressList::parse(text.as_bytes(), MANY);
        assert_eq!(list.addresses().collect::<Vec<_>>(), addresses, "{text}");
        assert_eq!(String::from_utf8(list.print()).expect("text"), printed, "{text}");
    }

    #[test]
    fn addresses_are_found_among_names_comments_and_groups() {
        check("a@b", &["a@b"], "a@b");
        check("A B <a@b>, c@d", &["a@b", "c@d"], "A B <a@b>,\nc@d");
        check("\"B, A\" <a@b> (of us)", &["a@b"], "\"B, A\" <a@b>(of us)");
        check("a@b (A (B) \\) C)", &["a@b"], "a@b (A (B) \\) C)");
        check("(x) a (y) @ b", &["a@b"], "a@b (x) (y)");
        check("team: a@b, C <c@d>;", &["a@b", "c@d"], "team: a@b,\nC <c@d>;");
        check("undisclosed-recipients:;", &[], "undisclosed-recipients: ;");
        check("<>", &[], "<>");
        check("< a @ b >", &["a@b"], "<a@b>");
        check("\"a b\"@c", &["\"a b\"@c"], "\"a b\"@c");
        check("@x,@y:a@b", &["@x", "@y:a@b"], "\"\"@x,\n\"@y:a\"@b");
        check("<@x,@y:a@b>", &["@x,@y:a@b"], "<\"@x,@y:a\"@b>");
        check("", &[], "");
    }

    #[test]
    fn missing_commas_are_added() {
        check("a b", &["a", "b"], "a,\nb");
        check("a@b c@d", &["a@b", "c@d"], "a@b,\nc@d");
        check("<a@b> <c@d>", &["a@b", "c@d"], "<a@b> <c@d>");
        check("<a@b> c@d", &["a@b", "c@d"], "<a@b>,\nc@d");
    }

    #[test]
    fn addresses_are_exchanged_in_place() {
        let mut list = AddressList::parse(b"A <a@b>, c (C)", MANY);
        for place in list.places() {
            let exchanged = format!("x-{}", list.at(place));
            list.exchange(place, exchanged);
        }
        assert_eq!(list.print(), b"A <x-a@b>,\nx-c (C)");
    }

    #[test]
    fn lines_take_as_many_addresses_as_fit() {
        let list = ["alice@one.example,"; 7].join("\n") + "\nend@x";
        let text = String::from_utf8(folded(list.as_bytes(), "To: ".len())).expect("text");
        assert_eq!(
            text,
            "alice@one.example, alice@one.example, alice@one.example,\r\n\talice@one.example, alice@one.example, \
             alice@one.example,\r\n\talice@one.example, end@x"
        );
    }

    #[test]
    fn too_much_text_around_an_address_goes() {
        let text = format!("{} <a@b>, c@d", "x".repeat(300));
        check(&text, &["a@b", "c@d"], "<a@b>,\nc@d");
    }

    #[test]
    fn names_in_any_encoding_are_kept_and_tokens_are_limited() {
        let list = AddressList::parse(b"J\xf6rg <j@x>", MANY);
        assert_eq!(list.print(), b"J\xf6rg <j@x>");
        let few = AddressList::parse(b"a, b, c, d", 3);
        assert_eq!(few.print(), b"a,\nb");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_and_printed(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            AddressList::parse(&text, 50).print();
        }

        #[test]
        fn what_was_printed_is_read_alike(text in "[a-c@<>,;: ()\"]{0,20}") {
            let printed = AddressList::parse(text.as_bytes(), MANY).print();
            AddressList::parse(&printed, MANY).print();
        }
    }
}
