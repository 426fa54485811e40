//! The queue listing as `mailq` prints it, and as JSON lines: byte for byte Postfix's.

use std::io::{self, Write};

use super::answer::ListedMessage;
use super::queue::Queue;
use crate::date::{Zone, append_asctime};

/// How the null sender is listed.
const NULL_SENDER: &str = "MAILER-DAEMON";
/// Bytes of a reason's line, its parentheses excepted, up to which it stands to the right.
const REASON_WIDTH: usize = 76;
/// Blanks before a recipient: the columns of queue id, size and time.
const RECIPIENT_INDENT: usize = 47;

fn sender<'a>(message: &ListedMessage<'a>) -> &'a str {
    if message.sender.is_empty() { NULL_SENDER } else { message.sender }
}

/// Control characters and line breaks become `?`: an address cannot forge a line of the listing.
fn printable(text: &str) -> String {
    let harmless = |character: char| !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}');
    text.chars().map(|character| if harmless(character) { character } else { '?' }).collect()
}

/// Sendmail's listing in Postfix's layout for long queue ids.
#[derive(Debug, Default)]
pub struct Mailq {
    messages: u64,
    bytes: u64,
    /// The reason that stands above the recipients that follow.
    reason: String,
}

impl Mailq {
    /// Prints a message's line, before the first also the heading. `zone` is the local one at its arrival.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn message(
        &mut self,
        out: &mut impl Write,
        message: &ListedMessage<'_>,
        zone: &Zone,
    ) -> io::Result<()> {
        if self.messages == 0 {
            writeln!(out, "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------")?;
        } else {
            writeln!(out)?;
        }
        self.messages += 1;
        self.bytes += message.bytes;
        self.reason.clear();
        let mut id = message.queue_id.as_str().to_owned();
        id.push_str(match message.queue {
            Queue::Active => "*",
            Queue::Hold => "!",
            Queue::Incoming | Queue::Deferred | Queue::Corrupt => "",
        });
        id.push_str(if message.forced_expire { "#" } else { "" });
        let mut time = Vec::with_capacity(24);
        append_asctime(&mut time, (message.arrival_us / 1_000_000) as i64, zone);
        let time = String::from_utf8_lossy(&time[..19]);
        writeln!(out, "{id:<17} {:>8} {time} {}", message.bytes, printable(sender(message)))
    }

    /// Prints a recipient of the message before, above it its reason if that is another than the one before.
    pub fn recipient(&mut self, out: &mut impl Write, address: &str, reason: &str) -> io::Result<()> {
        if self.reason != reason {
            self.reason.clear();
            self.reason.push_str(reason);
            let shown = if reason.is_empty() { "reason unavailable".to_owned() } else { printable(reason) };
            let padding = REASON_WIDTH.saturating_sub(shown.len());
            writeln!(out, "{:padding$}({shown})", "")?;
        }
        writeln!(out, "{:RECIPIENT_INDENT$}{}", "", printable(address))
    }

    /// Prints the summary.
    pub fn end(&self, out: &mut impl Write) -> io::Result<()> {
        let plural = if self.messages == 1 { "" } else { "s" };
        match self.messages {
            0 => writeln!(out, "Mail queue is empty"),
            count => writeln!(out, "\n-- {} Kbytes in {count} Request{plural}.", self.bytes / 1024),
        }
    }
}

/// One JSON object a line.
#[derive(Debug, Default)]
pub struct JsonLines {
    open: bool,
    recipients: u64,
}

impl JsonLines {
    /// Begins a message's object.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn message(&mut self, out: &mut impl Write, message: &ListedMessage<'_>) -> io::Result<()> {
        self.end(out)?;
        self.open = true;
        self.recipients = 0;
        write!(
            out,
            "{{\"queue_name\": \"{}\", \"queue_id\": \"{}\", \"arrival_time\": {}, \"message_size\": {}, \
             \"forced_expire\": {}, \"sender\": \"",
            message.queue.name(),
            message.queue_id,
            message.arrival_us / 1_000_000,
            message.bytes,
            message.forced_expire
        )?;
        quoted(out, sender(message))?;
        write!(out, "\", \"recipients\": [")
    }

    /// Adds a recipient of the message before.
    pub fn recipient(&mut self, out: &mut impl Write, address: &str, reason: &str) -> io::Result<()> {
        let separator = if self.recipients == 0 { "" } else { ", " };
        self.recipients += 1;
        write!(out, "{separator}{{\"address\": \"")?;
        quoted(out, address)?;
        if !reason.is_empty() {
            write!(out, "\", \"delay_reason\": \"")?;
            quoted(out, reason)?;
        }
        write!(out, "\"}}")
    }

    /// Ends the object of the last message, if there was one.
    pub fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::take(&mut self.open) { writeln!(out, "]}}") } else { Ok(()) }
    }
}

/// The inside of a JSON string, RFC 8259 section 7; DEL is escaped too.
fn quoted(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            8 => "\\b",
            12 => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 | 0x7f => "",
            _ => continue,
        };
        out.write_all(&text.as_bytes()[plain_from..at])?;
        plain_from = at + 1;
        if short.is_empty() {
            write!(out, "\\u{byte:04X}")?;
        } else {
            out.write_all(short.as_bytes())?;
        }
    }
    out.write_all(&text.as_bytes()[plain_from..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue_id::QueueId;

    const ARRIVAL_US: u64 = 1_700_000_000_123_456;

    fn message(queue: Queue, sender: &str) -> ListedMessage<'_> {
        let queue_id = QueueId::new(ARRIVAL_US, 987_654);
        ListedMessage { queue, queue_id, arrival_us: ARRIVAL_US, bytes: 1500, forced_expire: false, sender }
    }

    #[test]
    fn an_empty_queue_says_so_and_nothing_more() {
        let mut out = Vec::new();
        Mailq::default().end(&mut out).expect("a vector takes everything");
        JsonLines::default().end(&mut out).expect("a vector takes everything");
        assert_eq!(String::from_utf8_lossy(&out), "Mail queue is empty\n");
    }

    #[test]
    fn the_listing_for_people() {
        let mut out = Vec::new();
        let mut mailq = Mailq::default();
        let mut list = || {
            let long = "host mx.example.com[192.0.2.1] said: 451 4.7.1 Greylisting in action, please come back later";
            mailq.message(&mut out, &message(Queue::Active, "a@client.test"), &Zone::UTC)?;
            mailq.recipient(&mut out, "b@sink.test", "")?;
            mailq.message(&mut out, &message(Queue::Deferred, ""), &Zone::UTC)?;
            mailq.recipient(&mut out, "b@sink.test", "Connection refused")?;
            mailq.recipient(&mut out, "c@sink.test", "Connection refused")?;
            mailq.recipient(&mut out, "d@sink.test", long)?;
            mailq.recipient(&mut out, "e@sink.test", "")?;
            let forced = ListedMessage { forced_expire: true, ..message(Queue::Hold, "x\u{7}\n@y") };
            mailq.message(&mut out, &forced, &Zone::UTC)?;
            mailq.recipient(&mut out, "b@sink.test", "")?;
            mailq.end(&mut out)
        };
        list().unwrap_or_else(|error: io::Error| panic!("{error}"));
        let expected = "\
----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4SVLCh0sf8z7Qhl*      1500 Tue Nov 14 22:13:20 a@client.test
                                               b@sink.test

4SVLCh0sf8z7Qhl       1500 Tue Nov 14 22:13:20 MAILER-DAEMON
                                                          (Connection refused)
                                               b@sink.test
                                               c@sink.test
(host mx.example.com[192.0.2.1] said: 451 4.7.1 Greylisting in action, please come back later)
                                               d@sink.test
                                                          (reason unavailable)
                                               e@sink.test

4SVLCh0sf8z7Qhl!#     1500 Tue Nov 14 22:13:20 x??@y
                                               b@sink.test

-- 4 Kbytes in 3 Requests.
";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn the_listing_for_programs() {
        let mut out = Vec::new();
        let mut json = JsonLines::default();
        let mut list = || {
            json.message(&mut out, &message(Queue::Deferred, "a\"\\b@c"))?;
            json.recipient(&mut out, "b@sink.test", "tab\t bell\u{7} del\u{7f} é /")?;
            json.recipient(&mut out, "c@sink.test", "")?;
            json.message(&mut out, &message(Queue::Hold, ""))?;
            json.end(&mut out)
        };
        list().unwrap_or_else(|error: io::Error| panic!("{error}"));
        let expected = concat!(
            r#"{"queue_name": "deferred", "queue_id": "4SVLCh0sf8z7Qhl", "arrival_time": 1700000000, "#,
            r#""message_size": 1500, "forced_expire": false, "sender": "a\"\\b@c", "recipients": ["#,
            r#"{"address": "b@sink.test", "delay_reason": "tab\t bell\u0007 del\u007F é /"}, "#,
            r#"{"address": "c@sink.test"}]}"#,
            "\n",
            r#"{"queue_name": "hold", "queue_id": "4SVLCh0sf8z7Qhl", "arrival_time": 1700000000, "#,
            r#""message_size": 1500, "forced_expire": false, "sender": "MAILER-DAEMON", "recipients": []}"#,
            "\n"
        );
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
