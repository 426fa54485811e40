//! What cleanup needs to know: of one `smtpd` line, and for mail of the system itself.

use std::net::IpAddr;

use ringpost_core::cleanup::{
    CanonicalMaps, CharacterSet, CleanupSettings, ContentSettings, MappingRules, MappingSettings,
    MimeSettings, Uses,
};
use ringpost_core::config::{ClientRule, Config, Name, View, names, types};
use ringpost_core::lookup::{LookupTrouble, Tables};
use ringpost_core::maps::Key;
use ringpost_core::smtpd::Client;

use crate::failure::Failure;

/// The words of `receive_override_options`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveOverrides {
    /// `no_address_mappings`.
    pub no_address_mappings: bool,
    /// `no_header_body_checks`.
    pub no_header_body_checks: bool,
}

impl ReceiveOverrides {
    /// Reads them as a service sees them.
    pub fn read(view: &View<'_>) -> Result<ReceiveOverrides, Failure> {
        let mut overrides = ReceiveOverrides::default();
        for word in view.list(names::RECEIVE_OVERRIDE_OPTIONS) {
            match word.to_ascii_lowercase().as_str() {
                "no_address_mappings" => overrides.no_address_mappings = true,
                "no_header_body_checks" => overrides.no_header_body_checks = true,
                // Read with the access rules.
                "no_unknown_recipient_checks" => {}
                // There are none that could be left out.
                "no_milters" => {}
                _ => {
                    let name = names::RECEIVE_OVERRIDE_OPTIONS.as_str();
                    return Err(Failure::config(format!("{name}: unknown word \"{word}\"")));
                }
            }
        }
        Ok(overrides)
    }

    /// Which mapping the mail of a service gets.
    pub fn mapping_rules(self) -> MappingRules {
        let maps = !self.no_address_mappings;
        MappingRules { by_tables: maps, adds_copies: maps }
    }
}

/// The clients whose mail is completed as mail of this system is (`local_header_rewrite_clients`).
#[derive(Debug)]
pub struct LocalClients {
    rules: Vec<ClientRule>,
    /// This host's addresses.
    own: Vec<IpAddr>,
}

impl LocalClients {
    /// Reads them as a service sees them.
    pub fn read(view: &View<'_>) -> LocalClients {
        let own = view.host().interfaces.iter().map(|interface| interface.address).collect();
        LocalClients { rules: view.clients(names::LOCAL_HEADER_REWRITE_CLIENTS), own }
    }

    /// Whether a client is one of them; `None` where a table must be asked.
    pub fn has_at_once(&self, client: &Client) -> Option<bool> {
        let mut known = self.rules.iter().map(|rule| self.decides(rule, client));
        known.find(|decided| *decided != Some(false)).unwrap_or(Some(false))
    }

    /// Whether a client is one of them.
    ///
    /// # Errors
    /// A table cannot be asked, and nothing before it has the client.
    pub async fn has(&self, tables: &impl Tables, client: &Client) -> Result<bool, LookupTrouble> {
        for rule in &self.rules {
            let has = match (self.decides(rule, client), rule) {
                (Some(known), _) => known,
                (None, ClientRule::Listed(maps)) => {
                    maps.find(tables, &client.address.to_string(), Key::Whole).await?.is_some()
                }
                (None, _) => false,
            };
            if has {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn decides(&self, rule: &ClientRule, client: &Client) -> Option<bool> {
        match rule {
            // As in Postfix, XCLIENT does not change who is one's own: a proxy of this host completes headers.
            ClientRule::OwnAddress => {
                let address = client.connected_from;
                Some(address.is_loopback() || self.own.contains(&address))
            }
            ClientRule::InMyNetworks => Some(client.in_mynetworks),
            ClientRule::Authenticated | ClientRule::Certified => Some(false),
            ClientRule::Listed(_) => None,
        }
    }
}

/// The settings of the cleanup service that a service hands its mail to: those of its `master.cf` line, if it has one.
pub fn service_view<'a>(config: &'a Config, view: &View<'_>) -> View<'a> {
    match config.transport(&view.text(names::CLEANUP_SERVICE_NAME)) {
        Some(service) => config.for_service(service),
        None => config.view(),
    }
}

/// Reads the settings of the header block.
pub fn head(view: &View<'_>) -> CleanupSettings {
    CleanupSettings {
        myhostname: view.text(names::MYHOSTNAME),
        mail_name: view.text(names::MAIL_NAME),
        hopcount_limit: view.count(names::HOPCOUNT_LIMIT),
        message_drop_headers: view.list(names::MESSAGE_DROP_HEADERS),
        header_bytes_max: view.count(names::HEADER_SIZE_LIMIT),
        detects_encoding: view.flag(names::DETECT_8BIT_ENCODING_HEADER),
    }
}

/// Reads the settings of content checks.
pub fn content(view: &View<'_>) -> ContentSettings {
    let strict = view.flag(names::STRICT_8BITMIME);
    let mut content = ContentSettings {
        header_checks: view.maps(names::HEADER_CHECKS),
        mime_header_checks: view.maps(names::MIME_HEADER_CHECKS),
        nested_header_checks: view.maps(names::NESTED_HEADER_CHECKS),
        body_checks: view.maps(names::BODY_CHECKS),
        body_checks_bytes_max: view.number(names::BODY_CHECKS_SIZE_LIMIT),
        mime: MimeSettings {
            disabled: view.flag(names::DISABLE_MIME_INPUT_PROCESSING),
            nesting_max: view.count(names::MIME_NESTING_LIMIT),
            boundary_bytes_max: view.count(names::MIME_BOUNDARY_LENGTH_LIMIT),
            reports_nesting: false,
            strict_headers: strict || view.flag(names::STRICT_7BIT_HEADERS),
            strict_body: strict || view.flag(names::STRICT_8BITMIME_BODY),
            strict_encoding: view.flag(names::STRICT_MIME_ENCODING_DOMAIN),
        },
        header_tokens_max: view.count(names::HEADER_ADDRESS_TOKEN_LIMIT),
        line_bytes_max: view.count(names::LINE_LENGTH_LIMIT),
        reject_characters: CharacterSet::parse(&view.text(names::MESSAGE_REJECT_CHARACTERS)),
        strip_characters: CharacterSet::parse(&view.text(names::MESSAGE_STRIP_CHARACTERS)),
        undisclosed_recipients_header: view.text(names::UNDISCLOSED_RECIPIENTS_HEADER),
    };
    content.mime.reports_nesting = content.checks_anything();
    content
}

/// Reads the settings of address mapping.
pub fn mapping(view: &View<'_>) -> Result<MappingSettings, Failure> {
    let propagates = view.list(names::PROPAGATE_UNMATCHED_EXTENSIONS);
    let has = |word: &str| propagates.iter().any(|listed| listed.eq_ignore_ascii_case(word));
    let canonical = |maps, classes| -> Result<CanonicalMaps, Failure> {
        Ok(CanonicalMaps { maps: view.maps(maps), uses: uses(view, classes)? })
    };
    Ok(MappingSettings {
        sender_canonical: canonical(names::SENDER_CANONICAL_MAPS, names::SENDER_CANONICAL_CLASSES)?,
        recipient_canonical: canonical(names::RECIPIENT_CANONICAL_MAPS, names::RECIPIENT_CANONICAL_CLASSES)?,
        canonical: canonical(names::CANONICAL_MAPS, names::CANONICAL_CLASSES)?,
        masquerade_domains: view.list(names::MASQUERADE_DOMAINS),
        masquerade_exceptions: view.domains(names::MASQUERADE_EXCEPTIONS).of_whole_names(),
        masquerade_uses: uses(view, names::MASQUERADE_CLASSES)?,
        virtual_aliases: view.maps(names::VIRTUAL_ALIAS_MAPS),
        expansion_max: view.count(names::VIRTUAL_ALIAS_EXPANSION_LIMIT),
        recursion_max: view.count(names::VIRTUAL_ALIAS_RECURSION_LIMIT),
        alias_bytes_max: view.count(names::VIRTUAL_ALIAS_ADDRESS_LENGTH_LIMIT),
        extends_canonical: has("canonical"),
        extends_virtual: has("virtual"),
        always_bcc: view.text(names::ALWAYS_BCC),
        sender_bcc: view.maps(names::SENDER_BCC_MAPS),
        recipient_bcc: view.maps(names::RECIPIENT_BCC_MAPS),
        duplicates_max: view.count(names::DUPLICATE_FILTER_LIMIT),
        keeps_original: view.flag(names::ENABLE_ORIGINAL_RECIPIENT),
    })
}

fn uses(view: &View<'_>, name: Name<types::List>) -> Result<Uses, Failure> {
    let words = view.list(name);
    Uses::parse(words.iter().map(String::as_str))
        .map_err(|word| Failure::config(format!("{}: unknown class \"{word}\"", name.as_str())))
}
