//! counters: what one shard has done, in plain cells of its own; summed over the shards when somebody asks.

use std::cell::Cell;

use serde::Serialize;

/// One monotonically growing count, owned by one shard.
#[derive(Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }

    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

/// Counts since the start of the shard.
#[derive(Default)]
pub struct Counters {
    /// Client sessions that got a banner here.
    pub sessions: Count,
    /// Sessions that were accepted here and handed to another shard.
    pub sessions_handed_over: Count,
    /// Messages answered `250` after the dot.
    pub messages_accepted: Count,
    /// Content bytes of those messages.
    pub bytes_accepted: Count,
    /// Messages refused after the dot, for whatever reason.
    pub messages_refused: Count,
    /// Recipients delivered.
    pub recipients_sent: Count,
    /// Recipient attempts deferred.
    pub recipients_deferred: Count,
    /// Recipients bounced.
    pub recipients_bounced: Count,
    /// Notices stored.
    pub notices: Count,
    /// Connections opened to servers.
    pub connections_out: Count,
    /// Transactions on a kept connection.
    pub connections_reused: Count,
    /// Idle connections that were handed to another shard.
    pub connections_handed_over: Count,
    /// Messages whose content was read back from the spool for an attempt.
    pub reloads: Count,
    /// What this queue manager had to say to others about destinations' slots.
    pub slot_messages: Count,
    /// Of these, what a full ring did not take at first.
    pub slot_messages_refused: Count,
}

/// The figures of one shard, or of all of them added up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ShardFigures {
    /// The shard's number; means nothing in a sum.
    #[serde(skip)]
    pub shard: usize,
    /// See [`Counters::sessions`].
    pub sessions: u64,
    /// See [`Counters::sessions_handed_over`].
    pub sessions_handed_over: u64,
    /// See [`Counters::messages_accepted`].
    pub messages_accepted: u64,
    /// See [`Counters::bytes_accepted`].
    pub bytes_accepted: u64,
    /// See [`Counters::messages_refused`].
    pub messages_refused: u64,
    /// See [`Counters::recipients_sent`].
    pub recipients_sent: u64,
    /// See [`Counters::recipients_deferred`].
    pub recipients_deferred: u64,
    /// See [`Counters::recipients_bounced`].
    pub recipients_bounced: u64,
    /// See [`Counters::notices`].
    pub notices: u64,
    /// See [`Counters::connections_out`].
    pub connections_out: u64,
    /// See [`Counters::connections_reused`].
    pub connections_reused: u64,
    /// See [`Counters::connections_handed_over`].
    pub connections_handed_over: u64,
    /// See [`Counters::reloads`].
    pub reloads: u64,
    /// See [`Counters::slot_messages`].
    pub slot_messages: u64,
    /// See [`Counters::slot_messages_refused`].
    pub slot_messages_refused: u64,
    /// Log lines lost because the log could not be written in time.
    pub log_lines_lost: u64,
    /// Turns of the reactor: each is one system call at most.
    pub turns: u64,
    /// Operations that the reactor gave the kernel.
    pub submissions: u64,
    /// Completions that it took.
    pub completions: u64,
    /// Messages in the queue now.
    pub queued: u64,
    /// Commits of the spool since the start.
    pub commits: u64,
    /// Messages stored by them.
    pub messages_stored: u64,
    /// Time from a commit's submission to its completion, summed, in microseconds.
    pub commit_latency_us_sum: u64,
    /// Mean of it.
    pub commit_latency_us_mean: f64,
    /// 99th percentile of it over all shards' commits (upper bound of its histogram bucket).
    pub commit_latency_us_p99: u64,
    /// Commits by latency: bucket i counts those below 2^(i/4) microseconds.
    #[serde(skip)]
    pub commit_latency_buckets: Vec<u64>,
}

impl ShardFigures {
    /// Adds another shard's figures; means and percentiles come with [`conclude`](Self::conclude).
    pub fn add(&mut self, other: &ShardFigures) {
        let pairs = [
            (&mut self.sessions, other.sessions),
            (&mut self.sessions_handed_over, other.sessions_handed_over),
            (&mut self.messages_accepted, other.messages_accepted),
            (&mut self.bytes_accepted, other.bytes_accepted),
            (&mut self.messages_refused, other.messages_refused),
            (&mut self.recipients_sent, other.recipients_sent),
            (&mut self.recipients_deferred, other.recipients_deferred),
            (&mut self.recipients_bounced, other.recipients_bounced),
            (&mut self.notices, other.notices),
            (&mut self.connections_out, other.connections_out),
            (&mut self.connections_reused, other.connections_reused),
            (&mut self.connections_handed_over, other.connections_handed_over),
            (&mut self.reloads, other.reloads),
            (&mut self.slot_messages, other.slot_messages),
            (&mut self.slot_messages_refused, other.slot_messages_refused),
            (&mut self.log_lines_lost, other.log_lines_lost),
            (&mut self.turns, other.turns),
            (&mut self.submissions, other.submissions),
            (&mut self.completions, other.completions),
            (&mut self.queued, other.queued),
            (&mut self.commits, other.commits),
            (&mut self.messages_stored, other.messages_stored),
            (&mut self.commit_latency_us_sum, other.commit_latency_us_sum),
        ];
        for (total, more) in pairs {
            *total += more;
        }
        if self.commit_latency_buckets.len() < other.commit_latency_buckets.len() {
            self.commit_latency_buckets.resize(other.commit_latency_buckets.len(), 0);
        }
        for (total, more) in self.commit_latency_buckets.iter_mut().zip(&other.commit_latency_buckets) {
            *total += more;
        }
    }

    /// Works out the mean and the 99th percentile from the sums.
    pub fn conclude(&mut self) {
        if self.commits > 0 {
            self.commit_latency_us_mean = self.commit_latency_us_sum as f64 / self.commits as f64;
        }
        let total: u64 = self.commit_latency_buckets.iter().sum();
        let mut below = 0;
        for (index, count) in self.commit_latency_buckets.iter().enumerate() {
            below += count;
            if total > 0 && below * 100 >= total * 99 {
                self.commit_latency_us_p99 = 2f64.powf(index as f64 / 4.0).ceil() as u64;
                break;
            }
        }
    }
}

/// The figures of the engine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EngineFigures {
    /// Of all shards together.
    #[serde(flatten)]
    total: ShardFigures,
    /// Of each that has told them.
    shards: Vec<NumberedFigures>,
}

#[derive(Clone, Debug, Serialize)]
struct NumberedFigures {
    shard: usize,
    #[serde(flatten)]
    figures: ShardFigures,
}

impl EngineFigures {
    /// The figures of these shards, and their sums.
    pub fn of(mut shards: Vec<ShardFigures>) -> EngineFigures {
        let mut total = ShardFigures::default();
        shards.iter().for_each(|shard| total.add(shard));
        total.conclude();
        shards.iter_mut().for_each(ShardFigures::conclude);
        shards.sort_unstable_by_key(|shard| shard.shard);
        let numbered = |figures: ShardFigures| NumberedFigures { shard: figures.shard, figures };
        EngineFigures { total, shards: shards.into_iter().map(numbered).collect() }
    }

    /// The figures as one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain numbers always have a JSON form") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_comes_from_the_buckets_of_all_shards() {
        let mut buckets = vec![0; 40];
        buckets[36] = 99; // below 2^9 = 512 µs
        let fast =
            ShardFigures { commits: 99, commit_latency_buckets: buckets.clone(), ..Default::default() };
        buckets[36] = 0;
        buckets[39] = 1;
        let slow = ShardFigures {
            commits: 1,
            commit_latency_us_sum: 100_000,
            commit_latency_buckets: buckets,
            ..Default::default()
        };
        let mut all = ShardFigures::default();
        all.add(&fast);
        all.add(&slow);
        all.conclude();
        assert_eq!((all.commits, all.commit_latency_us_p99), (100, 512));
        assert_eq!(all.commit_latency_us_mean, 1000.0);
    }
}
