//! The highest counts since they were last logged.

use super::{ClientCounts, ClientEvent, ClientKey};

/// What a peak is of, in the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeakKind {
    /// Connections in a unit of time.
    ConnectionRate,
    /// Connections at a time.
    ConnectionCount,
    /// Messages in a unit of time.
    MessageRate,
    /// Recipients in a unit of time.
    RecipientRate,
    /// New TLS sessions in a unit of time.
    NewTlsRate,
    /// AUTH commands in a unit of time.
    AuthRate,
}

impl PeakKind {
    const ALL: [PeakKind; 6] = [
        PeakKind::ConnectionRate,
        PeakKind::ConnectionCount,
        PeakKind::MessageRate,
        PeakKind::RecipientRate,
        PeakKind::NewTlsRate,
        PeakKind::AuthRate,
    ];

    fn words(self) -> &'static str {
        match self {
            PeakKind::ConnectionRate => "connection rate",
            PeakKind::ConnectionCount => "connection count",
            PeakKind::MessageRate => "message rate",
            PeakKind::RecipientRate => "recipient rate",
            PeakKind::NewTlsRate => "newtls rate",
            PeakKind::AuthRate => "auth rate",
        }
    }

    fn value(self, counts: &ClientCounts) -> u32 {
        match self {
            PeakKind::ConnectionCount => counts.open,
            PeakKind::ConnectionRate => counts.rates.of(ClientEvent::Connection),
            PeakKind::MessageRate => counts.rates.of(ClientEvent::Message),
            PeakKind::RecipientRate => counts.rates.of(ClientEvent::Recipient),
            PeakKind::NewTlsRate => counts.rates.of(ClientEvent::NewTls),
            PeakKind::AuthRate => counts.rates.of(ClientEvent::Auth),
        }
    }
}

/// One client's highest count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// The count.
    pub value: u32,
    /// Whose it is.
    pub client: ClientKey,
    /// When it was reached; monotonic, in milliseconds.
    pub at_ms: u64,
}

/// One line's worth of peaks, as a home shard hands it to the shard that logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeakReport {
    /// The highest count of a kind.
    Client(PeakKind, Peak),
    /// The most clients that a table held.
    Table {
        /// How many.
        clients: u64,
        /// When; monotonic, in milliseconds.
        at_ms: u64,
    },
}

/// Peaks of one shard, or of several merged: the higher peak wins, sizes of tables add up (to what the homes held
/// together at most).
#[derive(Clone, Debug, Default)]
pub struct Peaks {
    of: [Option<Peak>; PeakKind::ALL.len()],
    table: Option<(u64, u64)>,
}

impl Peaks {
    /// Takes the counts of a client and the size of the table into account.
    pub(super) fn observe(&mut self, client: ClientKey, counts: &ClientCounts, clients: usize, now_ms: u64) {
        for kind in PeakKind::ALL {
            let value = kind.value(counts);
            if value > self.of[kind as usize].map_or(0, |peak| peak.value) {
                self.of[kind as usize] = Some(Peak { value, client, at_ms: now_ms });
            }
        }
        if clients as u64 > self.table.map_or(0, |(most, _)| most) {
            self.table = Some((clients as u64, now_ms));
        }
    }

    /// Whether there is nothing to log.
    pub fn is_empty(&self) -> bool {
        self.table.is_none() && self.of.iter().all(Option::is_none)
    }

    /// Takes what another shard reports.
    pub fn merge(&mut self, report: PeakReport) {
        match report {
            PeakReport::Client(kind, peak) => {
                if peak.value > self.of[kind as usize].map_or(0, |own| own.value) {
                    self.of[kind as usize] = Some(peak);
                }
            }
            PeakReport::Table { clients, at_ms } => {
                let (own, own_at_ms) = self.table.unwrap_or_default();
                self.table = Some((own + clients, own_at_ms.max(at_ms)));
            }
        }
    }

    /// What there is, report by report.
    pub fn reports(&self) -> impl Iterator<Item = PeakReport> + '_ {
        let table = self.table.map(|(clients, at_ms)| PeakReport::Table { clients, at_ms });
        let of = PeakKind::ALL
            .into_iter()
            .filter_map(|kind| self.of[kind as usize].map(|peak| PeakReport::Client(kind, peak)));
        of.chain(table)
    }

    /// The texts of Postfix's statistics lines. `service` names a service, `time` prints a monotonic time as
    /// `Mmm dd hh:mm:ss`; `unit_s` is `anvil_rate_time_unit` in seconds.
    pub fn lines<'a>(
        &self,
        unit_s: u64,
        service: impl Fn(u16) -> &'a str,
        mut time: impl FnMut(u64) -> String,
    ) -> Vec<String> {
        let mut line = |report| match report {
            PeakReport::Client(kind, peak) => {
                let words = kind.words();
                let (value, unit) = match kind {
                    PeakKind::ConnectionCount => (peak.value, String::new()),
                    _ => (peak.value, format!("/{unit_s}s")),
                };
                let (service, client) = (service(peak.client.service()), peak.client);
                format!(
                    "statistics: max {words} {value}{unit} for ({service}:{client}) at {}",
                    time(peak.at_ms)
                )
            }
            PeakReport::Table { clients, at_ms } => {
                format!("statistics: max cache size {clients} at {}", time(at_ms))
            }
        };
        self.reports().map(&mut line).collect()
    }
}
