//! What probes of addresses need (`address_verify_*`).

use std::time::Duration;

use ringpost_core::config::{View, names};
use ringpost_core::lookup::{TableSpec, TableType};
use ringpost_core::resolve::{ResolveSettings, TransportEntry};
use ringpost_core::verify::VerifySettings;
use ringpost_tables::Catalogue;
use ringpost_tables::proxywrite::Writable;

use super::resolve_settings;
use crate::failure::Failure;

/// How addresses are probed.
#[derive(Debug)]
pub struct ProbeSettings {
    /// How long results count.
    pub rules: VerifySettings,
    /// `address_verify_map`; one in memory if that is empty.
    pub map: TableSpec,
    /// `address_verify_sender`, in full; empty for the null sender.
    pub sender: String,
    /// `address_verify_sender_ttl`; 0 for ever.
    pub sender_ttl_s: u64,
    /// `address_verify_poll_count`.
    pub poll_count: u64,
    /// `address_verify_poll_delay`.
    pub poll_delay: Duration,
    /// One shard's part of `address_verify_pending_request_limit`.
    pub pending_max: usize,
    /// `address_verify_cache_cleanup_interval`; zero for never.
    pub cleanup_interval: Duration,
    /// The routes of probes.
    pub resolve: ResolveSettings,
}

impl ProbeSettings {
    /// Reads them for a system of this many shards.
    pub fn read(view: &View<'_>, shards: usize) -> Result<ProbeSettings, Failure> {
        let map = view.text(names::ADDRESS_VERIFY_MAP);
        let map = match map.as_str() {
            "" => Ok(in_memory()),
            map => TableSpec::parse(map, view.default_table_type()),
        };
        let map = map.map_err(|reason| Failure::config(format!("address_verify_map: {reason}")))?;
        let sender = view.text(names::ADDRESS_VERIFY_SENDER);
        let sender = match sender.as_str() {
            "" | "<>" => String::new(),
            full if full.contains('@') => full.to_owned(),
            local => format!("{local}@{}", view.text(names::MYORIGIN)),
        };
        let seconds = |name| view.time(name).as_secs();
        Ok(ProbeSettings {
            rules: VerifySettings {
                positive_expire_s: seconds(names::ADDRESS_VERIFY_POSITIVE_EXPIRE_TIME),
                positive_refresh_s: seconds(names::ADDRESS_VERIFY_POSITIVE_REFRESH_TIME),
                negative_expire_s: seconds(names::ADDRESS_VERIFY_NEGATIVE_EXPIRE_TIME),
                negative_refresh_s: seconds(names::ADDRESS_VERIFY_NEGATIVE_REFRESH_TIME),
                negative_cache: view.flag(names::ADDRESS_VERIFY_NEGATIVE_CACHE),
            },
            map,
            sender,
            sender_ttl_s: seconds(names::ADDRESS_VERIFY_SENDER_TTL),
            poll_count: view.number(names::ADDRESS_VERIFY_POLL_COUNT),
            poll_delay: view.time(names::ADDRESS_VERIFY_POLL_DELAY),
            pending_max: view.count(names::ADDRESS_VERIFY_PENDING_REQUEST_LIMIT).div_ceil(shards),
            cleanup_interval: view.time(names::ADDRESS_VERIFY_CACHE_CLEANUP_INTERVAL),
            resolve: routes(view),
        })
    }

    /// Opens the table of results, or gives the one that is open. **Blocks.**
    ///
    /// # Errors
    /// It cannot be opened; the message begins with the parameter.
    pub fn try_open(&self, catalogue: &Catalogue) -> Result<Writable, Failure> {
        let opened = catalogue.open_writable(&self.map);
        opened.map_err(|reason| Failure::config(format!("address_verify_map: {}: {reason}", self.map)))
    }

    /// The same; instead of one that cannot be opened, a table in memory, and the log tells why. **Blocks.**
    pub fn open(&self, catalogue: &Catalogue) -> Option<Writable> {
        let opened = self.try_open(catalogue).or_else(|failure| {
            let loss = "what probes find out is kept until the next start only";
            catalogue.notes().warn(format!("{failure}; {loss}"));
            catalogue.open_writable(&in_memory())
        });
        opened.inspect_err(|reason| catalogue.notes().warn(format!("address_verify_map: {reason}"))).ok()
    }
}

fn in_memory() -> TableSpec {
    TableSpec::parse("internal:verify", TableType::Internal).expect("a name of our own")
}

/// As all mail's, but where `address_verify_*` says otherwise.
fn routes(view: &View<'_>) -> ResolveSettings {
    let transport = |name| TransportEntry::parse(&view.text(name));
    let relayhost = view.text(names::ADDRESS_VERIFY_RELAYHOST);
    ResolveSettings {
        local_transport: transport(names::ADDRESS_VERIFY_LOCAL_TRANSPORT),
        virtual_transport: transport(names::ADDRESS_VERIFY_VIRTUAL_TRANSPORT),
        relay_transport: transport(names::ADDRESS_VERIFY_RELAY_TRANSPORT),
        default_transport: transport(names::ADDRESS_VERIFY_DEFAULT_TRANSPORT),
        relayhost: (!relayhost.is_empty()).then_some(relayhost),
        sender_relayhosts: view.maps(names::ADDRESS_VERIFY_SENDER_DEPENDENT_RELAYHOST_MAPS),
        sender_default_transports: view.maps(names::ADDRESS_VERIFY_SENDER_DEPENDENT_DEFAULT_TRANSPORT_MAPS),
        transports: view.maps(names::ADDRESS_VERIFY_TRANSPORT_MAPS),
        ..resolve_settings(view)
    }
}
