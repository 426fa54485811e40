//! rewrite: brings an address to standard form, `user@domain.in.full`.
//!
//! The half of Postfix's trivial-rewrite that looks at one address and at no table. Envelope addresses are always
//! rewritten as local ones; those in headers as local or remote, by the client.
//!
//! Receives: an address with quotes where RFC 5322 wants them, whatever it is. Gives: the same, rewritten; broken
//! addresses stay broken, so that the diagnosis is of what was sent.
//! Standards: Postfix's trivial-rewrite(8); RFC 5321 appendix C (source routes); RFC 5322 section 3.4.1.

pub(crate) mod tokens;

use std::borrow::Cow;
use std::fmt;

use self::tokens::{Token, Tokens};

/// How incomplete addresses are completed.
#[derive(Debug, Clone, Default)]
pub struct RewriteSettings {
    /// `swap_bangpath`: `site!user` becomes `user@site`.
    pub swap_bangpath: bool,
    /// `allow_percent_hack`: `user%domain` becomes `user@domain`.
    pub allow_percent_hack: bool,
    /// `append_at_myorigin`: an address without a domain gets one.
    pub append_at_myorigin: bool,
    /// `append_dot_mydomain`: a domain without a dot gets more.
    pub append_dot_mydomain: bool,
    /// `myorigin`.
    pub my_origin: String,
    /// `mydomain`.
    pub my_domain: String,
    /// `remote_header_rewrite_domain`; empty: headers of remote clients are not rewritten at all.
    pub remote_header_domain: String,
}

/// Where an address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// The envelope, and headers of local clients: completed with `myorigin` and `mydomain`.
    Local,
    /// Headers of remote clients: completed with `remote_header_rewrite_domain`, for both; without it nothing is
    /// rewritten.
    Remote,
}

/// Bytes of an atom that no step of rewriting looks at.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = byte >= 0x80 || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"#$&'*+-/=?^_`{}~";
    let mut index = 0;
    while index < others.len() {
        plain[others[index] as usize] = true;
        index += 1;
    }
    plain
};

impl RewriteSettings {
    /// The address in standard form; borrowed, and without any work, when it is in it already.
    pub fn rewrite<'a>(&self, address: &'a str, context: Context) -> Cow<'a, str> {
        self.rewrite_noting(address, context, |_, _| {})
    }

    /// The same, telling each step: the parameter by which it was taken, and the address after it.
    pub fn rewrite_noting<'a>(
        &self,
        address: &'a str,
        context: Context,
        note: impl FnMut(&'static str, &dyn fmt::Display),
    ) -> Cow<'a, str> {
        if address.is_empty()
            || (context == Context::Remote && self.remote_header_domain.is_empty())
            || self.is_standard(address)
        {
            return Cow::Borrowed(address);
        }
        let mut tokens = Tokens::scan(address);
        self.rewrite_tokens(&mut tokens, context, note);
        match tokens.address() {
            same if same == address => Cow::Borrowed(address),
            rewritten => Cow::Owned(rewritten),
        }
    }

    /// The usual: a dot-atom, an `@`, a domain with a dot in it. Says no to many that would not change either.
    fn is_standard(&self, address: &str) -> bool {
        let Some((local, domain)) = address.split_once('@') else { return false };
        let dotted = |text: &str| {
            let mut after_dot = true;
            let sound = text.bytes().all(|byte| {
                let sound = PLAIN[usize::from(byte)] || (byte == b'.' && !after_dot);
                after_dot = byte == b'.';
                sound
            });
            sound && !after_dot
        };
        dotted(local) && dotted(domain) && domain.contains('.')
    }

    /// Rewrites what has been taken apart already.
    pub(crate) fn rewrite_tokens(
        &self,
        tokens: &mut Tokens,
        context: Context,
        mut note: impl FnMut(&'static str, &dyn fmt::Display),
    ) {
        let (origin, domain) = match context {
            Context::Local => (&self.my_origin, &self.my_domain),
            Context::Remote => (&self.remote_header_domain, &self.remote_header_domain),
        };
        match &tokens.0[..] {
            [] => return,
            [Token::Quoted(text)] if text.is_empty() => return,
            // A lone @ is the empty address.
            [Token::Operator('@')] => {
                tokens.0 = vec![Token::Quoted(String::new())];
                return;
            }
            _ => {}
        }
        if tokens.is(0, '@')
            && let Some(colon) = tokens.find(':')
            && colon + 1 < tokens.0.len()
        {
            tokens.0.drain(..=colon);
            note("source route", &Written(tokens));
        }
        if tokens.rfind('@').is_none() {
            if self.swap_bangpath
                && let Some(bang) = tokens.find('!')
            {
                let user = tokens.0.split_off(bang + 1);
                tokens.0.pop();
                let site = std::mem::replace(&mut tokens.0, user);
                tokens.0.push(Token::Operator('@'));
                tokens.0.extend(site);
                note("swap_bangpath", &Written(tokens));
            } else if self.allow_percent_hack
                && let Some(percent) = tokens.rfind('%')
            {
                tokens.0[percent] = Token::Operator('@');
                note("allow_percent_hack", &Written(tokens));
            } else if self.append_at_myorigin && !origin.is_empty() {
                tokens.0.push(Token::Operator('@'));
                tokens.append(Tokens::scan(origin));
                note(Self::origin_parameter(context), &Written(tokens));
            }
        }
        if self.append_dot_mydomain
            && !domain.is_empty()
            && let Some(at) = tokens.rfind('@')
            && let after = &tokens.0[at + 1..]
            && !after.is_empty()
            && !after.iter().any(|token| matches!(token, Token::Literal(_) | Token::Operator('.')))
        {
            tokens.0.push(Token::Operator('.'));
            tokens.append(Tokens::scan(domain));
            note("append_dot_mydomain", &Written(tokens));
        }
        let length = tokens.0.len();
        tokens.strip_trailing_dot();
        if tokens.0.len() < length {
            note("trailing dot", &Written(tokens));
        }
    }

    fn origin_parameter(context: Context) -> &'static str {
        match context {
            Context::Local => "append_at_myorigin",
            Context::Remote => "remote_header_rewrite_domain",
        }
    }
}

/// An address in the middle of its rewriting, as it would be written.
struct Written<'a>(&'a Tokens);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> RewriteSettings {
        RewriteSettings {
            swap_bangpath: true,
            allow_percent_hack: true,
            append_at_myorigin: true,
            append_dot_mydomain: true,
            my_origin: "origin.example".into(),
            my_domain: "dom.example".into(),
            remote_header_domain: String::new(),
        }
    }

    fn check(address: &str, expect: &str) {
        assert_eq!(settings().rewrite(address, Context::Local), expect, "{address}");
    }

    #[test]
    fn addresses_are_completed() {
        check("user", "user@origin.example");
        check("user@host", "user@host.dom.example");
        check("user@host.", "user@host");
        check("user@full.example.", "user@full.example");
        check("user@[192.0.2.1]", "user@[192.0.2.1]");
        check("\"a b\"", "\"a b\"@origin.example");
        check("", "");
        check("\"\"", "\"\"");
        check("@", "\"\"");
        check("user@", "user@");
        check("user@..", "user@..");
        check("user@.", "user@.");
        check("user+ext@host", "user+ext@host.dom.example");
    }

    #[test]
    fn routes_are_taken_off_or_turned() {
        check("@a,@b:user@c.example", "user@c.example");
        check("@a:", "\"\"@a:.dom.example");
        check("site!user", "user@site.dom.example");
        check("one!two!user", "two!user@one.dom.example");
        check("user%host", "user@host.dom.example");
        check("user%one%two.example", "user%one@two.example");
        check("site!user%x", "user%x@site.dom.example");
        check("user%x@c.example", "user%x@c.example");
        check("one!user@c.example", "one!user@c.example");
    }

    #[test]
    fn every_step_can_be_turned_off() {
        let off = RewriteSettings {
            my_origin: "o.example".into(),
            my_domain: "d.example".into(),
            ..RewriteSettings::default()
        };
        for same in ["user", "user@host", "site!user", "user%host"] {
            assert_eq!(off.rewrite(same, Context::Local), same);
        }
        let bang_only = RewriteSettings { append_at_myorigin: true, ..off };
        assert_eq!(bang_only.rewrite("site!user", Context::Local), "site!user@o.example");
    }

    #[test]
    fn headers_of_strangers_get_no_domain_of_ours() {
        let mut settings = settings();
        assert_eq!(settings.rewrite("user", Context::Remote), "user");
        assert_eq!(settings.rewrite("site!user", Context::Remote), "site!user");
        settings.remote_header_domain = "domain.invalid".into();
        assert_eq!(settings.rewrite("user", Context::Remote), "user@domain.invalid");
        assert_eq!(settings.rewrite("user@host", Context::Remote), "user@host.domain.invalid");
    }

    #[test]
    fn what_is_in_standard_form_costs_nothing() {
        for address in ["user@host.example", "a.b+c=d@x.y.example", "jörg@müller.example"] {
            assert!(
                matches!(settings().rewrite(address, Context::Local), Cow::Borrowed(same) if same == address)
            );
        }
    }

    #[test]
    fn each_step_is_told_with_its_parameter() {
        let mut steps = Vec::new();
        settings().rewrite_noting("host!user", Context::Local, |by, address| {
            steps.push(format!("{by}: {address}"))
        });
        assert_eq!(steps, ["swap_bangpath: user@host", "append_dot_mydomain: user@host.dom.example"]);
    }

    proptest! {
        #[test]
        fn the_short_way_gives_what_the_long_one_does(local in "[a-z!%.+]{0,6}", domain in "[a-z.%!]{0,8}") {
            let address = format!("{local}@{domain}");
            let mut tokens = Tokens::scan(&address);
            settings().rewrite_tokens(&mut tokens, Context::Local, |_, _| {});
            prop_assert_eq!(settings().rewrite(&address, Context::Local).into_owned(), tokens.address());
        }
    }
}
