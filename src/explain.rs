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
use ringpost_core::config::{Config, View, names};
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
    let view = config.view();
    let mut explanation = Explanation {
        tables,
        settings: &resolve_settings(&view),
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
mod tests {
    use super::*;
    use ringpost_core::config::{HostFacts, Source, Sources};

    fn check(main_cf: &str, address: &str, sender: &str, client: Option<&str>, expect: &str) {
        let host = HostFacts::loopback("mail.here.example");
        let main = Source { name: "main.cf", text: main_cf.as_bytes() };
        let load = |_: &str| Err("no files here".to_owned());
        let sources = Sources { main: Some(main), master: None, overrides: &[], host: &host, load: &load };
        let config = Config::load(sources).expect("sound");
        let shelf = Catalogue::open(config.tables(), &TableOptions::of(&config.view())).shelf();
        let listening = Listening::to(&shelf, config.tables());
        let arguments = ExplainArguments {
            configuration: ConfigurationArguments::of(None),
            address: address.into(),
            sender: sender.into(),
            client: client.map(|client| client.parse().expect("an address")),
            client_name: None,
            helo: None,
        };
        let explained = explain(&config, &listening, &arguments).expect("sound").0;
        // Long names of tables are cut short.
        let names = [
            ("inline:{old@here.example=team@here.example}", "CANON"),
            (
                "inline:{{team@here.example = lead@here.example a@far.example}, {lead@here.example = b@far.example}}",
                "ALIAS",
            ),
            ("inline:{{u@here.example = v@here.example}, {v@here.example = u@here.example}}", "LOOP"),
        ];
        let explained = names.iter().fold(explained, |text, (long, short)| text.replace(long, short));
        assert_eq!(explained, expect);
    }

    #[test]
    fn mail_that_leaves_is_followed_to_its_relay_host() {
        check(
            "compatibility_level = 3.6\nmyhostname = mail.here.example\nrelayhost = [hub.here.example]\nmynetworks = 127.0.0.0/8\n\
             transport_maps = inline:{{far.example = slow:}}\n",
            "user@far.example",
            "s@here.example",
            Some("192.0.2.1"),
            "\
access of unknown[192.0.2.1]
    smtpd_relay_restrictions: permit_mynetworks: says nothing
    smtpd_relay_restrictions: an item about logins or certificates: says nothing
    smtpd_relay_restrictions: defer_unauth_destination: refuses: 454 4.7.1 <user@far.example>: Relay access denied
    access       refused: 454 4.7.1 <user@far.example>: Relay access denied
resolve <user@far.example> for mail of <s@here.example>
    relayhost: [hub.here.example]
    default_transport: smtp
    inline:{{far.example = slow:}}: user@far.example: not found
    inline:{{far.example = slow:}}: far.example: \"slow:\"
    transport_maps: far.example has slow:
check <user@far.example>
verdict
    class        default
    transport    slow
    nexthop      far.example
    delivery     deferred: mail transport unavailable
    recipient    accepted
    destination  not ours
    client       192.0.2.1 is not in mynetworks
",
        );
    }

    #[test]
    fn an_address_that_routes_by_way_of_us_shows_where_it_goes() {
        check(
            "compatibility_level = 3.6\nmyhostname = mail.here.example\nrelay_domains = inner.example\nmydestination = localhost\n",
            "u%inner.example@localhost",
            "",
            None,
            "\
resolve <u%inner.example@localhost> for mail of <>
    mydestination: localhost is this system
    allow_percent_hack: u@inner.example
    relay_domains: inner.example is listed
    relay_transport: relay
check <u%inner.example@localhost>
verdict
    class        relay
    transport    relay
    nexthop      inner.example
    delivered to u@inner.example
    delivery     by the SMTP client
    recipient    accepted
    destination  ours: reject_unauth_destination lets it pass
",
        );
    }

    #[test]
    fn an_incomplete_address_is_completed_and_its_return_explained() {
        check(
            "compatibility_level = 3.6\nmyhostname = mail.here.example\nmyorigin = here.example\nmydestination =\n\
             transport_maps = static:error:closed\n",
            "user",
            "boss",
            Some("127.0.0.1"),
            "\
rewrite sender <boss>
    append_at_myorigin: boss@here.example
rewrite recipient <user>
    append_at_myorigin: user@here.example
access of unknown[127.0.0.1]
    smtpd_relay_restrictions: permit_mynetworks: permits
    default_transport: smtp
    static:error:closed: user@here.example: \"error:closed\"
    transport_maps: user@here.example has error:closed
    access       refused: 550 5.1.1 <user>: Recipient address rejected: closed
resolve <user@here.example> for mail of <boss@here.example>
    default_transport: smtp
    static:error:closed: user@here.example: \"error:closed\"
    transport_maps: user@here.example has error:closed
check <user@here.example>
verdict
    class        default
    transport    error
    nexthop      closed
    delivery     returned to the sender; the nexthop is the reason
    recipient    unlisted: 550 5.1.1 closed
    destination  not ours
    client       127.0.0.1 is in mynetworks: permit_mynetworks lets it relay
",
        );
    }

    #[test]
    fn trouble_with_a_table_is_told_with_the_steps_before_it() {
        check(
            "compatibility_level = 3.6\nmyhostname = mail.here.example\ntransport_maps = fail:out\n",
            "user@far.example",
            "",
            None,
            "\
resolve <user@far.example> for mail of <>
    default_transport: smtp
    fail:out: user@far.example: trouble: Application error
verdict
    trouble      fail:out: Application error
    delivery     deferred: address resolver failure
",
        );
    }

    #[test]
    fn aliases_of_aliases_and_copies_are_followed_to_their_routes() {
        check(
            "compatibility_level = 3.6\nmyhostname = mail.here.example\nmydestination =\n\
             relay_domains = here.example\nvirtual_alias_domains =\n\
             recipient_canonical_maps = inline:{old@here.example=team@here.example}\n\
             virtual_alias_maps = inline:{{team@here.example = lead@here.example a@far.example}, {lead@here.example = b@far.example}}\n\
             always_bcc = archive@here.example\npropagate_unmatched_extensions =\n",
            "old@here.example",
            "s@far.example",
            None,
            "\
resolve <old@here.example> for mail of <s@far.example>
    relay_domains: here.example is listed
    relay_transport: relay
check <old@here.example>
    CANON: old@here.example: \"team@here.example\"
    recipient_canonical_maps: old@here.example is listed
verdict at RCPT TO:<old@here.example>
    class        relay
    recipient    accepted
    destination  ours: reject_unauth_destination lets it pass
map mail of <s@far.example> for <old@here.example>
    CANON: old@here.example: \"team@here.example\"
    recipient_canonical_maps: old@here.example has team@here.example
    CANON: team@here.example: not found
    CANON: @here.example: not found
    ALIAS: team@here.example: \"lead@here.example a@far.example\"
    virtual_alias_maps: team@here.example has lead@here.example a@far.example
    ALIAS: lead@here.example: \"b@far.example\"
    virtual_alias_maps: lead@here.example has b@far.example
    ALIAS: b@far.example: not found
    ALIAS: @far.example: not found
    ALIAS: a@far.example: not found
    ALIAS: @far.example: not found
    CANON: archive@here.example: not found
    CANON: @here.example: not found
    ALIAS: archive@here.example: not found
    ALIAS: @here.example: not found
    recipient    <b@far.example>
    recipient    <a@far.example>
    copy         <archive@here.example>
resolve <b@far.example> for mail of <s@far.example>
    default_transport: smtp
verdict for <b@far.example>
    class        default
    transport    smtp
    nexthop      far.example
    delivery     by the SMTP client
resolve <a@far.example> for mail of <s@far.example>
    default_transport: smtp
verdict for <a@far.example>
    class        default
    transport    smtp
    nexthop      far.example
    delivery     by the SMTP client
resolve <archive@here.example> for mail of <s@far.example>
    relay_domains: here.example is listed
    relay_transport: relay
verdict for <archive@here.example>
    class        relay
    transport    relay
    nexthop      here.example
    delivery     by the SMTP client
",
        );
    }

    #[test]
    fn each_item_of_the_access_lists_says_its_word() {
        check(
            "compatibility_level = 3.6\nmyhostname = mail.here.example\nmydestination =\nmynetworks = 127.0.0.0/8\n\
             relay_domains = here.example\nsmtpd_restriction_classes = strict\n\
             strict = check_sender_access inline:{far.example=REJECT}\n\
             smtpd_client_restrictions = permit_mynetworks, check_client_access inline:{192.0.2=strict}\n",
            "u@here.example",
            "s@far.example",
            Some("192.0.2.1"),
            "\
access of unknown[192.0.2.1]
    smtpd_client_restrictions: permit_mynetworks: says nothing
    inline:{192.0.2=strict}: unknown: not found
    inline:{192.0.2=strict}: 192.0.2.1: not found
    inline:{192.0.2=strict}: 192.0.2: \"strict\"
    default_transport: smtp
    inline:{far.example=REJECT}: s@far.example: not found
    inline:{far.example=REJECT}: far.example: \"REJECT\"
    smtpd_client_restrictions: check_sender_access inline:{far.example=REJECT}: refuses: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
    smtpd_client_restrictions: strict: refuses: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
    smtpd_client_restrictions: check_client_access inline:{192.0.2=strict}: refuses: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
    access       refused: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
resolve <u@here.example> for mail of <s@far.example>
    relay_domains: here.example is listed
    relay_transport: relay
check <u@here.example>
verdict
    class        relay
    transport    relay
    nexthop      here.example
    delivery     by the SMTP client
    recipient    accepted
    destination  ours: reject_unauth_destination lets it pass
    client       192.0.2.1 is not in mynetworks
",
        );
    }

    #[test]
    fn an_expansion_without_end_is_told() {
        check(
            "compatibility_level = 3.6\nmyhostname = mail.here.example\nvirtual_alias_domains =\nmydestination =\n\
             virtual_alias_recursion_limit = 2\n\
             virtual_alias_maps = inline:{{u@here.example = v@here.example}, {v@here.example = u@here.example}}\n",
            "u@here.example",
            "",
            None,
            "\
resolve <u@here.example> for mail of <>
    default_transport: smtp
check <u@here.example>
    LOOP: u@here.example: \"v@here.example\"
    virtual_alias_maps: u@here.example is listed
verdict at RCPT TO:<u@here.example>
    class        default
    recipient    accepted
    destination  not ours
map mail of <> for <u@here.example>
    LOOP: u@here.example: \"v@here.example\"
    virtual_alias_maps: u@here.example has v@here.example
    LOOP: v@here.example: \"u@here.example\"
    virtual_alias_maps: v@here.example has u@here.example
    warning: unreasonable virtual_alias_maps map nesting for u@here.example -- message not accepted, try again later
verdict
    message      refused: 451 4.6.0 Alias expansion error
",
        );
    }
}
