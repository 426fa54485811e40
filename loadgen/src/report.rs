//! Figures for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart: an hour, µs.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// A histogram of latencies in µs, exact to three digits. All have the same bounds and can be added.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants that the crate accepts")
}

/// Time per message in µs; 0 if there were none.
pub fn per_message(time: Duration, messages: u64) -> f64 {
    if messages == 0 { 0.0 } else { time.as_secs_f64() * 1e6 / messages as f64 }
}

/// The latencies that reports show.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencySummary {
    /// Number of values.
    pub count: u64,
    /// Mean, µs.
    pub mean_us: f64,
    /// Median, µs.
    pub p50_us: u64,
    /// 99 of 100 are not longer, µs.
    pub p99_us: u64,
    /// 999 of 1,000 are not longer, µs.
    pub p999_us: u64,
    /// The longest, µs.
    pub max_us: u64,
}

impl LatencySummary {
    /// Summarises a histogram in µs; none if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<LatencySummary> {
        (!histogram.is_empty()).then(|| LatencySummary {
            count: histogram.len(),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        })
    }
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
            self.p50_us as f64 / 1000.0,
            self.p99_us as f64 / 1000.0,
            self.p999_us as f64 / 1000.0,
            self.max_us as f64 / 1000.0
        )
    }
}

/// What a source reports.
#[derive(Debug, Serialize)]
pub struct SourceFigures {
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages refused with 5xx.
    pub refused: u64,
    /// Attempts repeated under a new id.
    pub repeated: u64,
    /// Connections made.
    pub connections: u64,
    /// Seconds from the start to the end.
    pub elapsed_s: f64,
    /// Acknowledged messages per second.
    pub messages_per_s: f64,
    /// From the dot to its 250.
    pub reply_latency: Option<LatencySummary>,
    /// With a rate: from the intended time of sending to the 250.
    pub response_latency: Option<LatencySummary>,
    /// The source's own CPU time per message, µs.
    pub cpu_us_per_message: f64,
    /// Errors by code and stage.
    pub errors: BTreeMap<String, u64>,
}

/// What a sink reports.
#[derive(Debug, Serialize)]
pub struct SinkFigures {
    /// Messages accepted.
    pub messages: u64,
    /// Recipients accepted.
    pub deliveries: u64,
    /// Recipients whose failure bounces told.
    pub bounces: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Accepted without a tracking id.
    pub unidentified: u64,
    /// Accepted with a body that is not the one sent.
    pub damaged: u64,
    /// Deliveries of a message to a recipient beyond the first.
    pub duplicated: u64,
    /// Answers of 4xx.
    pub deferrals: u64,
    /// Answers of 5xx.
    pub rejections: u64,
    /// Connections closed by the script.
    pub drops: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Most connections open at once.
    pub connections_peak: usize,
    /// Most sessions in a transaction at once.
    pub transactions_peak: usize,
    /// From sending (by the source's clock) to acceptance.
    pub latency: Option<LatencySummary>,
    /// The sink's own CPU time per message, µs.
    pub cpu_us_per_message: f64,
}

impl fmt::Display for SourceFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "source: {} acknowledged in {:.2} s = {:.0} messages/s; {} refused, {} attempts repeated, {} connections",
            self.acknowledged,
            self.elapsed_s,
            self.messages_per_s,
            self.refused,
            self.repeated,
            self.connections
        )?;
        if let Some(latency) = &self.reply_latency {
            writeln!(formatter, "        dot to 250: {latency}")?;
        }
        if let Some(latency) = &self.response_latency {
            writeln!(formatter, "        intended time to 250: {latency}")?;
        }
        for (error, count) in &self.errors {
            writeln!(formatter, "        {count} × {error}")?;
        }
        write!(formatter, "        {:.1} µs CPU per message", self.cpu_us_per_message)
    }
}

impl fmt::Display for SinkFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "sink:   {} messages, {} deliveries, {} duplicated, {} bounced, {} unidentified, {} damaged, {} MiB",
            self.messages,
            self.deliveries,
            self.duplicated,
            self.bounces,
            self.unidentified,
            self.damaged,
            self.bytes / (1024 * 1024)
        )?;
        writeln!(
            formatter,
            "        {} connections (at most {} at once, {} in transactions); answered {} × 4xx, {} × 5xx, dropped {}",
            self.connections,
            self.connections_peak,
            self.transactions_peak,
            self.deferrals,
            self.rejections,
            self.drops
        )?;
        if let Some(latency) = &self.latency {
            writeln!(formatter, "        sending to acceptance: {latency}")?;
        }
        write!(formatter, "        {:.1} µs CPU per message", self.cpu_us_per_message)
    }
}
