//! How a connection to a server is to be encrypted: levels, and policies by next hop.
//!
//! Receives: what `main.cf` says for all, a table of policies (`smtp_tls_policy_maps`), the next hop.
//! Sends: one [`TlsPolicy`] for one connection. Owns: nothing.
//! On failure: [`BadPolicy`]; mail waits, for nobody can say what the administrator wanted.
//! Standards: Postfix's TLS_README; RFC 3207 (STARTTLS), RFC 6125 (names).

use crate::lookup::{LookupTrouble, Tables};
use crate::maps::{Key, Maps};

/// How much encryption is wanted of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsLevel {
    /// `none`: never.
    #[default]
    None,
    /// `may`: where the server offers it; its certificate does not matter.
    May,
    /// `encrypt`: mail waits for a server that offers it.
    Encrypt,
    /// `fingerprint`: the certificate is one that is listed.
    Fingerprint,
    /// `verify`: somebody trusted vouches for the name that the DNS gave.
    Verify,
    /// `secure`: somebody trusted vouches for the name of the destination.
    Secure,
}

impl TlsLevel {
    /// The level of this name. `dane` and its kin are not among them.
    pub fn named(word: &str) -> Option<TlsLevel> {
        Some(match word.to_ascii_lowercase().as_str() {
            "none" => TlsLevel::None,
            "may" => TlsLevel::May,
            "encrypt" => TlsLevel::Encrypt,
            "fingerprint" => TlsLevel::Fingerprint,
            "verify" => TlsLevel::Verify,
            "secure" => TlsLevel::Secure,
            _ => return None,
        })
    }

    /// Whether mail waits rather than leave unencrypted.
    pub fn is_required(self) -> bool {
        self >= TlsLevel::Encrypt
    }

    /// Whether the server's certificate decides.
    pub fn checks_certificate(self) -> bool {
        self >= TlsLevel::Fingerprint
    }
}

/// Which versions of TLS may be used, of those that are served at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsVersions {
    /// TLSv1.2.
    pub tls12: bool,
    /// TLSv1.3.
    pub tls13: bool,
}

impl TlsVersions {
    /// Reads a list as `smtp_tls_protocols` writes it: versions, `!` before those that are left out, `>=` and `<=`.
    ///
    /// # Errors
    /// In one sentence: a version that nobody knows, or none that is served is left.
    pub fn parse(text: &str) -> Result<TlsVersions, String> {
        const KNOWN: [&str; 6] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
        let place = |name: &str| {
            let place = KNOWN.iter().position(|known| known.eq_ignore_ascii_case(name));
            place.ok_or_else(|| format!("\"{name}\" is no version of TLS"))
        };
        let (mut low, mut high) = (0, KNOWN.len() - 1);
        let (mut listed, mut left_out) = (Vec::new(), Vec::new());
        for word in text.split([',', ' ', '\t', ':', ';', '\n', '\r']).filter(|word| !word.is_empty()) {
            match (word.strip_prefix(">="), word.strip_prefix("<="), word.strip_prefix('!')) {
                (Some(name), ..) => low = place(name)?,
                (_, Some(name), _) => high = place(name)?,
                (.., Some(name)) => left_out.push(place(name)?),
                _ => listed.push(place(word)?),
            }
        }
        let has = |place: usize| {
            (low..=high).contains(&place)
                && !left_out.contains(&place)
                && (listed.is_empty() || listed.contains(&place))
        };
        let versions = TlsVersions { tls12: has(4), tls13: has(5) };
        match versions.tls12 || versions.tls13 {
            true => Ok(versions),
            false => {
                Err(format!("\"{text}\" leaves neither TLSv1.2 nor TLSv1.3, and no other version is served"))
            }
        }
    }
}

/// A name that a certificate may bear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// `hostname`: that of the server, as the DNS gave it.
    Hostname,
    /// This one.
    Exact(String),
    /// One below this domain, which begins with a dot.
    Below(String),
}

/// What one connection must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsPolicy {
    /// How much.
    pub level: TlsLevel,
    /// Which versions.
    pub versions: TlsVersions,
    /// Names, one of which the certificate must bear; at levels `verify` and `secure`.
    pub names: Vec<NamePattern>,
    /// Fingerprints in upper case with colons, one of which the certificate or its key must have; at level
    /// `fingerprint`.
    pub fingerprints: Vec<String>,
    /// The name that is asked for by SNI; empty for that of the server.
    pub servername: String,
    /// The connection may carry other mail later.
    pub reuse: bool,
}

impl TlsPolicy {
    /// No encryption.
    pub const fn none() -> TlsPolicy {
        TlsPolicy {
            level: TlsLevel::None,
            versions: TlsVersions { tls12: true, tls13: true },
            names: Vec::new(),
            fingerprints: Vec::new(),
            servername: String::new(),
            reuse: false,
        }
    }
}

/// What `main.cf` says for all destinations.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// `smtp_tls_security_level`.
    pub level: TlsLevel,
    /// `smtp_tls_policy_maps`.
    pub policies: Maps,
    /// `smtp_tls_protocols`.
    pub versions: TlsVersions,
    /// `smtp_tls_mandatory_protocols`.
    pub mandatory_versions: TlsVersions,
    /// `smtp_tls_verify_cert_match`.
    pub verify_match: Vec<String>,
    /// `smtp_tls_secure_cert_match`.
    pub secure_match: Vec<String>,
    /// `smtp_tls_fingerprint_cert_match`.
    pub fingerprint_match: Vec<String>,
    /// `smtp_tls_servername`; `hostname`, `nexthop` or a name.
    pub servername: String,
    /// `smtp_tls_connection_reuse`.
    pub reuse: bool,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        let versions = TlsVersions { tls12: true, tls13: true };
        TlsSettings {
            level: TlsLevel::None,
            policies: Maps::default(),
            versions,
            mandatory_versions: versions,
            verify_match: vec!["hostname".into()],
            secure_match: vec!["nexthop".into(), "dot-nexthop".into()],
            fingerprint_match: Vec::new(),
            servername: String::new(),
            reuse: false,
        }
    }
}

/// A policy that cannot be understood, or not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPolicy {
    /// What is wrong with the entry for the next hop, for the log.
    Entry(String),
    /// The table could not be asked.
    Table(LookupTrouble),
}

impl TlsSettings {
    /// Whether no connection is ever encrypted.
    pub fn is_off(&self) -> bool {
        self.level == TlsLevel::None && self.policies.is_empty()
    }

    /// The policy for a next hop as transport(5) writes it.
    ///
    /// # Errors
    /// Either [`BadPolicy`].
    pub async fn policy_for(&self, tables: &impl Tables, nexthop: &str) -> Result<TlsPolicy, BadPolicy> {
        let entry = self.entry_for(tables, nexthop).await.map_err(BadPolicy::Table)?;
        let host = host_of(nexthop);
        match entry {
            None => Ok(self.policy(self.level, host)),
            Some(entry) => self
                .parse(&entry, host)
                .map_err(|wrong| BadPolicy::Entry(format!("TLS policy for {nexthop}: \"{entry}\": {wrong}"))),
        }
    }

    /// The table's entry. A plain domain is looked up with its parents, each with the dot before it; anything else only as
    /// it is.
    async fn entry_for(
        &self,
        tables: &impl Tables,
        nexthop: &str,
    ) -> Result<Option<Box<str>>, LookupTrouble> {
        if self.policies.is_empty() {
            return Ok(None);
        }
        if nexthop.starts_with('[') || nexthop.contains(':') {
            return self.policies.find(tables, nexthop, Key::Whole).await;
        }
        self.policies.find_domain(tables, nexthop, false).await
    }

    fn policy(&self, level: TlsLevel, host: &str) -> TlsPolicy {
        let names = match level {
            TlsLevel::Verify => patterns(self.verify_match.iter().map(String::as_str), host),
            TlsLevel::Secure => patterns(self.secure_match.iter().map(String::as_str), host),
            _ => Vec::new(),
        };
        let fingerprints = match level {
            TlsLevel::Fingerprint => {
                self.fingerprint_match.iter().map(|one| one.to_ascii_uppercase()).collect()
            }
            _ => Vec::new(),
        };
        TlsPolicy {
            level,
            versions: if level.is_required() { self.mandatory_versions } else { self.versions },
            names,
            fingerprints,
            servername: servername(&self.servername, host),
            reuse: self.reuse,
        }
    }

    /// Reads `level name=value …`.
    fn parse(&self, entry: &str, host: &str) -> Result<TlsPolicy, String> {
        let mut words = entry.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let word = words.next().ok_or("it is empty")?;
        let level = TlsLevel::named(word).ok_or_else(|| format!("\"{word}\" is no level that is served"))?;
        let mut policy = self.policy(level, host);
        let mut has_match = false;
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("\"{word}\" has no value"))?;
            match name.to_ascii_lowercase().as_str() {
                "protocols" => policy.versions = TlsVersions::parse(value)?,
                // All ciphers that are served are of the highest grade.
                "ciphers" | "exclude" => {}
                "match" if level == TlsLevel::Fingerprint => {
                    if !std::mem::replace(&mut has_match, true) {
                        policy.fingerprints.clear();
                    }
                    policy.fingerprints.extend(value.split('|').map(str::to_ascii_uppercase));
                }
                "match" if level >= TlsLevel::Verify => {
                    if !std::mem::replace(&mut has_match, true) {
                        policy.names.clear();
                    }
                    policy.names.extend(patterns(value.split(':'), host));
                }
                "match" => return Err(format!("\"match\" is of no use at level \"{word}\"")),
                "servername" => policy.servername = servername(value, host),
                "connection_reuse" => policy.reuse = value.eq_ignore_ascii_case("yes"),
                _ => return Err(format!("\"{name}\" is not served")),
            }
        }
        if level == TlsLevel::Fingerprint && policy.fingerprints.is_empty() {
            return Err("level \"fingerprint\" without a fingerprint".into());
        }
        Ok(policy)
    }
}

/// The host of a next hop: without brackets and port.
fn host_of(nexthop: &str) -> &str {
    match nexthop.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _port)) => host,
        None => nexthop.split_once(':').map_or(nexthop, |(host, _port)| host),
    }
}

fn patterns<'a>(words: impl Iterator<Item = &'a str>, host: &str) -> Vec<NamePattern> {
    let of = |word: &str| match word {
        "hostname" => NamePattern::Hostname,
        "nexthop" => NamePattern::Exact(host.to_ascii_lowercase()),
        "dot-nexthop" => NamePattern::Below(format!(".{}", host.to_ascii_lowercase())),
        _ if word.starts_with('.') => NamePattern::Below(word.to_ascii_lowercase()),
        _ => NamePattern::Exact(word.to_ascii_lowercase()),
    };
    words.filter(|word| !word.is_empty()).map(of).collect()
}

fn servername(word: &str, host: &str) -> String {
    match word {
        "hostname" => String::new(),
        "nexthop" => host.to_ascii_lowercase(),
        _ => word.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{MemoryTables, TableId, at_once};
    use crate::maps::MapTable;

    fn versions(text: &str) -> Option<(bool, bool)> {
        TlsVersions::parse(text).ok().map(|versions| (versions.tls12, versions.tls13))
    }

    #[test]
    fn versions_are_read_as_postfix_reads_them() {
        assert_eq!(versions(""), Some((true, true)));
        assert_eq!(versions(">=TLSv1"), Some((true, true)));
        assert_eq!(versions("!SSLv2, !SSLv3"), Some((true, true)));
        assert_eq!(versions(">=TLSv1.3"), Some((false, true)));
        assert_eq!(versions("<=tlsv1.2"), Some((true, false)));
        assert_eq!(versions("TLSv1 TLSv1.2"), Some((true, false)));
        assert_eq!(versions("!TLSv1.3"), Some((true, false)));
        assert_eq!(versions("<=TLSv1.1"), None);
        assert_eq!(versions("TLSv9"), None);
    }

    fn policy(entries: &[(&str, &str)], nexthop: &str) -> Result<TlsPolicy, BadPolicy> {
        let mut tables = MemoryTables::default();
        for (key, value) in entries {
            match *value {
                "trouble" => tables.put_trouble(TableId(0), key, "gone"),
                value => tables.put(TableId(0), key, value),
            }
        }
        let policies = Maps::of([MapTable { id: TableId(0), is_pattern: false }]);
        let settings = TlsSettings { level: TlsLevel::May, policies, ..TlsSettings::default() };
        at_once(settings.policy_for(&tables, nexthop)).expect("tables in memory answer at once")
    }

    #[test]
    fn the_next_hop_decides_as_it_is_written() {
        let entries = [
            ("example.com", "encrypt"),
            (".example.com", "none"),
            ("[mx.example.net]:587", "secure match=nexthop:.other.example protocols=TLSv1.3 ciphers=high"),
        ];
        let level = |nexthop| policy(&entries, nexthop).expect("it is good").level;
        assert_eq!(level("example.com"), TlsLevel::Encrypt);
        assert_eq!(level("a.b.example.com"), TlsLevel::None);
        assert_eq!(level("example.com:25"), TlsLevel::May, "with a port it is another next hop");
        assert_eq!(level("[example.com]"), TlsLevel::May);
        let secure = policy(&entries, "[mx.example.net]:587").expect("it is good");
        let names =
            [NamePattern::Exact("mx.example.net".into()), NamePattern::Below(".other.example".into())];
        assert_eq!(secure.names, names);
        assert_eq!(secure.versions, TlsVersions { tls12: false, tls13: true });
    }

    #[test]
    fn levels_bring_their_names() {
        let of = |entry: &'static str| policy(&[("d.example", entry)], "d.example");
        assert_eq!(of("verify").expect("it is good").names, [NamePattern::Hostname]);
        let below = NamePattern::Below(".d.example".into());
        assert_eq!(of("secure").expect("it is good").names, [NamePattern::Exact("d.example".into()), below]);
        let listed = of("fingerprint match=aa:bb|cc:dd match=ee").expect("it is good").fingerprints;
        assert_eq!(listed, ["AA:BB", "CC:DD", "EE"]);
        assert_eq!(of("may servername=nexthop").expect("it is good").servername, "d.example");
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for entry in ["", "dane", "strong", "fingerprint", "encrypt match=x", "may tafile=/x", "may x"] {
            let found = policy(&[("d.example", entry)], "d.example");
            assert!(matches!(found, Err(BadPolicy::Entry(_))), "{entry}: {found:?}");
        }
        let found = policy(&[("d.example", "trouble")], "d.example");
        assert!(matches!(found, Err(BadPolicy::Table(_))));
    }
}
