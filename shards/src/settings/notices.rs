//! What bounce, defer and trace need to know.

use std::path::Path;

use ringpost_core::config::{Name, View, names, types};
use ringpost_core::dsn::{FromFormat, Templates};
use ringpost_core::transcript::{ErrorClass, ErrorClasses};

use crate::failure::Failure;

/// Bytes of a file of templates: each is a page of text.
const TEMPLATE_FILE_BYTES_MAX: u64 = 1 << 20;

/// The settings of notices.
#[derive(Debug)]
pub struct NoticeSettings {
    /// `bounce_template_file`, or the built-in texts.
    pub templates: Templates,
    /// `bounce_size_limit`, bytes.
    pub bounce_size_limit: u64,
    /// `double_bounce_sender` with `myorigin`: the sender of notices to the postmaster.
    pub double_bounce: String,
    /// Who gets a bounce that cannot be delivered (`2bounce_notice_recipient`); None when `notify_classes` has neither
    /// `2bounce` nor `bounce`.
    pub second_bounce_to: Option<String>,
    /// Who gets copies of bounces (`bounce_notice_recipient`); None without the class `bounce`.
    pub bounce_copy_to: Option<String>,
    /// `bounce_notice_recipient`, also for transcripts of sessions in which mail was refused.
    pub bounce_to: String,
    /// `error_notice_recipient`: who gets transcripts of sessions that had errors.
    pub errors_to: String,
    /// Who gets copies of delay warnings (`delay_notice_recipient`); None without the class `delay`.
    pub delay_copy_to: Option<String>,
    /// `delay_warning_time`, milliseconds; 0 for no warnings.
    pub delay_warning_ms: u64,
    /// `confirm_delay_cleared`.
    pub confirm_delay_cleared: bool,
    /// `ringpost_bounce_when = attempt`: failures are told at the end of every attempt, not of the message.
    pub bounce_each_attempt: bool,
    /// `header_from_format`.
    pub from_format: FromFormat,
    /// `enable_threaded_bounces`: notices to senders refer to the message that they are about.
    pub threaded: bool,
    /// VERP mail gets a notice for each recipient (`disable_verp_bounces = no`).
    pub verp_bounces: bool,
}

impl NoticeSettings {
    /// Reads the settings, and the file of templates.
    pub fn read(view: &View<'_>) -> Result<NoticeSettings, Failure> {
        let origin = view.text(names::MYORIGIN);
        let completed = |name: Name<types::Text>| match view.text(name) {
            address if address.contains('@') || address.is_empty() => address,
            user => format!("{user}@{origin}"),
        };
        let classes = classes(view)?;
        let recipient = |wanted: bool, name| wanted.then(|| completed(name)).filter(|to| !to.is_empty());
        Ok(NoticeSettings {
            templates: templates(view, None, true)?,
            bounce_size_limit: view.number(names::BOUNCE_SIZE_LIMIT),
            double_bounce: completed(names::DOUBLE_BOUNCE_SENDER),
            second_bounce_to: recipient(
                classes.has(ErrorClass::SecondBounce),
                names::SECOND_BOUNCE_NOTICE_RECIPIENT,
            ),
            bounce_copy_to: recipient(classes.has(ErrorClass::Bounce), names::BOUNCE_NOTICE_RECIPIENT),
            bounce_to: completed(names::BOUNCE_NOTICE_RECIPIENT),
            errors_to: completed(names::ERROR_NOTICE_RECIPIENT),
            delay_copy_to: recipient(classes.has(ErrorClass::Delay), names::DELAY_NOTICE_RECIPIENT),
            delay_warning_ms: view.time(names::DELAY_WARNING_TIME).as_millis() as u64,
            confirm_delay_cleared: view.flag(names::CONFIRM_DELAY_CLEARED),
            bounce_each_attempt: view.text(names::RINGPOST_BOUNCE_WHEN) == "attempt",
            from_format: from_format(view),
            threaded: view.flag(names::ENABLE_THREADED_BOUNCES),
            verp_bounces: !view.flag(names::DISABLE_VERP_BOUNCES),
        })
    }
}

/// `notify_classes`.
pub(super) fn classes(view: &View<'_>) -> Result<ErrorClasses, Failure> {
    ErrorClasses::parse(&view.list(names::NOTIFY_CLASSES))
        .map_err(|word| Failure::config(format!("notify_classes: there is no class \"{word}\"")))
}

fn from_format(view: &View<'_>) -> FromFormat {
    FromFormat::named(&view.text(names::HEADER_FROM_FORMAT)).unwrap_or_default()
}

/// The texts of notices: those of `file`, or of `bounce_template_file` if none is named; of an empty name, the built-in
/// ones. Names in them are expanded if wanted.
///
/// # Errors
/// A file that cannot be read, and what is wrong in it.
pub fn templates(view: &View<'_>, file: Option<&str>, expanded: bool) -> Result<Templates, Failure> {
    let expand = |line: &str| match expanded {
        true => view.expand_text(line, |name| time_in_units(view, name)),
        false => Ok(line.to_owned()),
    };
    let path = file.map_or_else(|| view.text(names::BOUNCE_TEMPLATE_FILE), str::to_owned);
    if path.is_empty() {
        return Templates::built_in(from_format(view), &expand)
            .map_err(|error| Failure::config(format!("built-in texts: {error}")));
    }
    let wrong =
        |text: &dyn std::fmt::Display| Failure::config(format!("bounce_template_file {path}: {text}"));
    let bytes = ringpost_reactor::fs::read_small(Path::new(&path), TEMPLATE_FILE_BYTES_MAX)
        .map_err(|error| wrong(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|&byte| byte == b'\n').count();
        wrong(&format_args!("line {line}: not UTF-8"))
    })?;
    Templates::parse(&text, from_format(view), &expand).map_err(|error| wrong(&error))
}

/// `delay_warning_time_hours` and its like: a time in a unit, rounded up.
fn time_in_units(view: &View<'_>, name: &str) -> Option<String> {
    let (time, unit) = name.rsplit_once('_')?;
    let seconds = match unit {
        "seconds" => 1,
        "minutes" => 60,
        "hours" => 3600,
        "days" => 86_400,
        "weeks" => 604_800,
        _ => return None,
    };
    let time = match time {
        "delay_warning_time" => view.time(names::DELAY_WARNING_TIME),
        "maximal_queue_lifetime" => view.time(names::MAXIMAL_QUEUE_LIFETIME),
        _ => return None,
    };
    Some(time.as_secs().div_ceil(seconds).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_core::config::{Config, HostFacts, Source, Sources};

    fn settings(main_cf: &str) -> Result<NoticeSettings, Failure> {
        let host = HostFacts::loopback("mail.example.com");
        let main = Source { name: "main.cf", text: main_cf.as_bytes() };
        let config = Config::load(Sources {
            main: Some(main),
            master: None,
            overrides: &[],
            host: &host,
            load: &|_| Err("no files here".to_owned()),
        })
        .expect("sound");
        NoticeSettings::read(&config.view())
    }

    #[test]
    fn classes_name_their_recipients() {
        let usual = settings("").expect("the defaults are sound");
        assert_eq!(usual.double_bounce, "double-bounce@mail.example.com");
        assert_eq!((usual.second_bounce_to, usual.bounce_copy_to, usual.delay_copy_to), (None, None, None));
        let all = settings(
            "notify_classes = bounce, delay\nmyorigin = example.com\nbounce_notice_recipient = b@example.net\n",
        )
        .expect("sound");
        assert_eq!(all.second_bounce_to.as_deref(), Some("postmaster@example.com"));
        assert_eq!(all.bounce_copy_to.as_deref(), Some("b@example.net"));
        assert_eq!(all.delay_copy_to.as_deref(), Some("postmaster@example.com"));
        assert_eq!(
            (all.errors_to.as_str(), all.bounce_to.as_str()),
            ("postmaster@example.com", "b@example.net")
        );
        let error = settings("notify_classes = bounces\n").expect_err("no such class");
        assert!(error.to_string().contains("bounces"), "{error}");
    }

    #[test]
    fn texts_tell_times_in_the_unit_that_they_ask_for() {
        let built_in = settings("maximal_queue_lifetime = 36h\n").expect("sound").templates;
        assert!(
            built_in.delay.text.iter().any(|line| line.starts_with("2 day")),
            "{:?}",
            built_in.delay.text
        );
        assert!(built_in.failure.text[0].ends_with("mail.example.com."), "{:?}", built_in.failure.text);
        let obsolete = settings("header_from_format = obsolete\n").expect("sound").templates;
        assert_eq!(obsolete.success.from, "MAILER-DAEMON (Mail Delivery System)");
    }
}
