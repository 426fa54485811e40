//! The settings that take the place of those with which an engine runs.
//!
//! What cannot change while it runs stays as it is, and is told by name; nothing is ignored in silence.

use std::collections::BTreeSet;
use std::fmt::Display;

use ringpost_core::config::Config;
use ringpost_core::qmgr::{QmgrSettings, TransportSettings};

use super::Settings;
use crate::failure::Failure;

impl Settings {
    /// Reads the settings of `config` for an engine that runs with `running`, and tells what of them waits for a restart,
    /// and what else the administrator should know; a sentence each.
    ///
    /// # Errors
    /// As [`Settings::from_config`].
    pub fn next(config: &Config, running: &Settings) -> Result<(Settings, Vec<String>), Failure> {
        let names = running.service_names.clone();
        let mut next = Settings::read(config, &running.origin, running.shards, names)?;
        let mut waiting = Waiting::default();
        let (from, to) = (running.queue_directory.display(), next.queue_directory.display());
        waiting.compare("queue_directory", &from, &to);
        waiting.compare("ringpost_shards", &running.shards_wanted, &next.shards_wanted);
        waiting.compare("ringpost_spool_segment_size", &running.segment_bytes, &next.segment_bytes);
        let trace = |settings: &Settings| {
            settings.reactor_trace.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
        };
        waiting.compare("ringpost_reactor_trace", &trace(running), &trace(&next));
        next.queue_directory.clone_from(&running.queue_directory);
        next.shards_wanted = running.shards_wanted;
        next.segment_bytes = running.segment_bytes;
        next.reactor_trace.clone_from(&running.reactor_trace);
        keep_gates(&running.qmgr, &mut next.qmgr, &mut waiting);
        let mut warnings = waiting.0;
        warnings.extend(next.smtp.tls.warnings.iter().cloned());
        Ok((next, warnings))
    }
}

/// What waits for a restart.
#[derive(Default)]
struct Waiting(Vec<String>);

impl Waiting {
    fn compare(&mut self, parameter: &str, running: &impl Display, wanted: &impl Display) {
        let (running, wanted) = (running.to_string(), wanted.to_string());
        if running != wanted {
            self.add(parameter, &running, &wanted);
        }
    }

    fn add(&mut self, parameter: &str, running: &str, wanted: &str) {
        let text = format!("{parameter}: the change from \"{running}\" to \"{wanted}\" waits for a restart");
        self.0.push(text);
    }
}

/// Whether a transport has a rate delay decides which shard keeps its destinations' accounts: that cannot change under
/// deliveries in progress. How long the delay is can.
fn keep_gates(running: &QmgrSettings, next: &mut QmgrSettings, waiting: &mut Waiting) {
    let mut keep = |name: &str, old: &TransportSettings, new: &mut TransportSettings| {
        let (old_ms, new_ms) = (old.transport_rate_delay_ms, new.transport_rate_delay_ms);
        if (old_ms > 0) != (new_ms > 0) {
            let seconds = |milliseconds: u64| format!("{}s", milliseconds / 1000);
            waiting.add(&format!("{name}_transport_rate_delay"), &seconds(old_ms), &seconds(new_ms));
            new.transport_rate_delay_ms = old_ms;
        }
    };
    let names: BTreeSet<&String> = running.transports.keys().chain(next.transports.keys()).collect();
    let mut transports = Vec::new();
    for name in names {
        let mut new = next.transport(name).clone();
        keep(name, running.transport(name), &mut new);
        transports.push((name.clone(), new));
    }
    keep("default", &running.default_transport, &mut next.default_transport);
    next.transports = transports.into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delayed(milliseconds: u64) -> TransportSettings {
        TransportSettings { transport_rate_delay_ms: milliseconds, ..TransportSettings::default() }
    }

    #[test]
    fn a_rate_delay_of_a_transport_may_change_but_neither_begin_nor_end() {
        let running = QmgrSettings {
            transports: [("slow".to_owned(), delayed(1000)), ("gone".to_owned(), delayed(2000))].into(),
            ..QmgrSettings::default()
        };
        let mut next = QmgrSettings {
            transports: [("slow".to_owned(), delayed(5000)), ("new".to_owned(), delayed(3000))].into(),
            ..QmgrSettings::default()
        };
        next.default_transport.concurrency_max = 7;
        let mut waiting = Waiting::default();
        keep_gates(&running, &mut next, &mut waiting);
        assert_eq!(next.transport("slow").transport_rate_delay_ms, 5000);
        assert_eq!(next.transport("new").transport_rate_delay_ms, 0);
        assert_eq!(next.transport("gone").transport_rate_delay_ms, 2000);
        assert_eq!(next.transport("gone").concurrency_max, 7, "the rest is new");
        let [gone, new] = &waiting.0[..] else { panic!("{:?}", waiting.0) };
        assert!(
            gone.starts_with("gone_transport_rate_delay: ") && gone.contains("\"2s\" to \"0s\""),
            "{gone}"
        );
        assert!(new.starts_with("new_transport_rate_delay: "), "{new}");
    }
}
