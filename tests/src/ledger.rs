//! The books of a run: what the relay acknowledged against what arrived.

use std::collections::{BTreeMap, BTreeSet};

use crate::sink::Message;

/// Counts, by tracking id, of what was acknowledged, delivered and bounced.
#[derive(Debug, Default)]
pub struct Ledger {
    acknowledged: BTreeSet<String>,
    delivered: BTreeMap<String, usize>,
    bounced: BTreeSet<String>,
}

impl Ledger {
    /// Books that the relay said 250 to this message.
    pub fn acknowledge(&mut self, track: String) {
        assert!(self.acknowledged.insert(track), "each message has a tracking id of its own");
    }

    /// Books what a sink took: a notice from the null sender as a bounce of the message that it encloses.
    pub fn deliver(&mut self, message: &Message) {
        if message.sender.is_empty() {
            // The enclosed header is part of the notice's body.
            let text = String::from_utf8_lossy(&message.content);
            if let Some((_, rest)) = text.split_once("X-Track: ") {
                self.bounced.insert(rest.split("\r\n").next().unwrap_or("").to_owned());
            }
        } else if let Some(track) = message.track() {
            *self.delivered.entry(track).or_default() += 1;
        }
    }

    /// Acknowledged messages so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Acknowledged messages that came out nowhere.
    pub fn lost(&self) -> Vec<&str> {
        let missing =
            |track: &&String| !self.delivered.contains_key(*track) && !self.bounced.contains(*track);
        self.acknowledged.iter().filter(missing).map(String::as_str).collect()
    }

    /// Messages that arrived more than once, each with how often.
    pub fn repeated(&self) -> Vec<(&str, usize)> {
        self.delivered
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(track, count)| (track.as_str(), *count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(sender: &str, content: &str) -> Message {
        Message { sender: sender.into(), content: content.as_bytes().to_vec(), ..Message::default() }
    }

    #[test]
    fn tells_lost_delivered_bounced_and_repeated_apart() {
        let mut ledger = Ledger::default();
        for track in ["a", "b", "c"] {
            ledger.acknowledge(track.into());
        }
        ledger.deliver(&taken("s@x", "X-Track: a\r\n\r\n"));
        ledger.deliver(&taken("s@x", "X-Track: a\r\n\r\n"));
        ledger.deliver(&taken("", "Subject: notice\r\n\r\nX-Track: b\r\n\r\n"));
        assert_eq!(ledger.lost(), ["c"]);
        assert_eq!(ledger.repeated(), [("a", 2)]);
    }
}
