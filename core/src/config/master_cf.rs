//! `master.cf`: the services.
//!
//! Eight fields (name, type, private, unprivileged, chroot, wake-up, process limit, command with its arguments). Of the
//! arguments `-o name=value` and `-o { name = value }` are taken out as settings of that service alone. A later line
//! with the same name and type replaces an earlier one.

use super::Source;
use super::error::{ConfigError, Place, quoted};
use super::lines::logical_lines;
use super::main_cf::split_definition;
use super::value::split_arguments;

/// More services than anybody has; each is a set of settings that is checked at load.
pub const SERVICES_MAX: usize = 1_000;

/// How a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// TCP.
    Inet,
    /// Unix stream socket.
    Unix,
    /// Unix datagram socket.
    UnixDgram,
    /// Named pipe.
    Fifo,
    /// Unix socket over which connections are handed.
    Pass,
}

impl ServiceType {
    /// As `master.cf` spells it.
    pub fn word(self) -> &'static str {
        match self {
            ServiceType::Inet => "inet",
            ServiceType::Unix => "unix",
            ServiceType::UnixDgram => "unix-dgram",
            ServiceType::Fifo => "fifo",
            ServiceType::Pass => "pass",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let types = [
            ServiceType::Inet,
            ServiceType::Unix,
            ServiceType::UnixDgram,
            ServiceType::Fifo,
            ServiceType::Pass,
        ];
        types.into_iter().find(|kind| kind.word() == text)
    }
}

/// When a service is woken without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeUp {
    /// Every so many seconds; 0 means never.
    pub seconds: u32,
    /// Only once the service has been used (`?`).
    pub once_used: bool,
}

/// One line of `master.cf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name: `smtp`, `127.0.0.1:2525`, `qmgr`.
    pub name: String,
    /// How it is reached.
    pub kind: ServiceType,
    /// Whether access is for the mail system only (default y).
    pub private: bool,
    /// Whether it runs without rights (default y).
    pub unprivileged: bool,
    /// Whether it runs in the queue directory (default n).
    pub chroot: bool,
    /// When it is woken.
    pub wake_up: WakeUp,
    /// The most processes; `None` for the default, 0 for no limit.
    pub process_limit: Option<u32>,
    /// The program, e.g. `smtpd`.
    pub command: String,
    /// Its arguments, without the settings.
    pub arguments: Vec<String>,
    /// Settings that hold for this service alone, in order; later ones win.
    pub settings: Vec<(String, String)>,
    /// Where the line begins.
    pub place: Place,
}

impl Service {
    /// The value that this service's line sets, if it does.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().rev().find(|(set, _)| set == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads a `master.cf`.
///
/// # Errors
/// Every line that is no service.
pub fn read(source: &Source<'_>) -> Result<Vec<Service>, Vec<ConfigError>> {
    let mut services: Vec<Service> = Vec::new();
    let mut errors = Vec::new();
    for line in logical_lines(source)? {
        match parse_service(&line.text, &line.place) {
            Ok(service) => {
                let same = |other: &&mut Service| other.name == service.name && other.kind == service.kind;
                if let Some(earlier) = services.iter_mut().find(same) {
                    *earlier = service;
                } else if services.len() == SERVICES_MAX {
                    errors.push(ConfigError::new(&line.place, format!("more than {SERVICES_MAX} services")));
                    break;
                } else {
                    services.push(service);
                }
            }
            Err(text) => errors.push(ConfigError::new(&line.place, text)),
        }
    }
    if errors.is_empty() { Ok(services) } else { Err(errors) }
}

fn parse_service(line: &str, place: &Place) -> Result<Service, String> {
    let mut words = split_arguments(line)?.into_iter();
    let mut field = |what: &str| words.next().ok_or_else(|| format!("no {what} field: a service has eight"));
    let name = field("name")?.to_string();
    let kind = field("type")?;
    let kind = ServiceType::parse(kind)
        .ok_or_else(|| format!("{} is no type: inet, unix, unix-dgram, fifo or pass", quoted(kind)))?;
    let private = parse_flag("private", field("private")?, true)?;
    let unprivileged = parse_flag("unprivileged", field("unprivileged")?, true)?;
    let chroot = parse_flag("chroot", field("chroot")?, false)?;
    let wake_up = parse_wake_up(field("wake-up")?)?;
    let process_limit = match field("process limit")? {
        "-" => None,
        text => Some(parse_number("process limit", text)?),
    };
    let command = field("command")?.to_string();
    if kind == ServiceType::Inet && private {
        return Err("an inet service cannot be private: write n in the private field".into());
    }
    let mut arguments = Vec::new();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        // `-oname=value` is the same, as with any option.
        let setting = match word.strip_prefix("-o") {
            Some("") => words.next().ok_or("-o without name=value")?,
            Some(attached) => attached,
            None => {
                arguments.push(word.to_string());
                continue;
            }
        };
        let (name, value) = split_definition(setting).map_err(|reason| format!("after -o: {reason}"))?;
        settings.push((name.to_string(), value.to_string()));
    }
    let place = place.clone();
    Ok(Service {
        name,
        kind,
        private,
        unprivileged,
        chroot,
        wake_up,
        process_limit,
        command,
        arguments,
        settings,
        place,
    })
}

fn parse_flag(what: &str, text: &str, default: bool) -> Result<bool, String> {
    match text {
        "y" => Ok(true),
        "n" => Ok(false),
        "-" => Ok(default),
        _ => Err(format!("{} in the {what} field is neither y, n nor -", quoted(text))),
    }
}

fn parse_wake_up(text: &str) -> Result<WakeUp, String> {
    if text == "-" {
        return Ok(WakeUp { seconds: 0, once_used: false });
    }
    let (number, once_used) = match text.strip_suffix('?') {
        Some(number) => (number, true),
        None => (text, false),
    };
    Ok(WakeUp { seconds: parse_number("wake-up", number)?, once_used })
}

fn parse_number(what: &str, text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| format!("{} in the {what} field is no whole number", quoted(text)))
}
