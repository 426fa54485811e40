//! Where to listen: the `inet` services with their addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::{ConfigError, quoted};
use super::master_cf::{Service, ServiceType};
use super::parameters::names;
use super::settings::{Config, View};

/// One `inet` line of `master.cf` that is served.
#[derive(Debug, Clone, Copy)]
pub struct ListenerSpec<'a> {
    /// The service: its settings ([`Config::for_service`]) and limits.
    pub service: &'a Service,
    /// What it speaks.
    pub protocol: Protocol,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP (`smtpd`).
    Smtp,
}

/// Port names that a service may use instead of a number.
const PORTS: [(&str, u16); 7] = [
    ("smtp", 25),
    ("lmtp", 24),
    ("submission", 587),
    ("submissions", 465),
    ("smtps", 465),
    ("ssmtp", 465),
    ("qmqp", 628),
];

/// The port that a number or a name means.
pub fn port(text: &str) -> Option<u16> {
    if let Some((_, port)) = PORTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Some(*port);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port: &u16| digits && port != 0)
}

/// The addresses of an `inet` service.
pub(super) fn addresses(view: &View<'_>, service: &Service) -> Result<Vec<SocketAddr>, ConfigError> {
    let error = |text: String| ConfigError::new(&service.place, text);
    let (host, port_text) = match service.name.rsplit_once(':') {
        Some((host, port)) => (Some(host).filter(|host| !host.is_empty()), port),
        None => (None, service.name.as_str()),
    };
    let number = port(port_text).ok_or_else(|| error(format!("{} is no port", quoted(port_text))))?;
    let hosts = match host {
        Some(host) => vec![host.to_string()],
        None => view.list(names::INET_INTERFACES),
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for host in hosts {
        let addresses = resolve(view, &host).ok_or_else(|| {
            error(format!("{} has no address known here: write the address", quoted(&host)))
        })?;
        for address in addresses.into_iter().filter(|&address| view.uses_protocol(address)) {
            let address = SocketAddr::new(address, number);
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    if found.is_empty() {
        return Err(error(format!("{} has no address that inet_protocols admits", quoted(&service.name))));
    }
    Ok(found)
}

fn resolve(view: &View<'_>, host: &str) -> Option<Vec<IpAddr>> {
    match host {
        "all" => Some(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
        "loopback-only" => Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        _ => view.host().resolve(host),
    }
}

/// Whether `service` is one that [`Config::listeners`] gives.
pub(super) fn protocol(service: &Service) -> Option<Protocol> {
    let served = service.kind == ServiceType::Inet && service.command == "smtpd";
    served.then_some(Protocol::Smtp)
}

impl ListenerSpec<'_> {
    /// Where it listens; `inet_interfaces`, `inet_protocols` and the names of `master.cf` are resolved.
    pub fn addresses(&self, config: &Config) -> Vec<SocketAddr> {
        addresses(&config.for_service(self.service), self.service)
            .expect("checked when the configuration was loaded")
    }
}
