//! What all sites of a transport share: its parameters, its recipients in memory, its rate delay.

use super::gate::Gate;
use super::rest::Rest;
use super::settings::{QmgrSettings, TransportSettings};
use std::collections::HashMap;
use std::rc::Rc;

/// Transports that have a record of their own. Names come from the administrator's tables, so this is far above what
/// there can be; those beyond share one record, with the default parameters.
const TRANSPORTS_MAX: usize = 10_000;

/// Names one transport as long as the scheduler lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TransportIndex(u32);

pub(super) struct Transport {
    pub settings: Rc<TransportSettings>,
    /// `defer_transports` names it.
    pub deferred: bool,
    /// Its recipients in site queues and deliveries.
    pub recipients: u64,
    /// Of use only with a rate delay, and on the shard that is the home of its sites.
    pub gate: Gate,
    /// It has failed as a whole; of use until its time is over.
    pub rest: Option<Rest>,
}

impl Transport {
    fn new(settings: Rc<TransportSettings>, deferred: bool) -> Self {
        Self { settings, deferred, recipients: 0, gate: Gate::default(), rest: None }
    }
}

/// All transports that were named so far.
pub(super) struct Transports {
    all: Vec<Transport>,
    by_name: HashMap<Box<str>, TransportIndex>,
    default_settings: Rc<TransportSettings>,
    any_deferred: bool,
}

impl Transports {
    pub fn new(settings: &QmgrSettings) -> Self {
        let default_settings = Rc::new(settings.default_transport.clone());
        // The first is the record that those beyond the limit share.
        let all = vec![Transport::new(Rc::clone(&default_settings), false)];
        let mut transports = Self { all, by_name: HashMap::new(), default_settings, any_deferred: false };
        transports.renew(settings);
        transports
    }

    /// From now on these settings hold, also for transports that were named before.
    pub fn renew(&mut self, settings: &QmgrSettings) {
        self.default_settings = Rc::new(settings.default_transport.clone());
        self.any_deferred = !settings.deferred_transports.is_empty();
        for transport in &mut self.all {
            transport.settings = Rc::clone(&self.default_settings);
            transport.deferred = false;
        }
        for name in settings.transports.keys().chain(&settings.deferred_transports) {
            let own = settings.transports.get(name).map(|own| Rc::new(own.clone()));
            let index = self.intern(name);
            if index == TransportIndex(0) {
                continue;
            }
            let transport = self.get_mut(index);
            transport.settings = own.unwrap_or_else(|| Rc::clone(&transport.settings));
            transport.deferred = settings.deferred_transports.contains(name);
        }
    }

    /// All of them with their names here.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (TransportIndex, &mut Transport)> {
        self.all.iter_mut().enumerate().map(|(index, transport)| (TransportIndex(index as u32), transport))
    }

    /// `defer_transports` is not empty.
    pub fn any_deferred(&self) -> bool {
        self.any_deferred
    }

    /// An operator flushes: those that have failed are to be tried again.
    pub fn end_rests(&mut self) {
        self.all.iter_mut().for_each(|transport| transport.rest = None);
    }

    /// Finds or creates the record of a transport.
    pub fn intern(&mut self, name: &str) -> TransportIndex {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        if self.all.len() > TRANSPORTS_MAX {
            return TransportIndex(0);
        }
        let index = TransportIndex(self.all.len() as u32);
        self.all.push(Transport::new(Rc::clone(&self.default_settings), false));
        self.by_name.insert(name.into(), index);
        index
    }

    pub fn get(&self, index: TransportIndex) -> &Transport {
        &self.all[index.0 as usize]
    }

    pub fn get_mut(&mut self, index: TransportIndex) -> &mut Transport {
        &mut self.all[index.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_have_their_own_parameters_and_beyond_the_limit_the_default_ones() {
        let slow = TransportSettings { transport_rate_delay_ms: 1000, ..TransportSettings::default() };
        let settings = QmgrSettings {
            transports: [("slow".to_owned(), slow)].into(),
            deferred_transports: vec!["hold".to_owned(), "slow".to_owned()],
            ..QmgrSettings::default()
        };
        let mut transports = Transports::new(&settings);
        let slow = transports.intern("slow");
        assert!(
            transports.get(slow).deferred && transports.get(slow).settings.transport_rate_delay_ms == 1000
        );
        let hold = transports.intern("hold");
        assert!(transports.get(hold).deferred && transports.get(hold).settings.transport_rate_delay_ms == 0);
        for n in 0..2 * TRANSPORTS_MAX {
            let index = transports.intern(&format!("t{n}"));
            assert!(!transports.get(index).deferred);
        }
        assert!(transports.all.len() <= TRANSPORTS_MAX + 1);
        assert_eq!(transports.intern("slow"), slow);
    }
}
