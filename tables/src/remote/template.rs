//! template: `%s`, `%u`, `%d`, `%S`, `%U`, `%D`, `%1`…`%9` and `%%` in queries, keys and results.
//!
//! Receives: a text of a `.cf` file; a value (in a query the key itself) and the key. Gives: the text filled in, or
//! nothing when the template wants a part that is not there. Standards: Postfix's mysql_table(5) and its kin.

/// A text with places to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Whole(From),
    User(From),
    Domain(From),
    /// A component of the key's domain, the last being the first.
    Component(usize),
}

/// What a part is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Value,
    Key,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A `%` stands before something that it does not stand before; in one sentence.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                plain.push(character);
                continue;
            }
            let piece = match characters.next() {
                Some('%') => {
                    plain.push('%');
                    continue;
                }
                Some('s') => Piece::Whole(From::Value),
                Some('u') => Piece::User(From::Value),
                Some('d') => Piece::Domain(From::Value),
                Some('S') => Piece::Whole(From::Key),
                Some('U') => Piece::User(From::Key),
                Some('D') => Piece::Domain(From::Key),
                Some(digit @ '1'..='9') => Piece::Component(digit as usize - '0' as usize),
                Some(other) => return Err(format!("invalid template {text:?}: %{other}")),
                None => return Err(format!("invalid template {text:?}: it ends with %")),
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template { pieces })
    }

    /// The query for `key`, each part written by `quote`; `None` when nothing is to be asked: the key is empty, or lacks
    /// a part.
    pub fn query(&self, key: &str, quote: impl Fn(&str, &mut String)) -> Option<String> {
        self.fill(key, key, quote)
    }

    /// The result of `value`, found for `key`; `None` when the value is empty or lacks a part.
    pub fn result(&self, value: &str, key: &str) -> Option<String> {
        self.fill(value, key, |part, out| out.push_str(part))
    }

    fn fill(&self, value: &str, key: &str, quote: impl Fn(&str, &mut String)) -> Option<String> {
        if value.is_empty() {
            return None;
        }
        let of = |from| match from {
            From::Value => value,
            From::Key => key,
        };
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Whole(from) => quote(of(*from), &mut out),
                Piece::User(from) => {
                    let user = of(*from).rsplit_once('@').map_or(of(*from), |(user, _)| user);
                    if user.is_empty() {
                        return None;
                    }
                    quote(user, &mut out);
                }
                Piece::Domain(from) => quote(domain_of(of(*from))?, &mut out),
                Piece::Component(number) => {
                    quote(domain_of(key)?.rsplit('.').nth(number - 1)?, &mut out);
                }
            }
        }
        Some(out)
    }
}

/// What follows the last `@`, if anything does.
pub fn domain_of(text: &str) -> Option<&str> {
    text.rsplit_once('@').map(|(_, domain)| domain).filter(|domain| !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(template: &str, key: &str) -> Option<String> {
        let brackets = |part: &str, out: &mut String| *out += &format!("[{part}]");
        Template::parse(template).unwrap().query(key, brackets)
    }

    #[test]
    fn queries_are_filled_in() {
        let key = "user@mail.example.com";
        for (template, key, expect) in [
            ("= %s", key, Some("= [user@mail.example.com]")),
            ("%u at %d", key, Some("[user] at [mail.example.com]")),
            ("%S%U%D", key, Some("[user@mail.example.com][user][mail.example.com]")),
            ("%1 %2 %3", key, Some("[com] [example] [mail]")),
            ("%4", key, None),
            ("100%%", key, Some("100%")),
            ("%u", "alone", Some("[alone]")),
            ("%d", "alone", None),
            ("%1", "alone", None),
            ("%u", "@example.com", None),
            ("%s", "@example.com", Some("[@example.com]")),
            ("%u|%d", "a@b@c", Some("[a@b]|[c]")),
            ("%d", "a@", None),
            ("constant", "", None),
        ] {
            assert_eq!(query(template, key).as_deref(), expect, "{template} of {key:?}");
        }
    }

    #[test]
    fn results_take_capital_letters_from_the_key() {
        let result = |template: &str, value| Template::parse(template).unwrap().result(value, "me@b.example");
        assert_eq!(result("smtp:[%s]", "host").as_deref(), Some("smtp:[host]"));
        assert_eq!(result("%u@%D", "you@x").as_deref(), Some("you@b.example"));
        assert_eq!(result("%d", "no address"), None);
        assert_eq!(result("%s %1", "v").as_deref(), Some("v example"));
        assert_eq!(result("fixed", ""), None);
    }

    #[test]
    fn a_wrong_template_is_refused() {
        for wrong in ["%", "a%", "%x", "%0", "% s"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
