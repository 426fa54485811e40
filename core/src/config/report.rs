//! What becomes of each parameter that a configuration sets: the text of `ringpost check`, and what stops a start.

use core::fmt;
use std::collections::HashSet;

use super::error::{ConfigError, Place, quoted};
use super::expand::references;
use super::listener;
use super::master_cf::ServiceType;
use super::parameter::{Class, Kind, Weakens};
use super::parameters;
use super::settings::{Config, View};
use super::value::split_list;

/// What becomes of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Read and acted on; by whom.
    Honoured(&'static str),
    /// Accepted; why ignoring it changes nothing.
    WithoutEffect(String),
    /// A name of the administrator's own, to which some value refers.
    UserDefined,
    /// A name that nobody knows and nothing refers to: perhaps a slip of the pen.
    Unknown,
    /// Not served; why.
    Refused(String),
    /// Not served, and ignoring it would weaken security: the start stops; why.
    RefusedStopsStart(String),
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportLine {
    /// Where it stands.
    pub place: Place,
    /// The parameter, or `master.cf`'s service as `name/type`.
    pub name: String,
    /// As written.
    pub value: String,
    /// What becomes of it.
    pub verdict: Verdict,
}

impl fmt::Display for ReportLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} = {}: ", self.place, self.name, self.value)?;
        match &self.verdict {
            Verdict::Honoured(by) => write!(formatter, "honoured ({by})"),
            Verdict::WithoutEffect(reason) => write!(formatter, "accepted without effect ({reason})"),
            Verdict::UserDefined => formatter.write_str("user-defined"),
            Verdict::Unknown => {
                formatter.write_str("unknown: no parameter has this name, and nothing refers to it")
            }
            Verdict::Refused(reason) => write!(formatter, "refused ({reason})"),
            Verdict::RefusedStopsStart(reason) => {
                write!(formatter, "refused ({reason}; ignoring it would weaken security, so the start stops)")
            }
        }
    }
}

/// Every setting of `main.cf`, the command line and `master.cf`, in the order of the files.
pub fn report(config: &Config) -> Vec<ReportLine> {
    let base = config.view();
    let mut lines: Vec<ReportLine> = config
        .definitions
        .iter()
        .map(|(name, definition)| line(&base, name, &definition.text, definition.place.clone()))
        .collect();
    lines.sort_by(|left, right| (&left.place, &left.name).cmp(&(&right.place, &right.name)));
    for service in &config.services {
        let view = config.for_service(service);
        if let Some(verdict) = service_verdict(service) {
            lines.push(ReportLine {
                place: service.place.clone(),
                name: format!("{}/{}", service.name, service.kind.word()),
                value: service.command.clone(),
                verdict,
            });
        }
        for (name, value) in &service.settings {
            let mut line = line(&view, name, value, service.place.clone());
            line.name = format!("{}/{}/{name}", service.name, service.kind.word());
            if let (Verdict::Honoured(_), Some(reason)) = (&line.verdict, not_read_for(service, name)) {
                line.verdict = Verdict::Refused(reason.into());
            }
            lines.push(line);
        }
    }
    let referred = referred(config);
    for line in &mut lines {
        let name = line.name.rsplit('/').next().unwrap_or_default();
        if line.verdict == Verdict::UserDefined && !referred.contains(name) {
            line.verdict = Verdict::Unknown;
        }
    }
    lines
}

/// The names to which values refer, and the classes of restrictions.
fn referred(config: &Config) -> HashSet<String> {
    let mut names = HashSet::new();
    let own = config.services.iter().flat_map(|service| service.settings.iter());
    let values = config.definitions.values().map(|definition| &definition.text);
    for text in values.chain(own.map(|(_, value)| value)) {
        // What is wrong with a reference was told when the configuration was loaded.
        let _ = references(text, &mut |name| {
            names.insert(name.to_owned());
        });
    }
    let views = config.services.iter().map(|service| config.for_service(service));
    for view in views.chain([config.view()]) {
        let classes = view.expanded("smtpd_restriction_classes").unwrap_or_default();
        names.extend(split_list(&classes).into_iter().map(String::from));
    }
    names
}

/// The settings that stop the start, as errors.
pub fn refusals(config: &Config) -> Vec<ConfigError> {
    let stopping = report(config).into_iter().filter_map(|line| match line.verdict {
        Verdict::RefusedStopsStart(reason) => {
            let text = format!(
                "{} = {}: {reason}; ignoring it would weaken security",
                line.name,
                quoted(&line.value)
            );
            Some(ConfigError { place: line.place, text })
        }
        _ => None,
    });
    stopping.collect()
}

/// Why a setting that is honoured in `main.cf` is not read from this service's own line.
fn not_read_for(service: &super::master_cf::Service, name: &str) -> Option<&'static str> {
    let smtp = service.kind == ServiceType::Unix && service.name == "smtp";
    match name {
        "syslog_name" => Some("all services log under one syslog_name so far"),
        "anvil_rate_time_unit" | "anvil_status_update_time" | "fast_flush_domains" => {
            Some("one value serves all services")
        }
        _ if listener::protocol(service).is_some() || smtp => None,
        _ => Some("only smtpd's and smtp's own settings are read so far"),
    }
}

fn service_verdict(service: &super::master_cf::Service) -> Option<Verdict> {
    const AGENTS: [&str; 8] = ["smtp", "cleanup", "qmgr", "bounce", "scache", "rewrite", "error", "discard"];
    if listener::protocol(service).is_some() {
        return Some(Verdict::Honoured("listener"));
    }
    if service.kind == ServiceType::Inet || service.kind == ServiceType::Pass {
        let reason = format!("{} does not listen here yet", service.command);
        return Some(Verdict::Refused(reason));
    }
    let agent = AGENTS.contains(&service.command.as_str()) || service.command == "trivial-rewrite";
    (!agent).then(|| Verdict::WithoutEffect(format!("{} does not run here yet", service.command)))
}

fn line(view: &View<'_>, name: &str, value: &str, place: Place) -> ReportLine {
    ReportLine { place, name: name.into(), value: value.into(), verdict: verdict(view, name) }
}

fn verdict(view: &View<'_>, name: &str) -> Verdict {
    let Some(parameter) = parameters::find(name) else { return Verdict::UserDefined };
    // The configuration was checked, so every value expands; were one not to, it would be refused below.
    let value = view.expanded(name).unwrap_or_else(|reason| reason);
    match parameter.class {
        Class::Honoured(by) => {
            if parameter.kind == Kind::Restrictions
                && let Some(unread) = view.unread_restriction(name, &value)
            {
                return Verdict::RefusedStopsStart(format!(
                    "the restriction {}: {}",
                    quoted(&unread.item),
                    unread.reason
                ));
            }
            Verdict::Honoured(by)
        }
        Class::WithoutEffect(reason) => Verdict::WithoutEffect(reason.into()),
        Class::Refused { reason, weakens } => {
            if is_off(view, name, parameter.default, &value) {
                return Verdict::WithoutEffect("off, as it is here".into());
            }
            let stops = match weakens {
                Weakens::Never => false,
                Weakens::Always => true,
                Weakens::Unless(words) => !words.contains(&value.as_str()),
            };
            if stops { Verdict::RefusedStopsStart(reason.into()) } else { Verdict::Refused(reason.into()) }
        }
    }
}

/// Whether a value asks for nothing that is not so anyway.
fn is_off(view: &View<'_>, name: &str, default: &str, value: &str) -> bool {
    let off = |text: &str| matches!(text, "" | "no" | "none" | "0");
    let default = if default.contains('$') {
        super::expand::expand(default, |other| if other == name { None } else { view.unexpanded(other) })
            .unwrap_or_default()
    } else {
        default.to_string()
    };
    value == default || off(value) && off(&default)
}
