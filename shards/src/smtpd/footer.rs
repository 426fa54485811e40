//! Footers of refusals, put into replies on their way out.

use ringpost_core::access::Stage;
use ringpost_core::date::SyslogTime;
use ringpost_core::maps::Key;
use ringpost_core::smtpd::Session;

use crate::settings::{Footers, SmtpdService};
use crate::shard::Shard;

/// The replies with footers behind those that refuse. What cannot be looked up or expanded has none, and is told.
pub async fn append(
    shard: &Shard,
    service: &SmtpdService,
    footers: &Footers,
    session: &Session,
    replies: &[u8],
) -> (Vec<u8>, Vec<String>) {
    let mut out = Vec::with_capacity(replies.len() + 256);
    let mut warnings = Vec::new();
    let text = String::from_utf8_lossy(replies);
    let mut reply: Vec<&str> = Vec::new();
    for line in text.split_terminator("\r\n") {
        reply.push(line);
        // A reply's last line has a space behind its code (RFC 5321 §4.2.1).
        if line.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        let lines = match line.starts_with(['4', '5']) {
            true => with_footer(shard, service, footers, session, &reply, &mut warnings).await,
            false => None,
        };
        let mut put = |line: &str| {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        match lines {
            Some(lines) => lines.iter().for_each(|line| put(line)),
            None => reply.iter().for_each(|line| put(line)),
        }
        reply.clear();
    }
    (out, warnings)
}

async fn with_footer(
    shard: &Shard,
    service: &SmtpdService,
    footers: &Footers,
    session: &Session,
    reply: &[&str],
    warnings: &mut Vec<String>,
) -> Option<Vec<String>> {
    let own = match footers.maps.is_empty() {
        true => None,
        false => match footers.maps.find(&shard.tables, &reply.join("\r\n"), Key::Whole).await {
            Ok(found) => found,
            Err(trouble) => {
                warnings.push(format!("smtpd_reject_footer_maps: {trouble}: table lookup problem"));
                None
            }
        },
    };
    let template = own.as_deref().unwrap_or(&footers.template);
    if template.is_empty() {
        return None;
    }
    let mut time = SyslogTime::new(shard.log.zone());
    let now = time.text(shard.handle.wall().as_secs() as i64);
    let now = String::from_utf8_lossy(now);
    let facts = session.facts(Stage::Connect);
    let rules = &service.access.rules;
    match rules.with_footer(reply, template, &facts, now.trim_end(), &shard.settings.myhostname) {
        Ok(lines) => Some(lines),
        Err(reason) => {
            warnings.push(format!("bad reject footer \"{template}\": {reason}"));
            None
        }
    }
}
