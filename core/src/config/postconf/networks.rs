//! What Postfix finds wrong while it computes the default of `mynetworks`, before it shows anything.

use super::model::Model;
use super::said::{Fatal, Said, printable};
use crate::config::host::HostFacts;
use crate::config::value::split_list;

/// Looks at what the default of `mynetworks` depends on; at nothing if it is set.
///
/// A name in `inet_interfaces` that this host does not know by itself is passed by: it may be in the DNS.
pub(super) fn check(model: &Model<'_>, host: &HostFacts, said: &mut Said) -> Result<(), Fatal> {
    if model.set_in_main("mynetworks").is_some() {
        return Ok(());
    }
    let mut value = |name: &str| -> Result<String, Fatal> {
        let text = model.set_in_main(name).map(str::to_owned);
        let text = text.or_else(|| model.default(name).map(|text| text.into_owned()));
        let expanded = model.expanded(None, &text.unwrap_or_default(), said);
        // Postfix's words for a mistake that it finds as early as this.
        expanded.map_err(|fatal| format!("dictionary mail_dict: {fatal}"))
    };
    let protocols = value("inet_protocols")?;
    for word in split_list(&protocols) {
        if !["all", "ipv4", "ipv6"].contains(&word) {
            let (word, list) = (printable(word), printable(&protocols));
            return Err(format!("unknown inet_protocols value \"{word}\" in \"{list}\""));
        }
    }
    let style = value("mynetworks_style")?;
    let words = split_list(&style);
    for word in &words {
        if !["class", "subnet", "host"].contains(word) {
            let (word, list) = (printable(word), printable(&style));
            return Err(format!("unknown mynetworks mask style value \"{word}\" in \"{list}\""));
        }
    }
    if words.len() != 1 {
        return Err(format!("bad mynetworks_style value: {}; specify exactly one value", printable(&style)));
    }
    let interfaces = value("inet_interfaces")?;
    if ["all", "loopback-only"].contains(&interfaces.as_str()) {
        return Ok(());
    }
    for name in split_list(&interfaces) {
        for address in host.resolve(name).unwrap_or_default() {
            if !host.interfaces.iter().any(|interface| interface.address == address) {
                return Err(format!("parameter inet_interfaces: no local interface found for {address}"));
            }
        }
    }
    Ok(())
}
