//! A policy service as a restriction names it, and what the configuration says about asking it.

use std::time::Duration;

use crate::config::{TimeUnit, View, names, parse_integer, parse_time, quoted_value, split_list};

/// Where a policy server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyEndpoint {
    /// `inet:host:port`.
    Inet {
        /// A name or an address.
        host: Box<str>,
        /// The port.
        port: u16,
    },
    /// `unix:path`; a relative path begins at the queue directory.
    Unix(Box<str>),
}

/// `check_policy_service` with its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyService {
    /// The whole argument: services that differ in any setting share no connections.
    pub name: Box<str>,
    /// The place as the log names it, without `inet:` or `unix:`.
    pub place: Box<str>,
    /// Where it is.
    pub endpoint: PolicyEndpoint,
    timeout: Option<Duration>,
    default_action: Option<Box<str>>,
    policy_context: Option<Box<str>>,
    max_idle: Option<Duration>,
    max_ttl: Option<Duration>,
    request_limit: Option<u64>,
    retry_delay: Option<Duration>,
    try_limit: Option<u64>,
}

/// `smtpd_policy_service_*`.
#[derive(Debug, Clone, Default)]
pub struct PolicyDefaults {
    timeout: Duration,
    default_action: String,
    policy_context: String,
    max_idle: Duration,
    max_ttl: Duration,
    request_limit: u64,
    retry_delay: Duration,
    try_limit: u64,
}

/// How a service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicySettings<'a> {
    /// How long one try may take.
    pub timeout: Duration,
    /// What is done if it cannot be asked.
    pub default_action: &'a str,
    /// What it is told of where it is asked.
    pub policy_context: &'a str,
    /// How long a connection may wait for its next request.
    pub max_idle: Duration,
    /// How old a connection may become.
    pub max_ttl: Duration,
    /// Requests of one connection; 0 for any number.
    pub request_limit: u64,
    /// How long to wait before another try.
    pub retry_delay: Duration,
    /// Tries, at least one.
    pub try_limit: u64,
}

impl PolicyService {
    /// Reads `inet:host:port`, `unix:path`, or one of these with settings behind it (the argument's braces taken off).
    ///
    /// # Errors
    /// What is wrong, in a few words.
    pub fn parse(argument: &str) -> Result<PolicyService, String> {
        let mut parts = split_list(argument).into_iter();
        let server = parts.next().unwrap_or_default();
        let (kind, place) = server
            .split_once(':')
            .filter(|(_, place)| !place.is_empty())
            .ok_or_else(|| format!("{}: need inet:host:port or unix:path", quoted_value(server)))?;
        let endpoint = match kind {
            "inet" => inet(place)?,
            "unix" | "local" => PolicyEndpoint::Unix(place.into()),
            _ => return Err(format!("{}: need inet:host:port or unix:path", quoted_value(server))),
        };
        let mut service = PolicyService {
            name: argument.into(),
            place: place.into(),
            endpoint,
            timeout: None,
            default_action: None,
            policy_context: None,
            max_idle: None,
            max_ttl: None,
            request_limit: None,
            retry_delay: None,
            try_limit: None,
        };
        // A value with spaces stands in braces, together with its name; `name = value` may have spaces around the sign.
        let mut settings = parts.peekable();
        while let Some(part) = settings.next() {
            let (name, value) = match part.split_once('=') {
                Some((name, "")) => (name, settings.next().unwrap_or_default()),
                Some((name, value)) => (name, value),
                None => match settings.next_if(|sign| sign.starts_with('=')) {
                    Some("=") => (part, settings.next().unwrap_or_default()),
                    Some(value) => (part, &value[1..]),
                    None => return Err(format!("{} is no setting", quoted_value(part))),
                },
            };
            service.set(name.trim(), value.trim())?;
        }
        Ok(service)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let time =
            || parse_time(value, TimeUnit::Seconds).map(Some).map_err(|wrong| format!("{name}: {wrong}"));
        let number = |least| {
            parse_integer(value, least, u32::MAX.into()).map(Some).map_err(|wrong| format!("{name}: {wrong}"))
        };
        match name {
            "timeout" => self.timeout = time()?.filter(|time| !time.is_zero()),
            "default_action" => self.default_action = Some(value.into()),
            "policy_context" => self.policy_context = Some(value.into()),
            "max_idle" => self.max_idle = time()?,
            "max_ttl" => self.max_ttl = time()?,
            "request_limit" => self.request_limit = number(0)?,
            "retry_delay" => self.retry_delay = time()?,
            "try_limit" => self.try_limit = number(1)?,
            _ => return Err(format!("{} is no setting of a policy service", quoted_value(name))),
        }
        Ok(())
    }

    /// How it is asked; what it does not say itself is as for all.
    pub fn settings<'a>(&'a self, defaults: &'a PolicyDefaults) -> PolicySettings<'a> {
        PolicySettings {
            timeout: self.timeout.unwrap_or(defaults.timeout),
            default_action: self.default_action.as_deref().unwrap_or(&defaults.default_action),
            policy_context: self.policy_context.as_deref().unwrap_or(&defaults.policy_context),
            max_idle: self.max_idle.unwrap_or(defaults.max_idle),
            max_ttl: self.max_ttl.unwrap_or(defaults.max_ttl),
            request_limit: self.request_limit.unwrap_or(defaults.request_limit),
            retry_delay: self.retry_delay.unwrap_or(defaults.retry_delay),
            try_limit: self.try_limit.unwrap_or(defaults.try_limit).max(1),
        }
    }
}

impl PolicyDefaults {
    /// Reads `smtpd_policy_service_*`.
    pub fn read(view: &View<'_>) -> PolicyDefaults {
        PolicyDefaults {
            timeout: view.time(names::SMTPD_POLICY_SERVICE_TIMEOUT),
            default_action: view.text(names::SMTPD_POLICY_SERVICE_DEFAULT_ACTION),
            policy_context: view.text(names::SMTPD_POLICY_SERVICE_POLICY_CONTEXT),
            max_idle: view.time(names::SMTPD_POLICY_SERVICE_MAX_IDLE),
            max_ttl: view.time(names::SMTPD_POLICY_SERVICE_MAX_TTL),
            request_limit: view.number(names::SMTPD_POLICY_SERVICE_REQUEST_LIMIT),
            retry_delay: view.time(names::SMTPD_POLICY_SERVICE_RETRY_DELAY),
            try_limit: view.number(names::SMTPD_POLICY_SERVICE_TRY_LIMIT),
        }
    }
}

/// `host:port`, `[address]:port`, or a port of this host.
fn inet(place: &str) -> Result<PolicyEndpoint, String> {
    let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = if host.is_empty() { "localhost" } else { host };
    let named = host.parse::<std::net::IpAddr>().is_ok() || crate::access::is_hostname(host);
    match crate::config::port(port).filter(|_| named) {
        Some(port) => Ok(PolicyEndpoint::Inet { host: host.into(), port }),
        None => Err(format!("{} is no host:port", quoted_value(place))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_settings_are_read() {
        let plain = PolicyService::parse("inet:127.0.0.1:10031").unwrap();
        assert_eq!(plain.endpoint, PolicyEndpoint::Inet { host: "127.0.0.1".into(), port: 10031 });
        assert_eq!((&*plain.name, &*plain.place), ("inet:127.0.0.1:10031", "127.0.0.1:10031"));
        let defaults =
            PolicyDefaults { try_limit: 2, retry_delay: Duration::from_secs(1), ..PolicyDefaults::default() };
        assert_eq!(plain.settings(&defaults).try_limit, 2);

        let text = "unix:private/policy, timeout=10s, { default_action = 451 4.7.1 later }, try_limit = 5, \
                    policy_context=x, max_idle=1m, max_ttl = 2m, request_limit=7, retry_delay =3";
        let full = PolicyService::parse(text).unwrap();
        let settings = full.settings(&defaults);
        assert_eq!(full.endpoint, PolicyEndpoint::Unix("private/policy".into()));
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(settings.default_action, "451 4.7.1 later");
        assert_eq!((settings.try_limit, settings.request_limit, settings.policy_context), (5, 7, "x"));
        assert_eq!((settings.max_idle.as_secs(), settings.max_ttl.as_secs()), (60, 120));
        assert_eq!(settings.retry_delay, Duration::from_secs(3));
    }

    #[test]
    fn v6_names_and_lone_ports() {
        let host = |text: &str| match PolicyService::parse(text).unwrap().endpoint {
            PolicyEndpoint::Inet { host, port } => format!("{host} {port}"),
            PolicyEndpoint::Unix(path) => path.into(),
        };
        assert_eq!(host("inet:[::1]:9998"), "::1 9998");
        assert_eq!(host("inet:policy.example:9998"), "policy.example 9998");
        assert_eq!(host("inet::9998"), "localhost 9998");
        assert_eq!(host("inet:9998"), "localhost 9998");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            "",
            "private/policy",
            "inet:",
            "inet:host",
            "inet:host:0",
            "inet:a b:1",
            "tcp:host:1",
            "unix:",
            "inet:host:1, timeout",
            "inet:host:1, timeout=x",
            "inet:host:1, try_limit=0",
            "inet:host:1, colour=red",
        ] {
            assert!(PolicyService::parse(wrong).is_err(), "{wrong}");
        }
    }
}
