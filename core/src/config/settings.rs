//! The configuration as the program asks it: typed values, per service, checked when loaded.
//!
//! Values are expanded when asked for, so a service's own settings are seen wherever a value refers to them. Asking
//! costs a look-up and an expansion: services read what they need once, at start, into settings of their own.

use core::net::IpAddr;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::Source;
use super::client_rules::{self, ClientRule};
use super::embedded;
use super::error::{ConfigError, Place};
use super::expand::{expand, parse_level};
use super::host::HostFacts;
use super::listener::{self, ListenerSpec};
use super::main_cf::{self, Definition, Definitions};
use super::master_cf::{self, Service};
use super::parameter::{Class, Kind, Name, Parameter, types};
use super::parameters::{self, names};
use super::restriction::{self, Restriction};
use super::value::{parse_bool, parse_integer, parse_time, split_list};
use crate::domain_list::DomainList;
use crate::lookup::{TableId, TableRegistry, TableSpec, TableType};
use crate::maps::Maps;
use crate::network_list::NetworkList;
use crate::qmgr::Feedback;

/// Reads the text of a file that a list names; the error is the reason in words.
pub type Loader<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Everything that a configuration is made of.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// `main.cf`; `None` for the built-in one.
    pub main: Option<Source<'a>>,
    /// `master.cf`; `None` for the built-in one.
    pub master: Option<Source<'a>>,
    /// `-o name=value` of the command line, in order; they win over `main.cf`, a service's own settings over them.
    pub overrides: &'a [(String, String)],
    /// The host.
    pub host: &'a HostFacts,
    /// Files that lists name.
    pub load: Loader<'a>,
}

/// A loaded configuration: every value of every service has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) definitions: Definitions,
    pub(super) services: Vec<Service>,
    host: HostFacts,
    /// Files that lists name, as they were when the configuration was loaded.
    files: HashMap<String, Result<String, String>>,
    pub(super) tables: TableRegistry,
}

/// Lists whose readers ask the tables in them, too; in every other list of networks or domains a table is an error.
pub(super) const LISTS_WITH_TABLES: [&str; 13] = [
    "masquerade_exceptions",
    "mydestination",
    "relay_domains",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
    // Its default is relay_domains.
    "fast_flush_domains",
    "mynetworks",
    "permit_mx_backup_networks",
    "smtpd_authorized_verp_clients",
    "smtpd_authorized_xclient_hosts",
    "smtpd_authorized_xforward_hosts",
    "smtpd_client_event_limit_exceptions",
    "smtpd_forbid_bare_newline_exclusions",
];

/// The configuration as one service sees it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    config: &'a Config,
    service: Option<&'a Service>,
    stress: bool,
}

/// The file name that places of `-o` settings bear.
pub const OVERRIDE_PLACE: &str = "-o";

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the files.
    pub fn load(sources: Sources<'_>) -> Result<Self, Vec<ConfigError>> {
        let main = sources
            .main
            .unwrap_or(Source { name: embedded::MAIN_CF_NAME, text: embedded::MAIN_CF.as_bytes() });
        let master = sources
            .master
            .unwrap_or(Source { name: embedded::MASTER_CF_NAME, text: embedded::MASTER_CF.as_bytes() });
        let (mut definitions, services) = match (main_cf::read(&main), master_cf::read(&master)) {
            (Ok(definitions), Ok(services)) => (definitions, services),
            (main, master) => {
                let mut errors = main.err().unwrap_or_default();
                errors.extend(master.err().unwrap_or_default());
                return Err(errors);
            }
        };
        let place = Place::new(OVERRIDE_PLACE, 0);
        for (name, text) in sources.overrides {
            let definition = Definition { text: text.trim_ascii().into(), place: place.clone() };
            definitions.insert(name.clone(), definition);
        }
        let mut config = Self {
            definitions,
            services,
            host: sources.host.clone(),
            files: HashMap::new(),
            tables: TableRegistry::default(),
        };
        config.read_files(sources.load);
        config.register_tables();
        let errors = config.check();
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// What can be understood of a `main.cf` in which much may be wrong, for a command that only has to find the engine.
    /// Ask it with [`View::expanded`]: its values are not checked.
    pub fn as_far_as_sound(main: &Source<'_>, overrides: &[(String, String)], host: &HostFacts) -> Self {
        let mut definitions = main_cf::read_sound_lines(main);
        let place = Place::new(OVERRIDE_PLACE, 0);
        for (name, text) in overrides {
            definitions.insert(name.clone(), Definition { text: text.clone(), place: place.clone() });
        }
        Self::unchecked(definitions, host)
    }

    /// Definitions that nobody has checked, for those who only expand and show them.
    pub(super) fn unchecked(definitions: Definitions, host: &HostFacts) -> Self {
        Self {
            definitions,
            services: Vec::new(),
            host: host.clone(),
            files: HashMap::new(),
            tables: TableRegistry::default(),
        }
    }

    /// The configuration without any service's own settings.
    pub fn view(&self) -> View<'_> {
        View { config: self, service: None, stress: false }
    }

    /// The configuration as `service` sees it.
    pub fn for_service<'a>(&'a self, service: &'a Service) -> View<'a> {
        View { config: self, service: Some(service), stress: false }
    }

    /// The services, in the order of `master.cf`.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The service that delivers for `transport`: the `unix` line of that name.
    pub fn transport(&self, transport: &str) -> Option<&Service> {
        let unix = |service: &&Service| service.kind == master_cf::ServiceType::Unix;
        self.services.iter().filter(unix).find(|service| service.name == transport)
    }

    /// Where to listen, and for what.
    pub fn listeners(&self) -> Vec<ListenerSpec<'_>> {
        let served = |service| Some(ListenerSpec { service, protocol: listener::protocol(service)? });
        self.services.iter().filter_map(served).collect()
    }

    /// Lists may name files; each is read once, when the configuration is loaded, for all services.
    fn read_files(&mut self, load: Loader<'_>) {
        let wanted = std::cell::RefCell::new(HashMap::new());
        let remembering = |path: &str| {
            let known = wanted.borrow().get(path).cloned();
            known.unwrap_or_else(|| {
                let content = load(path);
                wanted.borrow_mut().insert(path.to_string(), content.clone());
                content
            })
        };
        for view in self.views() {
            for parameter in parameters::table() {
                if !matches!(parameter.kind, Kind::Networks | Kind::Domains) {
                    continue;
                }
                if let Ok(text) = view.expanded(parameter.name)
                    && text.contains('/')
                {
                    // Only the files matter here; what is wrong with the list itself is told by `check`.
                    let _ = match parameter.kind {
                        Kind::Networks => NetworkList::parse(&text, &remembering).err(),
                        _ => DomainList::parse(&text, false, &remembering).err(),
                    };
                }
            }
        }
        self.files = wanted.into_inner();
    }

    pub(super) fn views(&self) -> impl Iterator<Item = View<'_>> {
        let with_settings = self.services.iter().filter(|service| !service.settings.is_empty());
        let services = with_settings.map(|service| self.for_service(service));
        core::iter::once(self.view()).chain(services)
    }

    fn check(&self) -> Vec<ConfigError> {
        let mut errors: Vec<ConfigError> = Vec::new();
        let mut sound: HashMap<&str, String> = HashMap::new();
        let mut names: Vec<(&str, Parameter)> =
            parameters::table().map(|parameter| (parameter.name, *parameter)).collect();
        let mut listed: HashSet<&str> = names.iter().map(|(name, _)| *name).collect();
        let transports = self.definitions.keys().map(String::as_str);
        let settings = self.services.iter().flat_map(|service| service.settings.iter());
        for name in transports.chain(settings.map(|(name, _)| name.as_str())) {
            if let Some(parameter) = parameters::find(name)
                && listed.insert(name)
            {
                names.push((name, *parameter));
            }
        }
        for view in self.views() {
            let first_of_view = errors.len();
            for stress in [false, true] {
                let view = View { stress, ..view };
                for (name, parameter) in &names {
                    match view.checked(name, parameter, sound.get(name).map(String::as_str)) {
                        Ok(Some(text)) => {
                            sound.entry(name).or_insert(text);
                        }
                        Ok(None) => {}
                        Err(text) => {
                            let error =
                                ConfigError { place: view.place(name), text: format!("{name}: {text}") };
                            if errors.len() < ERRORS_MAX && !errors.contains(&error) {
                                errors.push(error);
                            }
                        }
                    }
                }
            }
            errors[first_of_view..].sort_by(|left, right| left.place.cmp(&right.place));
            if errors.len() >= ERRORS_MAX {
                return errors;
            }
            if errors.is_empty()
                && let Some(error) = view.relay_trouble()
            {
                errors.push(error);
            }
        }
        // A default that goes wrong does so because of something that was set, and there it has been told already.
        if errors.iter().any(|error| *error.place.file != *DEFAULT_PLACE) {
            errors.retain(|error| *error.place.file != *DEFAULT_PLACE);
        }
        if errors.is_empty() {
            errors.extend(self.views().flat_map(|view| view.class_trouble()));
            for listener in self.listeners() {
                errors
                    .extend(listener::addresses(&self.for_service(listener.service), listener.service).err());
            }
        }
        errors
    }
}

/// The file name that places of defaults bear.
const DEFAULT_PLACE: &str = "default";

/// A configuration with more errors than this is another file altogether; the rest is not told.
const ERRORS_MAX: usize = 200;

impl<'a> View<'a> {
    /// The same under stress: `$stress` is `yes`.
    pub fn under_stress(self) -> Self {
        Self { stress: true, ..self }
    }

    /// Text, words and levels, references expanded. Templates ([`Kind::Raw`]) as written.
    pub fn text(&self, name: Name<types::Text>) -> String {
        self.value(name.as_str())
    }

    /// A flag.
    pub fn flag(&self, name: Name<types::Bool>) -> bool {
        sound(parse_bool(&self.value(name.as_str())))
    }

    /// A number, or a size in bytes.
    pub fn number(&self, name: Name<types::Int>) -> u64 {
        sound(parse_integer(&self.value(name.as_str()), 0, u64::MAX))
    }

    /// A number of things in memory.
    pub fn count(&self, name: Name<types::Int>) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    /// A time.
    pub fn time(&self, name: Name<types::Time>) -> Duration {
        self.time_named(name.as_str())
    }

    /// A list's elements.
    pub fn list(&self, name: Name<types::List>) -> Vec<String> {
        split_list(&self.value(name.as_str())).into_iter().map(String::from).collect()
    }

    /// A list of networks.
    pub fn networks(&self, name: Name<types::Networks>) -> NetworkList {
        sound(self.parse_networks(name.as_str(), &self.value(name.as_str())))
    }

    /// A list of domains; whether a bare domain stands for its sub-domains is as `parent_domain_matches_subdomains`
    /// says of this parameter. Empty for a parameter that is not honoured.
    pub fn domains(&self, name: Name<types::Domains>) -> DomainList {
        if !is_honoured(name.as_str()) {
            return DomainList::default();
        }
        sound(self.parse_domains(name.as_str(), &self.value(name.as_str())))
    }

    /// A list of lookup tables; empty for a parameter that is not honoured, whose tables nobody opens, and for
    /// `local_recipient_maps` unless it is set.
    pub fn maps(&self, name: Name<types::Maps>) -> Maps {
        if !self.asks_tables_of(name.as_str()) {
            return Maps::default();
        }
        sound(self.parse_maps(&self.value(name.as_str())))
    }

    /// Kinds of clients.
    pub fn clients(&self, name: Name<types::Clients>) -> Vec<ClientRule> {
        sound(self.parse_clients(&self.value(name.as_str())))
    }

    /// Whether a bare domain also stands for its sub-domains in this parameter (`parent_domain_matches_subdomains`).
    pub fn parents_match_subdomains(&self, name: &str) -> bool {
        self.list(names::PARENT_DOMAIN_MATCHES_SUBDOMAINS).iter().any(|listed| listed == name)
    }

    /// The addresses at which mail reaches this system: those of `inet_interfaces`, and of `proxy_interfaces`.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        let interfaces = self.value(names::INET_INTERFACES.as_str());
        let used = |address: &IpAddr| self.listens_at(&interfaces, *address);
        let mut own: Vec<IpAddr> = self.host().interfaces.iter().map(|interface| interface.address).collect();
        own.retain(used);
        let proxies = self.list(names::PROXY_INTERFACES);
        own.extend(proxies.iter().filter_map(|name| self.host().resolve(name)).flatten());
        own
    }

    /// Whether the tables of a parameter are opened and asked. The default of `local_recipient_maps` is not: it names what
    /// the local delivery agent reads, and there is none yet.
    pub(super) fn asks_tables_of(&self, name: &str) -> bool {
        let agentless = names::LOCAL_RECIPIENT_MAPS.as_str();
        is_honoured(name) && (name != agentless || self.defined(name).is_some())
    }

    /// `default_database_type`: of a table without a type.
    pub fn default_table_type(&self) -> TableType {
        let word = self.expanded(names::DEFAULT_DATABASE_TYPE.as_str()).unwrap_or_default();
        TableType::named(&word).unwrap_or(TableType::Hash)
    }

    /// A list of restrictions. Where an item is not known (the start stops then, see [`super::refusals`]) the list ends
    /// with [`Restriction::Reject`].
    pub fn restrictions(&self, name: Name<types::Restrictions>) -> Vec<Restriction> {
        self.read_restrictions(name.as_str(), &self.value(name.as_str())).known
    }

    /// The classes of `smtpd_restriction_classes` with their lists, as [`Restriction::Class`] counts them.
    pub fn restriction_classes(&self) -> Vec<(String, Vec<Restriction>)> {
        let texts = self.restriction_class_texts().into_iter();
        texts
            .map(|(name, text)| (name, self.read_list(&text, None, &|spec| self.table_id(spec)).known))
            .collect()
    }

    /// What a list of restrictions says; `name` is the parameter's.
    pub(super) fn read_restrictions(&self, name: &str, text: &str) -> restriction::Reading {
        self.read_list(text, restriction::implied_key(name), &|spec| self.table_id(spec))
    }

    /// The first item of the list, or of a class, that cannot be read.
    pub(super) fn unread_restriction(&self, name: &str, text: &str) -> Option<restriction::Unread> {
        self.read_restrictions(name, text).unread.or_else(|| {
            let texts = self.restriction_class_texts().into_iter();
            texts
                .filter_map(|(_, text)| self.read_list(&text, None, &|spec| self.table_id(spec)).unread)
                .next()
        })
    }

    pub(super) fn read_list(
        &self,
        text: &str,
        implied: Option<restriction::AccessKey>,
        ids: &dyn Fn(TableSpec) -> Result<TableId, String>,
    ) -> restriction::Reading {
        let classes = self.restriction_class_names();
        let default_type = self.default_table_type();
        let policy_services = true;
        let grammar = restriction::Grammar { classes: &classes, implied, default_type, policy_services, ids };
        restriction::read(text, &grammar)
    }

    fn restriction_class_names(&self) -> Vec<String> {
        let text = self.expanded(names::SMTPD_RESTRICTION_CLASSES.as_str()).unwrap_or_default();
        split_list(&text).into_iter().map(String::from).collect()
    }

    /// A class whose parameter does not expand is empty here; `check` tells of it.
    pub(super) fn restriction_class_texts(&self) -> Vec<(String, String)> {
        let texts = |name: String| {
            let text = self.expanded(&name).unwrap_or_default();
            (name, text)
        };
        self.restriction_class_names().into_iter().map(texts).collect()
    }

    /// `smtpd_relay_restrictions`; never open: with neither a relay nor a recipient list set (compatibility levels
    /// below 1) it is `permit_mynetworks, reject_unauth_destination`.
    pub fn relay_restrictions(&self) -> Vec<Restriction> {
        let relay = self.restrictions(names::SMTPD_RELAY_RESTRICTIONS);
        let recipient = self.restrictions(names::SMTPD_RECIPIENT_RESTRICTIONS);
        if relay.is_empty() && recipient.is_empty() {
            return vec![Restriction::PermitMynetworks, Restriction::RejectUnauthDestination];
        }
        relay
    }

    /// A concurrency feedback.
    pub fn feedback(&self, name: Name<types::Feedback>) -> Feedback {
        sound(self.value(name.as_str()).parse::<Feedback>().map_err(|error| error.to_string()))
    }

    /// A number of one transport: `names::DEFAULT_DESTINATION_CONCURRENCY_LIMIT` for `smtp` reads
    /// `smtp_destination_concurrency_limit`, whose default is the one named.
    pub fn transport_number(&self, transport: &str, name: Name<types::Int>) -> u64 {
        sound(parse_integer(&self.value(&parameters::of_transport(transport, name.as_str())), 0, u64::MAX))
    }

    /// A time of one transport.
    pub fn transport_time(&self, transport: &str, name: Name<types::Time>) -> Duration {
        self.time_named(&parameters::of_transport(transport, name.as_str()))
    }

    /// A feedback of one transport.
    pub fn transport_feedback(&self, transport: &str, name: Name<types::Feedback>) -> Feedback {
        sound(
            self.value(&parameters::of_transport(transport, name.as_str()))
                .parse::<Feedback>()
                .map_err(|error| error.to_string()),
        )
    }

    /// The expanded value of any parameter, known or not; empty if it is not defined.
    ///
    /// # Errors
    /// What is wrong with its references.
    pub fn expanded(&self, name: &str) -> Result<String, String> {
        match parameters::find(name) {
            Some(Parameter { kind: Kind::Raw, .. }) => {
                Ok(self.unexpanded(name).unwrap_or_default().into_owned())
            }
            _ => expand(&self.unexpanded(name).unwrap_or_default(), |name| self.unexpanded(name)),
        }
    }

    /// Expands the `$name`s in a text that is no parameter's value (a template). `own` gives names that are no
    /// parameters; it is asked first.
    ///
    /// # Errors
    /// What is wrong with the references.
    pub fn expand_text(&self, text: &str, own: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        expand(text, |name| own(name).map(Cow::Owned).or_else(|| self.unexpanded(name)))
    }

    /// The text of a parameter as written, or its default.
    pub fn unexpanded(&self, name: &str) -> Option<Cow<'a, str>> {
        if let Some(text) = self.defined(name) {
            return Some(Cow::Borrowed(text));
        }
        self.default_text(name)
    }

    /// The default of a parameter, references not expanded.
    pub(super) fn default_text(&self, name: &str) -> Option<Cow<'a, str>> {
        let computed = match name {
            "myhostname" => Some(self.default_hostname()),
            "mydomain" => Some(self.default_domain()),
            "mynetworks" => Some(self.default_networks()),
            "mail_version" => Some(env!("CARGO_PKG_VERSION").to_string()),
            _ => None,
        };
        if let Some(text) = computed {
            return Some(Cow::Owned(text));
        }
        let parameter = parameters::find(name)?;
        if parameter.name == name {
            return Some(Cow::Borrowed(parameter.default));
        }
        // A transport's own parameter: its default is the general one's value.
        Some(Cow::Owned(format!("${}", parameter.name)))
    }

    /// The host.
    pub fn host(&self) -> &'a HostFacts {
        &self.config.host
    }

    /// Whether `inet_protocols` and the host admit the family of `address`.
    pub fn uses_protocol(&self, address: IpAddr) -> bool {
        let wanted = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        let protocols = self.expanded(names::INET_PROTOCOLS.as_str()).unwrap_or_default();
        let admitted = split_list(&protocols).into_iter().any(|word| word == "all" || word == wanted);
        let host = self.host();
        let present =
            address.is_ipv4() || host.interfaces.iter().any(|interface| interface.address.is_ipv6());
        admitted && present
    }

    /// What this service, the command line or `main.cf` says.
    fn defined(&self, name: &str) -> Option<&'a str> {
        if let Some(service) = self.service {
            if let Some(text) = service.setting(name) {
                return Some(text);
            }
            if name == "service_name" {
                return Some(&service.name);
            }
        }
        if self.stress && name == "stress" {
            return Some("yes");
        }
        self.config.definitions.get(name).map(|definition| definition.text.as_str())
    }

    /// Whether something else than the default is its value.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.defined(name).is_some()
    }

    /// Where the value of `name` was set for this view.
    pub(super) fn place(&self, name: &str) -> Place {
        if let Some(service) = self.service.filter(|service| service.setting(name).is_some()) {
            return service.place.clone();
        }
        match (self.config.definitions.get(name), self.service) {
            (Some(definition), _) => definition.place.clone(),
            (None, Some(service)) => service.place.clone(),
            (None, None) => Place::new(DEFAULT_PLACE, 0),
        }
    }

    fn time_named(&self, name: &str) -> Duration {
        let unit = match parameters::find(name).map(|parameter| parameter.kind) {
            Some(Kind::Time(unit)) => unit,
            _ => super::value::TimeUnit::Seconds,
        };
        sound(parse_time(&self.value(name), unit))
    }

    fn value(&self, name: &str) -> String {
        sound(self.expanded(name))
    }

    /// The text, if it was not the one that is known to be sound already.
    fn checked(
        &self,
        name: &str,
        parameter: &Parameter,
        known: Option<&str>,
    ) -> Result<Option<String>, String> {
        let text = self.expanded(name)?;
        // A list of domains may read otherwise in another service, for another parameter rules its sub-domains; it is
        // sound all the same.
        if known == Some(text.as_str()) {
            return Ok(None);
        }
        match parameter.kind {
            Kind::Text | Kind::Raw | Kind::Restrictions => {}
            Kind::List => drop(split_list(&text)),
            Kind::Bool => drop(parse_bool(&text)?),
            Kind::Int { min, max } => drop(parse_integer(&text, min, max)?),
            Kind::Size => drop(parse_integer(&text, 0, i64::MAX as u64)?),
            Kind::Time(unit) => drop(parse_time(&text, unit)?),
            Kind::Feedback => drop(text.parse::<Feedback>().map_err(|error| error.to_string())?),
            Kind::Level => drop(parse_level(&text)?),
            Kind::Word(words) => {
                if !words.contains(&text.as_str()) {
                    let quoted = super::error::quoted(&text);
                    return Err(format!("{quoted} is none of: {}", words.join(", ")));
                }
            }
            // A list that nobody reads may name what nobody knows.
            Kind::Maps if !self.asks_tables_of(name) => {}
            Kind::Domains if !is_honoured(name) => {}
            Kind::Maps => drop(self.parse_maps(&text)?),
            Kind::Clients => drop(self.parse_clients(&text)?),
            Kind::Networks => drop(self.parse_networks(name, &text)?),
            Kind::Domains => drop(self.parse_domains(name, &text)?),
        }
        Ok(Some(text))
    }

    fn parse_maps(&self, text: &str) -> Result<Maps, String> {
        Maps::parse(text, self.default_table_type(), |spec| self.table_id(spec))
    }

    fn parse_clients(&self, text: &str) -> Result<Vec<ClientRule>, String> {
        client_rules::parse(text, self.default_table_type(), |spec| self.table_id(spec))
    }

    fn table_id(&self, spec: TableSpec) -> Result<TableId, String> {
        let id = self.config.tables.id(&spec);
        id.ok_or_else(|| format!("{spec}: the table was not known when the configuration was loaded"))
    }

    fn table_in_list(&self, name: &str, spec: TableSpec) -> Result<TableId, String> {
        match LISTS_WITH_TABLES.contains(&name) {
            true => self.table_id(spec),
            false => Err(format!("{spec}: lookup tables are not served in this list")),
        }
    }

    fn parse_networks(&self, name: &str, text: &str) -> Result<NetworkList, String> {
        let ids = |spec| self.table_in_list(name, spec);
        let list = NetworkList::parse_with_tables(text, &|path| self.file(path), &ids)?;
        if !list.is_plain() && !LISTS_WITH_TABLES.contains(&name) {
            return Err("names of hosts are not served in this list".into());
        }
        let parents = self.expanded(names::PARENT_DOMAIN_MATCHES_SUBDOMAINS.as_str())?;
        Ok(list.with_parents(split_list(&parents).contains(&name)))
    }

    fn parse_domains(&self, name: &str, text: &str) -> Result<DomainList, String> {
        let parents = self.expanded(names::PARENT_DOMAIN_MATCHES_SUBDOMAINS.as_str())?;
        let parent_matches = split_list(&parents).contains(&name);
        let ids = |spec| self.table_in_list(name, spec);
        DomainList::parse_with_tables(text, parent_matches, &|path| self.file(path), &ids)
    }

    pub(super) fn file(&self, path: &str) -> Result<String, String> {
        let known = self.config.files.get(path);
        known
            .cloned()
            .unwrap_or_else(|| Err("the file was not read when the configuration was loaded".into()))
    }

    /// A restriction class needs a definition of its own.
    fn class_trouble(&self) -> Vec<ConfigError> {
        let place = self.place(names::SMTPD_RESTRICTION_CLASSES.as_str());
        let undefined = |name: String| {
            let text = match self.unexpanded(&name) {
                None => format!("restriction class `{name}' needs a definition"),
                Some(_) => format!("restriction class `{name}': {}", self.expanded(&name).err()?),
            };
            Some(ConfigError::new(&place, &text))
        };
        self.restriction_class_names().into_iter().filter_map(undefined).collect()
    }

    /// A relay open to the world is an error, unless neither list was ever set.
    fn relay_trouble(&self) -> Option<ConfigError> {
        let lists = [names::SMTPD_RELAY_RESTRICTIONS, names::SMTPD_RECIPIENT_RESTRICTIONS];
        let set = lists.iter().find(|name| self.defined(name.as_str()).is_some())?;
        let classes: Vec<Vec<Restriction>> =
            self.restriction_classes().into_iter().map(|(_, list)| list).collect();
        let guarded = lists.iter().any(|name| restriction::guards_relay(&self.restrictions(*name), &classes));
        let text = "smtpd_relay_restrictions and smtpd_recipient_restrictions would relay for everybody: \
                    put reject_unauth_destination, defer_unauth_destination, reject, defer or defer_if_permit into one \
                    of them";
        (!guarded).then(|| ConfigError::new(&self.place(set.as_str()), text))
    }

    /// Expands a value that a computed default needs; references to `hidden` find nothing, so that a default cannot
    /// come to depend on itself.
    fn expanded_without(&self, name: &str, hidden: &str) -> String {
        let lookup = |name: &str| match name {
            _ if name == hidden => None,
            "myhostname" | "mydomain" | "mynetworks" => self.defined(name).map(Cow::Borrowed),
            _ => self.unexpanded(name),
        };
        // What is wrong with it is told where that parameter itself is checked.
        expand(&lookup(name).unwrap_or_default(), lookup).unwrap_or_default()
    }

    fn default_hostname(&self) -> String {
        let hostname = &self.config.host.hostname;
        if hostname.contains('.') { hostname.clone() } else { format!("{hostname}.$mydomain") }
    }

    fn default_domain(&self) -> String {
        let set = self.expanded_without("myhostname", "mydomain");
        let hostname = if set.is_empty() { self.config.host.hostname.clone() } else { set };
        match hostname.split_once('.') {
            Some((_, domain)) if !domain.is_empty() && !domain.contains('$') => domain.to_string(),
            _ => "localdomain".to_string(),
        }
    }

    fn default_networks(&self) -> String {
        let style = self.expanded_without("mynetworks_style", "mynetworks");
        let interfaces = self.expanded_without("inet_interfaces", "mynetworks");
        self.config.host.networks(&style, |address| self.listens_at(&interfaces, address))
    }

    /// Whether a value of `inet_interfaces` names this address, and `inet_protocols` admits it.
    fn listens_at(&self, interfaces: &str, address: IpAddr) -> bool {
        let named = match interfaces {
            "all" => true,
            "loopback-only" => address.is_loopback(),
            _ => split_list(interfaces)
                .into_iter()
                .filter_map(|name| self.config.host.resolve(name))
                .any(|known| known.contains(&address)),
        };
        named && self.uses_protocol(address)
    }
}

fn is_honoured(name: &str) -> bool {
    parameters::find(name).is_some_and(|parameter| matches!(parameter.class, Class::Honoured(_)))
}

/// Every value has been parsed once when the configuration was loaded.
fn sound<T>(value: Result<T, String>) -> T {
    value.unwrap_or_else(|reason| panic!("a value changed since the configuration was checked: {reason}"))
}
