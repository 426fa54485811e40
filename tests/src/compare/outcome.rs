//! What a dialogue came to on one server: replies, mail at the sinks, and the fate of each recipient in the log. What
//! cannot be equal (queue ids, dates, process numbers) is made equal here, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crate::maillog::LogLine;
use crate::sink::Message;

/// What was seen of one dialogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was said, and the reply to it.
    pub replies: Vec<(String, String)>,
    /// What arrived, by `sink from → to`.
    pub delivered: BTreeSet<Recorded>,
    /// `to=…, orig_to=…: dsn status (text)`, of all messages of the dialogue and of those that came of them.
    pub fates: BTreeSet<String>,
    /// Reject, hold, discard, filter … lines, as they begin with their verb, and the line that counts the session's
    /// commands.
    pub verdicts: BTreeSet<String>,
    /// Messages whose end was waited for in vain.
    pub unsettled: Vec<String>,
}

/// A message at a sink.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recorded {
    /// Which sink, sender and recipients.
    pub envelope: String,
    /// Header lines, unfolded by `\n`, without what names the queue id or the time.
    pub header: String,
    /// The body; not of notices.
    pub body: String,
}

impl Recorded {
    /// A message as the sink `number` took it.
    pub fn new(number: usize, message: &Message) -> Recorded {
        let mut recipients = message.recipients.clone();
        recipients.sort();
        let text = String::from_utf8_lossy(&message.content).replace("\r\n", "\n");
        let (header, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let is_notice = message.sender.is_empty() || message.sender.starts_with("double-bounce@");
        Recorded {
            envelope: format!("SINK{number} <{}> to {}", message.sender, recipients.join(" ")),
            header: comparable_header(header),
            // The text of notices is compared by golden files; here it would only show dates and ids.
            body: if is_notice { String::new() } else { body.to_owned() },
        }
    }
}

/// The header without what differs from run to run.
fn comparable_header(header: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in header.split('\n') {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push('\n');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    let varying = |line: &String| {
        let Some((name, value)) = line.split_once(':') else { return line.clone() };
        match name.to_ascii_lowercase().as_str() {
            "received" => format!("{name}:{}", without_id_and_date(value)),
            "date" | "resent-date" if !value.contains("2026 00:00:00 +0000") => format!("{name}: (now)"),
            "message-id" | "resent-message-id" if !value.contains("@client.example") => {
                format!("{name}: (made here)")
            }
            "content-type" if value.contains("boundary=") => format!("{name}: (multipart)"),
            _ => line.clone(),
        }
    };
    lines.iter().map(varying).collect::<Vec<_>>().join("\n")
}

/// ` from … by … with ESMTP id QID\n\tfor <…>; date` without QID and date.
fn without_id_and_date(value: &str) -> String {
    let value = value.rsplit_once(';').map_or(value, |(before, _)| before);
    let Some((before, after)) = value.split_once(" id ") else { return value.to_owned() };
    let rest = after.find(char::is_whitespace).map_or("", |end| &after[end..]);
    format!("{before} id (id){rest}")
}

/// The reply with what differs from run to run made equal.
pub fn comparable_reply(reply: &str) -> String {
    match reply.split_once("queued as ") {
        Some((before, _)) => format!("{before}queued as (id)"),
        None => reply.to_owned(),
    }
}

/// What the log says of queue ids.
#[derive(Debug, Default)]
pub struct Journal {
    by_id: BTreeMap<String, Vec<LogLine>>,
    /// Messages that were held or discarded for the recipient with which they began: that is logged before the queue id
    /// is known.
    set_aside: BTreeSet<String>,
    /// What was logged of each session without a queue id, by their order.
    sessions: Vec<Session>,
}

#[derive(Debug, Default)]
struct Session {
    verdicts: Vec<String>,
    ended: bool,
}

impl Journal {
    /// Of these lines.
    pub fn new(lines: Vec<LogLine>) -> Journal {
        let mut journal = Journal::default();
        // Sessions, by number, whose transaction was held or discarded before it had a queue id. Lines about further
        // recipients may come in between, so this stays until the transaction has its id or the session ends.
        let mut aside: BTreeSet<String> = BTreeSet::new();
        let mut open: BTreeMap<String, usize> = BTreeMap::new();
        for line in lines {
            let text = &line.text;
            let Some(id) = line.queue_id.clone() else {
                if text.starts_with("connect from ") {
                    open.insert(line.number.clone(), journal.sessions.len());
                    journal.sessions.push(Session::default());
                    aside.remove(&line.number);
                    continue;
                }
                let session = open.get(&line.number).and_then(|index| journal.sessions.get_mut(*index));
                let (Some(session), "smtpd") = (session, line.process.as_str()) else { continue };
                if let Some(verdict) = text.strip_prefix("NOQUEUE: ") {
                    session.verdicts.push(text.clone());
                    if verdict.starts_with("hold: ") || verdict.starts_with("discard: ") {
                        aside.insert(line.number);
                    }
                } else if text.starts_with("disconnect from ") {
                    session.verdicts.push(text.clone());
                    session.ended = true;
                    aside.remove(&line.number);
                } else if text.starts_with("lost connection ") || text.starts_with("too many errors ") {
                    session.verdicts.push(text.clone());
                }
                continue;
            };
            if text.starts_with("client=") && aside.remove(&line.number) {
                journal.set_aside.insert(id.clone());
            }
            journal.by_id.entry(id).or_default().push(line);
        }
        journal
    }

    /// Whether nothing more will happen to a message by itself, nor to the notices that came of it.
    pub fn is_settled(&self, id: &str) -> bool {
        let lines = self.by_id.get(id).map_or(&[][..], Vec::as_slice);
        let gone = lines.iter().any(|line| line.text == "removed");
        let waits = lines.iter().any(|line| {
            line.text.contains("status=deferred")
                || line.text.starts_with("hold: ")
                || line.text.starts_with("discard: ")
                || line.text.contains("placed on hold")
        });
        (gone || waits || self.set_aside.contains(id))
            && self.notices(id).iter().all(|notice| self.is_settled(notice))
    }

    /// Whether the last `count` sessions have ended.
    pub fn has_ended(&self, count: usize) -> bool {
        self.last_sessions(count).filter(|session| session.ended).count() == count
    }

    /// Adds what was logged of the last sessions, one for each outcome, without a queue id.
    pub fn tell_sessions(&self, outcomes: &mut [Outcome]) {
        let count = outcomes.len();
        for (outcome, session) in outcomes.iter_mut().zip(self.last_sessions(count)) {
            outcome.verdicts.extend(session.verdicts.iter().cloned());
        }
    }

    fn last_sessions(&self, count: usize) -> impl Iterator<Item = &Session> {
        self.sessions.iter().skip(self.sessions.len().saturating_sub(count))
    }

    /// What was logged of it, without dates.
    pub fn lines(&self, id: &str) -> String {
        let lines = self.by_id.get(id).map_or(&[][..], Vec::as_slice);
        lines.iter().map(|line| format!("{}: {}", line.process, line.text)).collect::<Vec<_>>().join(" | ")
    }

    fn notices(&self, id: &str) -> Vec<String> {
        let lines = self.by_id.get(id).map_or(&[][..], Vec::as_slice);
        lines
            .iter()
            .filter_map(|line| {
                line.text.split_once("notification: ").map(|(_, notice)| notice.trim().to_owned())
            })
            .collect()
    }

    /// Adds the fates of a message and of its notices to `outcome`.
    pub fn tell(&self, id: &str, outcome: &mut Outcome) {
        for line in self.by_id.get(id).map_or(&[][..], Vec::as_slice) {
            if let Some(fate) = fate(&line.text) {
                outcome.fates.insert(fate);
            } else if let Some(verdict) = verdict(&line.text) {
                outcome.verdicts.insert(verdict);
            }
        }
        for notice in self.notices(id) {
            self.tell(&notice, outcome);
        }
    }
}

/// `to=<…>, orig_to=<…>, relay=HOST, delay=…, dsn=…, status=… (text)` without times and the remote's queue id.
fn fate(text: &str) -> Option<String> {
    text.starts_with("to=<").then_some(())?;
    let (before, text_after) = text.split_once(", status=")?;
    let kept: Vec<&str> = before
        .split(", ")
        .filter(|field| ["to=", "orig_to=", "dsn="].iter().any(|name| field.starts_with(name)))
        .collect();
    Some(format!("{}, status={text_after}", kept.join(", ")))
}

/// Lines that begin with a verb of spec §1.6.
fn verdict(text: &str) -> Option<String> {
    const VERBS: [&str; 13] = [
        "reject: ",
        "reject_warning: ",
        "hold: ",
        "discard: ",
        "redirect: ",
        "filter: ",
        "prepend: ",
        "warn: ",
        "warning: ",
        "info: ",
        "replace: ",
        "strip: ",
        "bcc: ",
    ];
    VERBS.iter().any(|verb| text.starts_with(verb)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maillog;

    #[test]
    fn only_what_varies_is_made_equal() {
        let header = "Received: from a (b [192.0.2.1])\n\tby h (Postfix) with ESMTP id 4abcz1\n\tfor <r@x>; Mon, 1 Jan\n\
                      Date: Mon, 23 Nov 2026 10:00:00 +0000\nSubject: x";
        let equal = "Received: from a (b [192.0.2.1])\n\tby h (Postfix) with ESMTP id (id)\n\tfor <r@x>\nDate: (now)\nSubject: x";
        assert_eq!(comparable_header(header), equal);
        assert_eq!(comparable_reply("250 2.0.0 Ok: queued as 4abcz1"), "250 2.0.0 Ok: queued as (id)");
    }

    #[test]
    fn a_message_that_was_discarded_before_it_had_an_id_is_settled() {
        let lines = "Nov 22 10:00:00 h postfix/smtpd[7]: connect from a[192.0.2.1]\n\
                     Nov 22 10:00:00 h postfix/smtpd[7]: NOQUEUE: discard: RCPT from a[192.0.2.1]: <b@c>: away\n\
                     Nov 22 10:00:00 h postfix/smtpd[7]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 550 no\n\
                     Nov 22 10:00:00 h postfix/smtpd[7]: 4SVLCh0sf8z7Qhl: client=a[192.0.2.1]\n\
                     Nov 22 10:00:00 h postfix/smtpd[7]: 4SVLCh0sf8z7Qhm: client=a[192.0.2.1]\n";
        let journal = Journal::new(maillog::parse(lines));
        assert!(journal.is_settled("4SVLCh0sf8z7Qhl"));
        assert!(!journal.is_settled("4SVLCh0sf8z7Qhm"), "the next transaction is another");
    }

    #[test]
    fn a_message_is_settled_with_its_notices() {
        let first = "Nov 22 10:00:00 h postfix/smtp[1]: 4SVLCh0sf8z7Qhl: to=<a@b>, relay=none, dsn=5.1.1, status=bounced (no)\n\
                     Nov 22 10:00:00 h postfix/bounce[1]: 4SVLCh0sf8z7Qhl: sender non-delivery notification: 4SVLCh0sf8z7Qhm\n\
                     Nov 22 10:00:00 h postfix/qmgr[1]: 4SVLCh0sf8z7Qhl: removed\n";
        assert!(!Journal::new(maillog::parse(first)).is_settled("4SVLCh0sf8z7Qhl"));
        let whole = format!("{first}Nov 22 10:00:00 h postfix/qmgr[1]: 4SVLCh0sf8z7Qhm: removed\n");
        let journal = Journal::new(maillog::parse(&whole));
        assert!(journal.is_settled("4SVLCh0sf8z7Qhl"));
        let mut outcome = Outcome::default();
        journal.tell("4SVLCh0sf8z7Qhl", &mut outcome);
        assert_eq!(
            outcome.fates.into_iter().collect::<Vec<_>>(),
            ["to=<a@b>, dsn=5.1.1, status=bounced (no)"]
        );
    }
}
