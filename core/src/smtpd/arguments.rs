//! The arguments of MAIL, RCPT and BDAT.

use memchr::memchr2;

use super::event::{Event, escaped};
use super::session::Session;
use super::settings::{Extension, SmtpdSettings};
use super::transaction::{MailTransaction, RcptCommand, is_orcpt, is_xtext, parse_notify};
use crate::address::{Address, PathRules};
use crate::envelope::{BodyKind, Notify, Ret};
use crate::limits::DSN_VALUE_BYTES_MAX;
use crate::reply::Reply;
use crate::verp::VerpDelimiters;

/// A command that is not understood: the reply, and what the log should know.
pub(super) struct Wrong {
    pub(super) reply: Reply,
    pub(super) event: Option<Event>,
}

impl From<Reply> for Wrong {
    fn from(reply: Reply) -> Wrong {
        Wrong { reply, event: None }
    }
}

/// The sender is no address.
pub(super) const BAD_SENDER: &str = "501 5.1.7 Bad sender address syntax";
/// The recipient is no address.
pub(super) const BAD_RECIPIENT: &str = "501 5.1.3 Bad recipient address syntax";

/// An address that could be read, but leads nowhere.
pub(super) fn malformed(verb: &'static str, address: &Address, line: &'static str) -> Wrong {
    illegal(verb, format!("<{address}>").as_bytes(), line)
}

fn illegal(verb: &'static str, argument: &[u8], line: &'static str) -> Wrong {
    Wrong {
        reply: Reply::fixed(line),
        event: Some(Event::IllegalAddress { after: verb, argument: escaped(argument) }),
    }
}

fn fixed(line: &'static str) -> Wrong {
    Reply::fixed(line).into()
}

/// `FROM:<path> option…`.
pub(super) fn parse_mail(arguments: &str, session: &Session) -> Result<MailTransaction, Wrong> {
    let (settings, may_ask_verp) = (&session.settings, session.client().may_ask_verp);
    let (path, options) =
        path_after("FROM:", arguments).ok_or_else(|| fixed("501 5.5.4 Syntax: MAIL FROM:<address>"))?;
    let rules = PathRules { strict: settings.strict_rfc821_envelopes, allow_null: true };
    let sender = parse_address(path, rules, "MAIL", BAD_SENDER)?;
    let mut mail = MailTransaction { sender, ..MailTransaction::default() };
    for option in words(options) {
        let (name, value) = split_option(option);
        if name.eq_ignore_ascii_case("SIZE") {
            mail.size_bytes = parse_size(value)?;
        } else if name.eq_ignore_ascii_case("BODY") {
            mail.body = match value {
                Some(kind) if kind.eq_ignore_ascii_case("8BITMIME") => BodyKind::EightBitMime,
                Some(kind) if kind.eq_ignore_ascii_case("7BIT") => BodyKind::SevenBit,
                _ => return Err(unsupported(option)),
            };
        } else if option.eq_ignore_ascii_case("SMTPUTF8") && session.offers(Extension::Smtputf8) {
            mail.smtputf8 = true;
        } else if name.eq_ignore_ascii_case("RET") && value.is_some() {
            require_dsn(session)?;
            let content = match value {
                Some(word) if word.eq_ignore_ascii_case("FULL") => Some(Ret::Full),
                Some(word) if word.eq_ignore_ascii_case("HDRS") => Some(Ret::Headers),
                _ => None,
            };
            if mail.ret.is_some() || content.is_none() {
                return Err(fixed("501 5.5.4 Bad RET parameter syntax"));
            }
            mail.ret = content;
        } else if name.eq_ignore_ascii_case("ENVID") && value.is_some() {
            require_dsn(session)?;
            let value = value.unwrap_or_default();
            if mail.envid.is_some()
                || value.is_empty()
                || value.len() > DSN_VALUE_BYTES_MAX
                || !is_xtext(value)
            {
                return Err(fixed("501 5.5.4 Bad ENVID parameter syntax"));
            }
            mail.envid = Some(value.into());
        } else if name.eq_ignore_ascii_case("XVERP") && may_ask_verp {
            let delimiters = match value {
                None => Some(settings.default_verp_delimiters),
                Some(text) => VerpDelimiters::parse(text, &settings.verp_delimiter_filter),
            };
            if delimiters.is_none() {
                let text =
                    format_args!("Error: XVERP needs two characters from {}", settings.verp_delimiter_filter);
                return Err(Reply::new(501, "5.5.4", text).into());
            }
            mail.verp = delimiters;
        } else if name.eq_ignore_ascii_case("AUTH") && value.is_some() {
            return Err(fixed("503 5.5.4 Error: authentication disabled"));
        } else {
            return Err(unsupported(option));
        }
    }
    check_ascii(&mail.sender, mail.smtputf8, settings, BAD_SENDER)?;
    if mail.verp.is_some() && mail.sender.is_null() {
        return Err(fixed("503 5.5.4 Error: XVERP requires non-null sender"));
    }
    Ok(mail)
}

/// `TO:<path> option…`.
pub(super) fn parse_rcpt(arguments: &str, smtputf8: bool, session: &Session) -> Result<RcptCommand, Wrong> {
    let settings = &session.settings;
    let (path, options) =
        path_after("TO:", arguments).ok_or_else(|| fixed("501 5.5.4 Syntax: RCPT TO:<address>"))?;
    let rules = PathRules { strict: settings.strict_rfc821_envelopes, allow_null: false };
    let address = parse_address(path, rules, "RCPT", BAD_RECIPIENT)?;
    check_ascii(&address, smtputf8, settings, BAD_RECIPIENT)?;
    let mut rcpt = RcptCommand { address, orcpt: None, notify: Notify::UNSET };
    for option in words(options) {
        let (name, value) = split_option(option);
        match value {
            Some(value) if name.eq_ignore_ascii_case("NOTIFY") => {
                require_dsn(session)?;
                match parse_notify(value) {
                    Some(notify) if rcpt.notify == Notify::UNSET => rcpt.notify = notify,
                    _ => return Err(fixed("501 5.5.4 Error: Bad NOTIFY parameter syntax")),
                }
            }
            Some(value) if name.eq_ignore_ascii_case("ORCPT") => {
                require_dsn(session)?;
                let utf8_fits = smtputf8 || value.is_ascii();
                if rcpt.orcpt.is_some() || value.len() > DSN_VALUE_BYTES_MAX || !is_orcpt(value) || !utf8_fits
                {
                    return Err(fixed("501 5.5.4 Error: Bad ORCPT parameter syntax"));
                }
                rcpt.orcpt = Some(value.into());
            }
            _ => return Err(unsupported(option)),
        }
    }
    Ok(rcpt)
}

/// `count [LAST]` of BDAT. `None` when it is neither, so that the payload's length is unknown.
pub(super) fn parse_bdat(arguments: &str) -> Option<(u64, bool)> {
    let mut words = words(arguments);
    let count = words.next()?;
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bytes = count.parse().ok()?;
    match (words.next(), words.next()) {
        (None, _) => Some((bytes, false)),
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => Some((bytes, true)),
        _ => None,
    }
}

/// The words of a command's arguments.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t']).filter(|word| !word.is_empty())
}

/// Splits `FROM:<path> options`. The path keeps its brackets; without brackets it ends at white space.
fn path_after<'a>(keyword: &str, arguments: &'a str) -> Option<(&'a str, &'a str)> {
    let head = arguments.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let text = arguments[keyword.len()..].trim_ascii_start();
    if text.is_empty() {
        return None;
    }
    let bracketed = text.starts_with('<');
    // Nearly no path has a quote before its end.
    if bracketed
        && let Some(end) = memchr2(b'"', b'>', text.as_bytes())
        && text.as_bytes()[end] == b'>'
    {
        return Some(text.split_at(end + 1));
    }
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'>' if bracketed => return Some(text.split_at(index + 1)),
            b' ' | b'\t' if !bracketed => return Some(text.split_at(index)),
            _ => {}
        }
    }
    Some((text, ""))
}

fn parse_address(
    path: &str,
    rules: PathRules,
    verb: &'static str,
    line: &'static str,
) -> Result<Address, Wrong> {
    Address::parse_path(path.as_bytes(), rules).map_err(|_| illegal(verb, path.as_bytes(), line))
}

fn check_ascii(
    address: &Address,
    smtputf8: bool,
    settings: &SmtpdSettings,
    line: &'static str,
) -> Result<(), Wrong> {
    if address.is_ascii() || smtputf8 {
        Ok(())
    } else if !settings.smtputf8_enable {
        Err(fixed(line))
    } else if settings.strict_smtputf8 {
        Err(fixed("553 5.6.7 Must declare SMTPUTF8 to send unicode address"))
    } else {
        Ok(())
    }
}

fn parse_size(value: Option<&str>) -> Result<u64, Wrong> {
    let digits = value.filter(|v| !v.is_empty() && v.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(digits) = digits else { return Err(fixed("501 5.5.4 Bad message size syntax")) };
    digits.parse().map_err(|_| fixed("552 5.3.4 Message size exceeds file system imposed limit"))
}

fn require_dsn(session: &Session) -> Result<(), Wrong> {
    if session.offers(Extension::Dsn) { Ok(()) } else { Err(fixed("501 5.7.1 DSN support is disabled")) }
}

fn split_option(option: &str) -> (&str, Option<&str>) {
    match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    }
}

fn unsupported(option: &str) -> Wrong {
    Reply::new(555, "5.5.4", format_args!("Unsupported option: {option}")).into()
}
