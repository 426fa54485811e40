//! One relay with one kind of work, measured several times in turns with others.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::load::{Connections, Load, Measured, Work, measure};
use crate::relay::Kind;
use crate::statistics::{half_spread, median};
use crate::table::Table;

/// What is measured again and again, and what its runs showed.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The name in tables.
    pub name: String,
    /// The relay.
    #[serde(skip)]
    pub kind: Kind,
    /// The work.
    pub work: Work,
    /// Further `main.cf` lines of the relay.
    pub settings: Vec<String>,
    /// What its runs showed, oldest first.
    pub runs: Vec<Measured>,
}

impl Series {
    /// A series that has not run yet, named after its relay.
    pub fn new(kind: Kind, work: Work) -> Series {
        Series { name: kind.name().to_owned(), kind, work, settings: Vec::new(), runs: Vec::new() }
    }

    /// The same with a remark in its name and one more `main.cf` line.
    #[must_use]
    pub fn with(mut self, remark: &str, setting: &str) -> Series {
        self.name = format!("{}, {remark}", self.name);
        self.settings.push(setting.to_owned());
        self
    }

    /// The median of a figure over its runs.
    pub fn middle(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// How far the runs differ in a figure, as a share of the median.
    pub fn spread(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        half_spread(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// The median of a figure that not every run has.
    pub fn middle_known(&self, figure: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let known: Vec<f64> = self.runs.iter().filter_map(figure).collect();
        (!known.is_empty()).then(|| median(&known))
    }

    /// This series' figure as a multiple of another's: run by run, since neighbours in time share what else the
    /// machine does, then the median.
    pub fn ratio(&self, to: &Series, figure: impl Fn(&Measured) -> f64) -> f64 {
        let pairs = self.runs.iter().zip(&to.runs);
        median(&pairs.map(|(own, other)| figure(own) / figure(other)).collect::<Vec<_>>())
    }
}

/// Measures each series once in turn, `runs` times; tells of each run on standard error.
///
/// # Errors
/// See [`measure`].
pub fn run_in_turns(all: &mut [Series], runs: usize, load: &Load, directory: &Path) -> io::Result<()> {
    for run in 1..=runs {
        for series in &mut *all {
            let named = |error| {
                let connections = series.work.connections.name();
                io::Error::other(format!("{} ({connections}), run {run}: {error}", series.name))
            };
            let measured =
                measure(&series.kind, load, series.work, directory, &series.settings).map_err(named)?;
            eprintln!(
                "run {run}/{runs}: {}; connections {}: {:.1} µs CPU a message, {:.0} messages/s end to end",
                series.name,
                series.work.connections.name(),
                measured.cpu_us,
                measured.delivered_per_s
            );
            series.runs.push(measured);
        }
    }
    Ok(())
}

/// The first series of that connection habit for which `wanted` holds.
pub fn find(all: &[Series], connections: Connections, wanted: impl Fn(&Series) -> bool) -> Option<&Series> {
    all.iter().find(|series| series.work.connections == connections && wanted(series))
}

/// Medians of each series.
pub fn table(all: &[Series]) -> Table {
    let mut table = Table::new(&[
        "relay",
        "client connections",
        "messages",
        "µs CPU a message",
        "± %",
        "accepted/s",
        "end to end/s",
        "peak MiB",
        "250 p50 ms",
        "250 p99 ms",
    ]);
    for series in all {
        let milliseconds = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
        table.row(vec![
            series.name.clone(),
            series.work.connections.name().to_owned(),
            series.work.messages.to_string(),
            format!("{:.1}", series.middle(|run| run.cpu_us)),
            format!("{:.0}", series.spread(|run| run.cpu_us) * 100.0),
            format!("{:.0}", series.middle(|run| run.accepted_per_s)),
            format!("{:.0}", series.middle(|run| run.delivered_per_s)),
            format!("{:.0}", series.middle(|run| run.resident_peak_mib)),
            milliseconds(series.middle_known(|run| run.reply.map(|reply| reply.p50_ms))),
            milliseconds(series.middle_known(|run| run.reply.map(|reply| reply.p99_ms))),
        ]);
    }
    table
}
