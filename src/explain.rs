//! `ringpost explain`: how an address is rewritten, classed, checked and routed, step by step, and which table entry or
//! parameter decided. The code that decides for mail decides here too; it is listened to.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::future::Future;
use std::io::Write as _;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;

use clap::Args;
use ringpost_core::config::{Config, View, names};
use ringpost_core::lookup::{Found, LookupTrouble, TableId, TableSpec, Tables};
use ringpost_core::resolve::{Listing, ResolveSettings, Route};
use ringpost_core::rewrite::Context;
use ringpost_shards::failure::{EX_IOERR, EX_TEMPFAIL, Failure};
use ringpost_shards::settings::{Agent, Agents, resolve_settings};
use ringpost_tables::{Catalogue, TableOptions};

use crate::configuration::ConfigurationArguments;

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
    /// The client that sends the mail
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
}

/// Prints the explanation. Fails when a table could not be asked, as the mail would be deferred then.
pub fn run(arguments: &ExplainArguments) -> Result<(), Failure> {
    let config = arguments.configuration.load()?;
    let catalogue = Catalogue::open(config.tables(), &TableOptions::of(&config.view()));
    let shelf = catalogue.shelf();
    let listening = Listening { tables: &shelf, specs: config.tables(), steps: RefCell::default() };
    let (text, trouble) = explain(&config, &listening, arguments);
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::new(EX_IOERR, format!("cannot write the explanation: {error}")))?;
    match trouble {
        Some(trouble) => Err(Failure::new(EX_TEMPFAIL, trouble.to_string())),
        None => Ok(()),
    }
}

fn explain<T: Tables>(
    config: &Config,
    tables: &Listening<'_, T>,
    arguments: &ExplainArguments,
) -> (String, Option<LookupTrouble>) {
    let view = config.view();
    let mut explanation = Explanation {
        tables,
        settings: &resolve_settings(&view),
        agents: &Agents::of(config),
        view,
        client: arguments.client,
        out: String::new(),
    };
    let sender = explanation.rewrite("sender", &arguments.sender);
    let recipient = explanation.rewrite("recipient", &arguments.address);
    let trouble = wait_for(explanation.follow(&sender, &recipient)).err();
    if let Some(trouble) = &trouble {
        explanation.steps();
        explanation.say("verdict");
        explanation.fact("trouble", format_args!("{trouble}"));
        explanation.fact("delivery", format_args!("deferred: address resolver failure"));
    }
    (explanation.out, trouble)
}

/// The text as far as it has come.
struct Explanation<'a, T> {
    tables: &'a Listening<'a, T>,
    settings: &'a ResolveSettings,
    agents: &'a Agents,
    view: View<'a>,
    client: Option<IpAddr>,
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
            self.tables.steps.borrow_mut().extend(steps);
            self.steps();
        }
        rewritten.into_owned()
    }

    async fn follow(&mut self, sender: &str, recipient: &str) -> Result<(), LookupTrouble> {
        let (settings, tables) = (self.settings, self.tables);
        self.say(&format!("resolve <{recipient}> for mail of <{sender}>"));
        let route = settings.resolve(tables, sender, recipient).await?;
        self.steps();
        self.say(&format!("check <{recipient}>"));
        let listing = settings.is_listed_recipient(tables, recipient, &route).await?;
        self.steps();
        self.say("verdict");
        self.verdict(recipient, &route, &listing);
        Ok(())
    }

    fn verdict(&mut self, recipient: &str, route: &Route<'_>, listing: &Listing) {
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
        if let Some(client) = self.client {
            let mynetworks = self.view.networks(names::MYNETWORKS);
            let member = wait_for(mynetworks.matches_host(&self.tables, None, client));
            let place = match member {
                Ok(true) => "in mynetworks: permit_mynetworks lets it relay",
                Ok(false) => "not in mynetworks",
                Err(_) => "mynetworks cannot be asked now",
            };
            self.fact("client", format_args!("{client} is {place}"));
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
        for step in self.tables.steps.take() {
            self.out.push_str("    ");
            self.say(&step);
        }
    }
}

/// Tables that remember what they were asked, and what was made of it.
struct Listening<'a, T> {
    tables: &'a T,
    specs: &'a [TableSpec],
    steps: RefCell<Vec<String>>,
}

impl<T: Tables> Tables for Listening<'_, T> {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        let found = self.tables.lookup(table, key).await;
        let answer = match &found {
            Ok(Some(value)) => format!("\"{value}\""),
            Ok(None) => "not found".to_owned(),
            Err(trouble) => format!("trouble: {}", trouble.reason),
        };
        let spec = self.specs.get(table.0 as usize).map(TableSpec::to_string).unwrap_or_default();
        self.steps.borrow_mut().push(format!("{spec}: {key}: {answer}"));
        found
    }

    fn note(&self, parameter: &str, decision: fmt::Arguments<'_>) {
        self.steps.borrow_mut().push(format!("{parameter}: {decision}"));
    }
}

/// Waits for a future on this thread: tables behind a server answer from threads of their own.
fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
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
        let listening = Listening { tables: &shelf, specs: config.tables(), steps: RefCell::default() };
        let arguments = ExplainArguments {
            configuration: ConfigurationArguments::of(None),
            address: address.into(),
            sender: sender.into(),
            client: client.map(|client| client.parse().expect("an address")),
        };
        assert_eq!(explain(&config, &listening, &arguments).0, expect);
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
}
