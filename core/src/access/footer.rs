//! Footers of refusals: `smtpd_reject_footer`, `smtpd_reject_footer_maps`.

use super::template::expand;
use super::{AccessFacts, AccessRules};

impl AccessRules {
    /// The reply (lines without their ends, each with its code) with a footer behind it. A template that begins with `\c`
    /// goes on in the last line; `\n` begins another line. `localtime` and `server_name` may stand in it beside what
    /// replies of block lists have.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn with_footer(
        &self,
        reply: &[&str],
        template: &str,
        facts: &AccessFacts<'_>,
        localtime: &str,
        server_name: &str,
    ) -> Result<Vec<String>, String> {
        let mut lines: Vec<String> = reply.iter().map(|line| (*line).to_owned()).collect();
        let Some(last) = reply.last().filter(|last| last.len() > 4) else { return Ok(lines) };
        let own = |name: &str| match name {
            "localtime" => Some(localtime.to_owned()),
            "server_name" => Some(server_name.to_owned()),
            _ => None,
        };
        let text = expand(template, self, facts, own)?;
        let (code, rest) = last.split_at(4);
        let code = code[..3].to_owned();
        let status = crate::reply::Reply::parse(&format!("{code} {rest}"));
        let status = status.as_ref().and_then(|reply| reply.enhanced()).map(|status| format!("{status} "));
        let (mut text, joins) = match text.strip_prefix("\\c") {
            Some(rest) => (rest, true),
            None => (text.as_str(), false),
        };
        if joins {
            let (first, after) =
                text.split_once("\\n").map_or((text, None), |(first, after)| (first, Some(after)));
            if let Some(line) = lines.last_mut() {
                line.push_str(&printable(first));
            }
            match after {
                Some(after) => text = after,
                None => return Ok(lines),
            }
        }
        if let Some(line) = lines.last_mut() {
            line.replace_range(3..4, "-");
        }
        let mut parts = text.split("\\n").peekable();
        while let Some(part) = parts.next() {
            let mark = if parts.peek().is_some() { '-' } else { ' ' };
            lines.push(format!("{code}{mark}{}{}", status.as_deref().unwrap_or_default(), printable(part)));
        }
        Ok(lines)
    }
}

fn printable(text: &str) -> String {
    crate::reply::printable(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Stage;
    use crate::smtpd::Client;

    fn footed(reply: &[&str], template: &str) -> Vec<String> {
        let client = Client::stranger("192.0.2.9".parse().unwrap(), 25);
        let facts = AccessFacts {
            stage: Stage::Connect,
            client: &client,
            client_text: "unknown[192.0.2.9]",
            helo: None,
            sender: None,
            recipient: None,
            recipient_count: 0,
            etrn_domain: None,
            pipelined_ahead: false,
            details: Default::default(),
        };
        AccessRules::default().with_footer(reply, template, &facts, "Nov 23 03:00:00", "mx.example").unwrap()
    }

    #[test]
    fn a_footer_is_a_line_of_its_own_or_goes_on() {
        let reply = ["550 5.7.1 No"];
        assert_eq!(
            footed(&reply, "Ask $server_name about [$client_address]"),
            ["550-5.7.1 No", "550 5.7.1 Ask mx.example about [192.0.2.9]"]
        );
        assert_eq!(footed(&reply, "\\c, at $localtime"), ["550 5.7.1 No, at Nov 23 03:00:00"]);
        assert_eq!(footed(&reply, "\\c!\\na\\nb"), ["550-5.7.1 No!", "550-5.7.1 a", "550 5.7.1 b"]);
        assert_eq!(footed(&["501 Syntax"], "x"), ["501-Syntax", "501 x"]);
    }
}
