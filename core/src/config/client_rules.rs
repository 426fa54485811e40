//! `local_header_rewrite_clients`: the clients whose mail is completed as mail of this system is.

use super::error::quoted;
use super::value::split_list;
use crate::lookup::{TableId, TableSpec, TableType};
use crate::maps::Maps;

/// One item of the list. The first that has the client decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRule {
    /// `permit_inet_interfaces`: addresses of this host.
    OwnAddress,
    /// `permit_mynetworks`.
    InMyNetworks,
    /// `permit_sasl_authenticated`: nobody can log in yet.
    Authenticated,
    /// `permit_tls_clientcerts`, `permit_tls_all_clientcerts`: nobody can show a certificate yet.
    Certified,
    /// `check_address_map type:name`, or the table alone: the client's address is a key, whatever the value.
    Listed(Maps),
}

/// Reads the list; `id` gives each table its id.
///
/// # Errors
/// What is wrong with which item, in one sentence.
pub(super) fn parse(
    text: &str,
    default_type: TableType,
    mut id: impl FnMut(TableSpec) -> Result<TableId, String>,
) -> Result<Vec<ClientRule>, String> {
    let mut rules = Vec::new();
    let mut items = split_list(text).into_iter();
    while let Some(item) = items.next() {
        let rule = match item.to_ascii_lowercase().as_str() {
            "permit_inet_interfaces" => ClientRule::OwnAddress,
            "permit_mynetworks" => ClientRule::InMyNetworks,
            "permit_sasl_authenticated" => ClientRule::Authenticated,
            "permit_tls_clientcerts" | "permit_tls_all_clientcerts" => ClientRule::Certified,
            "check_address_map" => {
                let table = items.next().ok_or_else(|| "check_address_map needs a table".to_owned())?;
                ClientRule::Listed(Maps::parse(table, default_type, &mut id)?)
            }
            _ if item.contains(':') => ClientRule::Listed(Maps::parse(item, default_type, &mut id)?),
            _ => return Err(format!("{} stands for no clients", quoted(item))),
        };
        rules.push(rule);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_words_and_tables() {
        let mut named = Vec::new();
        let mut read = |text: &str| {
            parse(text, TableType::Hash, |spec| {
                named.push(spec.to_string());
                Ok(TableId(named.len() as u32))
            })
        };
        let rules = read("Permit_inet_interfaces, check_address_map cidr:/a permit_tls_clientcerts hash:/b")
            .expect("sound");
        assert!(matches!(
            &rules[..],
            [ClientRule::OwnAddress, ClientRule::Listed(_), ClientRule::Certified, ClientRule::Listed(_)]
        ));
        assert_eq!(read(""), Ok(Vec::new()));
        assert!(read("permit_everybody").expect_err("no such word").contains("\"permit_everybody\""));
        assert!(read("check_address_map").is_err());
        assert_eq!(named, ["cidr:/a", "hash:/b"]);
    }
}
