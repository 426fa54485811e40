//! `ringpost explain`: how an address is rewritten, classed, checked, mapped and routed, and for a client what each access
//! list says, step by step, and which table entry or parameter decided. The code that decides for mail decides here too; it
//! is listened to.

mod access;
mod listening;

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;

use clap::Args;
use ringpost_core::cleanup::{
    AskedRecipient, MappedEnvelope, Mapper, MappingRules, MappingSettings, Trouble,
};
use ringpost_core::config::{Config, Service, View, names};
use ringpost_core::envelope::Notify;
use ringpost_core::lookup::{LookupTrouble, Tables};
use ringpost_core::message_actions::MessageActions;
use ringpost_core::resolve::{Listing, ResolveSettings, Route};
use ringpost_core::rewrite::Context;
use ringpost_core::smtpd::Client;
use ringpost_shards::failure::{EX_IOERR, EX_TEMPFAIL, Failure};
use ringpost_shards::settings::{
    Agent, Agents, ReceiveOverrides, cleanup_view, mapping_settings, resolve_settings,
};
use ringpost_tables::{Catalogue, TableOptions};

use self::listening::{Listening, wait_for};
use crate::configuration::ConfigurationArguments;

/// Recipients of an expansion whose routes are shown.
const ROUTES_SHOWN_MAX: usize = 20;

/// What to explain.
#[derive(Args, Debug)]
pub struct ExplainArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    /// The recipient, as a client or a header names it
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// The envelope sender; without it the null sender
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    sender: String,
    /// The smtpd line of master.cf that takes the mail, by its name there; without it what main.cf alone says
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The client that sends the mail: what the access lists say to it is explained, too. The DNS is not asked.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The client's name, as if the DNS had verified it
    #[arg(long, value_name = "NAME", requires = "client")]
    client_name: Option<String>,
    /// What the client says in EHLO
    #[arg(long, value_name = "NAME", requires = "client")]
    helo: Option<String>,
}

/// Prints the explanation. Fails when a table could not be asked, as the mail would be deferred then.
pub fn run(arguments: &ExplainArguments) -> Result<(), Failure> {
    let config = arguments.configuration.load()?;
    let catalogue = Catalogue::open(config.tables(), &TableOptions::of(&config.view()));
    let shelf = catalogue.shelf();
    let (text, trouble) = explain(&config, &Listening::to(&shelf, config.tables()), arguments)?;
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::new(EX_IOERR, format!("cannot write the explanation: {error}")))?;
    match trouble {
        Some(trouble) => Err(Failure::new(EX_TEMPFAIL, trouble)),
        None => Ok(()),
    }
}

/// The explanation, and what kept it from its end.
fn explain<T: Tables>(
    config: &Config,
    tables: &Listening<'_, T>,
    arguments: &ExplainArguments,
) -> Result<(String, Option<String>), Failure> {
    let view = match &arguments.service {
        None => config.view(),
        Some(name) => {
            let is_meant = |service: &&Service| service.command == "smtpd" && service.name == *name;
            let service = config.services().iter().find(is_meant);
            let service =
                service.ok_or_else(|| Failure::config(format!("master.cf has no smtpd line \"{name}\"")))?;
            config.for_service(service)
        }
    };
    let mut explanation = Explanation {
        tables,
        // Addresses are resolved by a service of their own.
        settings: &resolve_settings(&config.view()),
        mapping: &mapping_settings(&cleanup_view(config, &view))?,
        rules: ReceiveOverrides::read(&view)?.mapping_rules(),
        agents: &Agents::of(config),
        view,
        client: None,
        out: String::new(),
    };
    let sender = explanation.rewrite("sender", &arguments.sender);
    let recipient = explanation.rewrite("recipient", &arguments.address);
    if let Some(address) = arguments.client {
        explanation.access(arguments, address)?;
    }
    let trouble = wait_for(explanation.follow(&sender, &recipient)).err();
    if let Some(trouble) = &trouble {
        explanation.steps();
        explanation.say("verdict");
        match trouble {
            Stopped::Lookup(trouble) => {
                explanation.fact("trouble", format_args!("{trouble}"));
                explanation.fact("delivery", format_args!("deferred: address resolver failure"));
            }
            Stopped::Mapping(trouble) => {
                explanation.fact("message", format_args!("refused: {}", trouble.reply().line()));
            }
        }
    }
    let text = trouble.map(|trouble| match trouble {
        Stopped::Lookup(trouble) => trouble.to_string(),
        Stopped::Mapping(trouble) => trouble.reply().line().to_owned(),
    });
    Ok((explanation.out, text))
}

/// What kept an explanation from its end.
enum Stopped {
    /// A table could not be asked.
    Lookup(LookupTrouble),
    /// The recipients cannot be told.
    Mapping(Trouble),
}

impl From<LookupTrouble> for Stopped {
    fn from(trouble: LookupTrouble) -> Stopped {
        Stopped::Lookup(trouble)
    }
}

/// The text as far as it has come.
struct Explanation<'a, T> {
    tables: &'a Listening<'a, T>,
    settings: &'a ResolveSettings,
    mapping: &'a MappingSettings,
    rules: MappingRules,
    agents: &'a Agents,
    view: View<'a>,
    client: Option<Client>,
    out: String,
}

impl<T: Tables> Explanation<'_, T> {
    fn rewrite(&mut self, role: &str, address: &str) -> String {
        let mut steps = Vec::new();
        let note =
            |parameter: &str, address: &dyn fmt::Display| steps.push(format!("{parameter}: {address}"));
        let rewritten = self.settings.rewrite.rewrite_noting(address, Context::Local, note);
        if !steps.is_empty() {
            self.say(&format!("rewrite {role} <{address}>"));
            self.lines(&steps);
        }
        rewritten.into_owned()
    }

    /// What the access lists say.
    fn access(&mut self, arguments: &ExplainArguments, address: IpAddr) -> Result<(), Failure> {
        let mut client = Client::stranger(address, 0);
        if let Some(name) = &arguments.client_name {
            client = client.named(name);
        }
        let mynetworks = self.view.networks(names::MYNETWORKS);
        let name = arguments.client_name.as_deref();
        client.in_mynetworks = wait_for(mynetworks.matches_host(&self.tables, name, address))
            .map_err(|trouble| Failure::new(EX_TEMPFAIL, format!("mynetworks: {trouble}")))?;
        // Which of its tables have the client is no step of an access list.
        self.tables.take();
        self.say(&format!("access of {}", client.text(false)));
        let session = access::Session {
            client: client.clone(),
            helo: arguments.helo.as_deref(),
            sender: &arguments.sender,
            recipient: &arguments.address,
        };
        let (lines, refusal) = access::explain(&self.view, self.settings, self.tables, &session)?;
        self.lines(&lines);
        match refusal {
            Some(reply) => self.fact("access", format_args!("refused: {reply}")),
            None => self.fact("access", format_args!("granted")),
        }
        self.client = Some(client);
        Ok(())
    }

    async fn follow(&mut self, sender: &str, recipient: &str) -> Result<(), Stopped> {
        let (settings, tables) = (self.settings, self.tables);
        let route = self.route(sender, recipient).await?;
        self.say(&format!("check <{recipient}>"));
        let listing = settings.is_listed_recipient(tables, recipient, &route).await?;
        self.steps();
        let maps = self.rules.by_tables || self.rules.adds_copies;
        if !maps || !self.mapping.maps_anything() {
            self.say("verdict");
            self.routing(recipient, &route);
            self.standing(&route, &listing);
            return Ok(());
        }
        self.say(&format!("verdict at RCPT TO:<{recipient}>"));
        self.fact("class", format_args!("{}", route.class.word()));
        self.standing(&route, &listing);
        let mapped = self.map(sender, recipient).await?;
        for recipient in mapped.recipients.iter().take(ROUTES_SHOWN_MAX) {
            let address = &recipient.address;
            let route = self.route(&mapped.sender, address).await?;
            self.say(&format!("verdict for <{address}>"));
            self.routing(address, &route);
        }
        if let Some(more) = mapped.recipients.len().checked_sub(ROUTES_SHOWN_MAX).filter(|more| *more > 0) {
            self.say(&format!("and {more} recipients more"));
        }
        Ok(())
    }

    async fn route<'r>(&mut self, sender: &str, recipient: &'r str) -> Result<Route<'r>, LookupTrouble>
    where
        Self: 'r,
    {
        let (settings, tables) = (self.settings, self.tables);
        self.say(&format!("resolve <{recipient}> for mail of <{sender}>"));
        let route = settings.resolve(tables, sender, recipient).await?;
        self.steps();
        Ok(route)
    }

    /// What cleanup makes of the envelope.
    async fn map(&mut self, sender: &str, recipient: &str) -> Result<MappedEnvelope, Stopped> {
        self.say(&format!("map mail of <{sender}> for <{recipient}>"));
        let mut notes = Vec::new();
        let mut mapper =
            Mapper { settings: self.mapping, resolve: self.settings, tables: self.tables, notes: &mut notes };
        let asked = AskedRecipient { address: recipient, original: "", orcpt: "", notify: Notify::FAILURE };
        let rules = self.rules;
        let mapped = async {
            let mut mapped = MappedEnvelope::begin(&mut mapper, rules, sender).await?;
            mapped.recipient(&mut mapper, asked).await?;
            mapped.finish(&mut mapper, &MessageActions::default()).await?;
            Ok::<_, Trouble>(mapped)
        };
        let mapped = mapped.await;
        self.steps();
        let notes: Vec<String> = notes.into_iter().map(|note| format!("warning: {}", note.text)).collect();
        self.lines(&notes);
        let mapped = mapped.map_err(Stopped::Mapping)?;
        if mapped.sender != sender {
            self.fact("sender", format_args!("<{}>", mapped.sender));
        }
        for recipient in &mapped.recipients {
            // Copies are told from what was asked for: nobody hears of them.
            let role = if recipient.notify == Notify::NEVER { "copy" } else { "recipient" };
            self.fact(role, format_args!("<{}>", recipient.address));
        }
        Ok(mapped)
    }

    /// Where mail for an address goes.
    fn routing(&mut self, recipient: &str, route: &Route<'_>) {
        self.fact("class", format_args!("{}", route.class.word()));
        self.fact("transport", format_args!("{}", route.transport));
        self.fact("nexthop", format_args!("{}", route.nexthop));
        if route.recipient != recipient {
            self.fact("delivered to", format_args!("{}", route.recipient));
        }
        if route.routed {
            self.fact("routing", format_args!("the address routes on from there"));
        }
        let delivery = match self.agents.agent(&route.transport) {
            Some(Agent::Smtp) => "by the SMTP client",
            Some(Agent::Error) => "returned to the sender; the nexthop is the reason",
            Some(Agent::Retry) => "deferred; the nexthop is the reason",
            Some(Agent::Discard) => "thrown away; the log says the nexthop",
            None => "deferred: mail transport unavailable",
        };
        self.fact("delivery", format_args!("{delivery}"));
    }

    /// Whether a recipient exists, and may be written to.
    fn standing(&mut self, route: &Route<'_>, listing: &Listing) {
        match listing {
            Listing::Listed => self.fact("recipient", format_args!("accepted")),
            Listing::Unlisted(unlisted) => {
                let (code, status, text) = (unlisted.code, unlisted.status, &unlisted.text);
                self.fact("recipient", format_args!("unlisted: {code} {status} {text}"));
            }
        }
        let authorised = self.settings.is_authorised(route);
        let ours = if authorised { "ours: reject_unauth_destination lets it pass" } else { "not ours" };
        self.fact("destination", format_args!("{ours}"));
        if let Some(client) = &self.client {
            let place = match client.in_mynetworks {
                true => "in mynetworks: permit_mynetworks lets it relay",
                false => "not in mynetworks",
            };
            let address = client.address;
            self.fact("client", format_args!("{address} is {place}"));
        }
    }

    fn say(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn fact(&mut self, name: &str, value: fmt::Arguments<'_>) {
        // A String takes what is written to it.
        let _ = writeln!(self.out, "    {name:<12} {value}");
    }

    /// What has happened since the last call.
    fn steps(&mut self) {
        let steps = self.tables.take();
        self.lines(&steps);
    }

    fn lines(&mut self, lines: &[String]) {
        for line in lines {
            self.out.push_str("    ");
            self.say(line);
        }
    }
}

#[cfg(test)]
mod tests;
