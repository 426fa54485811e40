//! What an address means once this system's own part in it is taken off: `user%there.example@here.example`, sent to
//! here.example, is mail for `user@there.example`.

use std::borrow::Cow;

use super::ResolveSettings;
use crate::address::{is_mail_domain, quote_where_needed};
use crate::lookup::{LookupTrouble, Tables};
use crate::rewrite::Context;
use crate::rewrite::tokens::{Token, Tokens};

/// Turns beyond one for each byte of an address: more only a pathological one takes.
const TURNS_MORE: usize = 100;

/// The address that is left.
pub(super) struct Target<'a> {
    /// `user@domain`.
    pub(super) recipient: Cow<'a, str>,
    /// The domain is ours.
    pub(super) is_local: bool,
    /// More than one operator routes.
    pub(super) routed: bool,
    /// No mail can be sent to such a domain.
    pub(super) malformed: bool,
}

impl<'a> Target<'a> {
    /// The recipient's domain.
    pub(super) fn domain(&self) -> Cow<'a, str> {
        let after_at = |text: &'_ str| text.rfind('@').map_or(0, |at| at + 1);
        match &self.recipient {
            Cow::Borrowed(text) => Cow::Borrowed(&text[after_at(text)..]),
            Cow::Owned(text) => Cow::Owned(text[after_at(text)..].to_owned()),
        }
    }
}

impl ResolveSettings {
    /// Takes this system's own part off an address.
    pub(super) async fn target<'a>(
        &self,
        tables: &impl Tables,
        address: &'a str,
    ) -> Result<Target<'a>, LookupTrouble> {
        if let Some(domain) = domain_of_plain(address) {
            let is_local = self.is_local(tables, domain).await?;
            return Ok(Target {
                recipient: Cow::Borrowed(address),
                is_local,
                routed: false,
                malformed: false,
            });
        }
        self.target_of_any(tables, address).await
    }

    async fn is_local(&self, tables: &impl Tables, domain: &str) -> Result<bool, LookupTrouble> {
        let is_local = self.names.is_local(tables, domain).await?;
        if is_local {
            let parameter = if domain.starts_with('[') { "inet_interfaces" } else { "mydestination" };
            tables.note(parameter, format_args!("{domain} is this system"));
        }
        Ok(is_local)
    }

    async fn target_of_any<'a>(
        &self,
        tables: &impl Tables,
        address: &'a str,
    ) -> Result<Target<'a>, LookupTrouble> {
        let mut tokens = Tokens::scan(address);
        let mut own_domain: Vec<Token> = Vec::new();
        let mut is_local = true;
        for turn in 0.. {
            if turn > address.len() + TURNS_MORE {
                let reason = format!("<{address}>: given up after {turn} turns");
                return Err(LookupTrouble { table: "address".into(), reason: reason.into() });
            }
            tokens.strip_trailing_dot();
            if self.resolve_null_domain && tokens.0.last() == Some(&Token::Operator('@')) {
                tokens.0.pop();
            }
            if let Some(at) = tokens.rfind('@') {
                let domain = Tokens(tokens.0[at + 1..].to_vec()).internal();
                if !domain.is_empty() && !self.is_local(tables, &domain).await? {
                    is_local = false;
                    break;
                }
                own_domain = tokens.0.split_off(at);
            }
            if tokens.rfind('@').is_some()
                || (self.rewrite.swap_bangpath && tokens.rfind('!').is_some())
                || (self.rewrite.allow_percent_hack && tokens.rfind('%').is_some())
            {
                self.rewrite_in_turn(tables, &mut tokens);
                continue;
            }
            if let [Token::Quoted(text)] = &tokens.0[..] {
                if let Some(opened) = self.opened(text) {
                    tokens = opened;
                    self.rewrite_in_turn(tables, &mut tokens);
                    continue;
                }
                if text.is_empty() {
                    tokens.0.clear();
                }
            }
            if !tokens.0.is_empty() {
                break;
            }
            tokens = Tokens::scan(&self.empty_address_recipient);
            tables.note("empty_address_recipient", format_args!("{}", self.empty_address_recipient));
        }
        if is_local {
            if own_domain.is_empty() {
                own_domain.push(Token::Operator('@'));
                own_domain.extend(Tokens::scan(&self.my_hostname).0);
                tables.note("myhostname", format_args!("{}", self.my_hostname));
                is_local = self.is_local(tables, &self.my_hostname).await?;
            }
            tokens.0.extend(own_domain);
        }
        self.sound(tables, address, &tokens.internal(), is_local).await
    }

    /// Checks the domain, and gives numbers their brackets.
    async fn sound<'a>(
        &self,
        tables: &impl Tables,
        address: &'a str,
        internal: &str,
        mut is_local: bool,
    ) -> Result<Target<'a>, LookupTrouble> {
        let (local, domain) = internal.rsplit_once('@').unwrap_or((internal, ""));
        let mut domain = Cow::Borrowed(domain);
        let mut malformed = !is_mail_domain(&domain);
        if malformed && self.resolve_numeric_domain && domain.parse::<std::net::IpAddr>().is_ok() {
            domain = Cow::Owned(format!("[{domain}]"));
            tables.note("resolve_numeric_domain", format_args!("{domain}"));
            is_local = self.is_local(tables, &domain).await?;
            malformed = false;
        }
        let routed = internal.find(['@', '!', '%']) != internal.rfind('@');
        let local = quote_where_needed(Cow::Borrowed(local));
        let recipient = format!("{local}@{domain}");
        let recipient = if recipient == address { Cow::Borrowed(address) } else { Cow::Owned(recipient) };
        Ok(Target { recipient, is_local, routed, malformed })
    }

    /// What a local part in quotes says when it routes; `None` when it does not.
    fn opened(&self, text: &str) -> Option<Tokens> {
        if !self.resolve_dequoted_address {
            return None;
        }
        let percent = || text.rfind('%').filter(|_| self.rewrite.allow_percent_hack);
        if let Some(at) = text.rfind('@').or_else(percent) {
            let local = quote_where_needed(Cow::Borrowed(&text[..at]));
            return Some(Tokens::scan(&format!("{local}@{}", &text[at + 1..])));
        }
        (self.rewrite.swap_bangpath && text.contains('!')).then(|| Tokens::scan(text))
    }

    fn rewrite_in_turn(&self, tables: &impl Tables, tokens: &mut Tokens) {
        self.rewrite.rewrite_tokens(tokens, Context::Local, |parameter, address| {
            tables.note(parameter, format_args!("{address}"));
        });
    }
}

/// The domain of an address that nothing needs to be taken off: no other operator, a local part, a sound domain.
pub(super) fn domain_of_plain(address: &str) -> Option<&str> {
    let (local, domain) = address.split_once('@')?;
    let plain = !local.is_empty()
        && local != "\"\""
        && !local.bytes().any(|byte| matches!(byte, b'%' | b'!' | b'\\'));
    (plain && is_mail_domain(domain)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_is_for_what_routes_nowhere() {
        for plain in ["u@d.example", "\"a b\"@d.example", "u@[192.0.2.1]"] {
            assert!(domain_of_plain(plain).is_some(), "{plain}");
        }
        for other in ["u", "u%x@d", "x!u@d", "\"u@x\"@d", "u@1.2.3.4", "u@", "u@d.", "@d", "\"\"@d", "u@d..e"]
        {
            assert_eq!(domain_of_plain(other), None, "{other}");
        }
    }
}
