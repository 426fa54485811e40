//! `permit_mx_backup`: mail for domains that name us among their exchangers.

use super::evaluation::{Evaluation, Topic, rejected};
use super::names::is_null_host;
use super::outcome::Said;
use super::servers::{Addresses, SERVERS_MAX};
use super::world::AccessWorld;
use crate::dns::{Answer, RecordType};

impl<W: AccessWorld> Evaluation<'_, W> {
    pub(super) async fn permit_mx_backup(&mut self) -> Said {
        let Some(recipient) = self.facts.recipient else { return Said::Dunno };
        let topic = self.recipient_topic();
        let sender = self.facts.sender.map_or("", |address| address.as_str());
        let world = self.world;
        let there = match world.destination(sender, recipient.as_str()).await {
            Ok(there) => there,
            Err(trouble) => return self.lookup_failed(&trouble, recipient.unquoted()),
        };
        let Some((_, domain)) = there.address.rsplit_once('@') else {
            return self.permit("permit_mx_backup", topic);
        };
        if there.routes_on && !self.rules.untrusted_routing {
            return Said::Dunno;
        }
        if there.is_final || there.is_relayed {
            return self.permit("permit_mx_backup", topic);
        }
        if domain.starts_with('[') {
            return Said::Dunno;
        }
        let permitted = match &*world.records(domain, RecordType::Mx).await {
            Answer::Exchangers { records, .. } => {
                self.is_exchanger(records, topic).await && self.primaries_are_known(records, topic).await
            }
            // Perhaps it is another name of ours.
            Answer::NoData | Answer::NotFound => self.has_own_address(domain, topic).await,
            _ => {
                let text = "Unable to look up mail exchanger information: the name service cannot say now";
                return self.defer_if_reject(450, "4.4.4", &rejected(topic, text));
            }
        };
        match permitted {
            true => self.permit("permit_mx_backup", topic),
            false => Said::Dunno,
        }
    }

    async fn is_exchanger(&mut self, records: &[(u16, String)], topic: Topic<'_>) -> bool {
        for (_, host) in records.iter().filter(|(_, host)| !is_null_host(host)).take(SERVERS_MAX) {
            if self.has_own_address(host, topic).await {
                return true;
            }
        }
        false
    }

    async fn has_own_address(&mut self, host: &str, topic: Topic<'_>) -> bool {
        match self.addresses(host).await {
            Addresses::Some(addresses) => {
                addresses.iter().any(|address| self.rules.own_addresses.contains(address))
            }
            Addresses::None => false,
            Addresses::Unavailable => {
                self.unknown_exchanger(host, topic);
                false
            }
        }
    }

    fn unknown_exchanger(&mut self, host: &str, topic: Topic<'_>) {
        let text = format!("Unable to look up mail exchanger host {host}: the name service cannot say now");
        self.defer_if_reject(450, "4.4.4", &rejected(topic, &text));
    }

    /// Whether the exchangers of the first preference are all in `permit_mx_backup_networks`; yes if that is empty.
    async fn primaries_are_known(&mut self, records: &[(u16, String)], topic: Topic<'_>) -> bool {
        let (rules, world) = (self.rules, self.world);
        if rules.mx_backup_networks.is_empty() {
            return true;
        }
        let first = records.iter().map(|(preference, _)| *preference).min();
        for (_, host) in records.iter().filter(|(preference, _)| Some(*preference) == first).take(SERVERS_MAX)
        {
            let addresses = match self.addresses(host).await {
                Addresses::Some(addresses) => addresses,
                Addresses::None | Addresses::Unavailable => {
                    self.unknown_exchanger(host, topic);
                    return false;
                }
            };
            for address in addresses {
                match rules.mx_backup_networks.matches_host(world, Some(host), address).await {
                    Ok(true) => {}
                    Ok(false) => return false,
                    Err(trouble) => {
                        self.warn(format!("permit_mx_backup_networks: {trouble}"));
                        let text = format!("Unable to verify host {host} as mail exchanger");
                        self.defer_if_reject(450, "4.4.4", &rejected(topic, &text));
                        return false;
                    }
                }
            }
        }
        true
    }
}
