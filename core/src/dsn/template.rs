//! The texts of notices: built in, or from `bounce_template_file`.
//!
//! A file of templates is lines: `NAME = <<WORD`, the template, and a line that is WORD. Between templates stand blank
//! lines and comments. A template is header lines, an empty line, and the text with `$name` in it.

use super::{FromFormat, NoticeKind};

/// Longest line of a template: what RFC 5322 section 2.1.1 allows.
const LINE_BYTES_MAX: usize = 998;

/// What stands for a template that the file does not have. The prose is ours; subjects and names are what tools know.
const BUILT_IN: &str = "\
failure_template = <<EOF
Charset: us-ascii
Subject: Undelivered Mail Returned to Sender
Postmaster-Subject: Postmaster Copy: Undelivered Mail

This message was written by the mail system at $myhostname.

Your message could not be delivered to the recipients below, and it will
not be tried again. The reason stands behind each address. What can be
returned of your message is attached.

If you need help, please write to postmaster and include this report.
EOF

delay_template = <<EOF
Charset: us-ascii
Subject: Delayed Mail (still being retried)
Postmaster-Subject: Postmaster Warning: Delayed Mail

This message was written by the mail system at $myhostname.

Your message has not yet been delivered to the recipients below. This is
only a warning: delivery is still being tried, and there is no need to
send the message again. It is given up when the message is
$maximal_queue_lifetime_days day(s) old.
EOF

success_template = <<EOF
Charset: us-ascii
Subject: Successful Mail Delivery Report

This message was written by the mail system at $myhostname.

Your message was delivered to the recipients below. If it was handed to
a system that sends no such reports, you may not hear more about it.
EOF

verify_template = <<EOF
Charset: us-ascii
Subject: Mail Delivery Status Report

This message was written by the mail system at $myhostname.

This is the report that you asked for: what became of your message, or
what would become of it, for each of the recipients below.
EOF
";

/// The text of one kind of notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Of the text, while all of the first part is ASCII; otherwise the part is `utf-8`.
    pub charset: String,
    /// The value of `From:`; an address without a domain gets `myorigin`.
    pub from: String,
    /// The value of `Subject:` to the sender.
    pub subject: String,
    /// The value of `Subject:` to the postmaster.
    pub postmaster_subject: String,
    /// The text, line by line, names expanded.
    pub text: Vec<String>,
}

/// All texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    /// `failure_template`.
    pub failure: Template,
    /// `delay_template`.
    pub delay: Template,
    /// `success_template`.
    pub success: Template,
    /// `verify_template`: read and checked; used once address probes are served.
    pub verify: Template,
}

/// What is wrong with a file of templates, and in which line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The line.
    pub line: u32,
    /// What is wrong.
    pub text: String,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl std::error::Error for TemplateError {}

impl Templates {
    /// Reads a file of templates; those that it lacks, and header lines that they lack, are the built-in ones, with a `From:`
    /// in this form. `expand` replaces the `$name`s of one line of text.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(
        file: &str,
        from: FromFormat,
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Templates, TemplateError> {
        let mut templates = Templates::built_in(from, expand)?;
        templates.read(file, expand)?;
        Ok(templates)
    }

    /// The built-in texts, with the names in them expanded.
    ///
    /// # Errors
    /// When a name that they use cannot be expanded.
    pub fn built_in(
        from: FromFormat,
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Templates, TemplateError> {
        let empty = Template {
            charset: String::from("us-ascii"),
            from: from.mail_system().to_owned(),
            subject: String::new(),
            postmaster_subject: String::new(),
            text: Vec::new(),
        };
        let mut templates =
            Templates { failure: empty.clone(), delay: empty.clone(), success: empty.clone(), verify: empty };
        templates.read(BUILT_IN, expand)?;
        Ok(templates)
    }

    /// The template of a kind of notice.
    pub fn of(&self, kind: NoticeKind) -> &Template {
        match kind {
            NoticeKind::Failure => &self.failure,
            NoticeKind::Delay => &self.delay,
            NoticeKind::Success => &self.success,
        }
    }

    fn named(&mut self, name: &str) -> Option<&mut Template> {
        match name {
            "failure_template" => Some(&mut self.failure),
            "delay_template" => Some(&mut self.delay),
            "success_template" => Some(&mut self.success),
            "verify_template" => Some(&mut self.verify),
            _ => None,
        }
    }

    fn read(
        &mut self,
        file: &str,
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), TemplateError> {
        let mut lines = file.lines().enumerate().map(|(index, line)| Line { number: index as u32 + 1, line });
        let mut seen: Vec<&str> = Vec::new();
        while let Some(line) = lines.next() {
            if line.line.trim().is_empty() || line.line.starts_with('#') {
                continue;
            }
            let (name, word) = line.opening()?;
            if seen.contains(&name) {
                return Err(line.wrong(format!("{name} is defined twice")));
            }
            seen.push(name);
            let template = self
                .named(name)
                .ok_or_else(|| line.wrong(format!("\"{name}\" is no template; there are failure_template, delay_template, success_template and verify_template")))?;
            let mut block = Vec::new();
            loop {
                let inside = lines
                    .next()
                    .ok_or_else(|| line.wrong(format!("{name} has no line \"{word}\" that ends it")))?;
                if inside.line == word {
                    break;
                }
                block.push(inside);
            }
            template.read(&line, &block, expand)?;
        }
        Ok(())
    }
}

/// A line of the file.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: u32,
    line: &'a str,
}

impl<'a> Line<'a> {
    fn wrong(&self, text: String) -> TemplateError {
        TemplateError { line: self.number, text }
    }

    /// `NAME = <<WORD`.
    fn opening(&self) -> Result<(&'a str, &'a str), TemplateError> {
        let parts = self.line.split_once('=').and_then(|(name, rest)| {
            let word = rest.trim().strip_prefix("<<")?.trim_start();
            let plain = |text: &str| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            (plain(name.trim()) && plain(word)).then_some((name.trim(), word))
        });
        parts.ok_or_else(|| self.wrong("a template begins with \"NAME = <<WORD\"".to_owned()))
    }

    /// A header line's name and value.
    fn header(&self) -> Option<(&'a str, &'a str)> {
        let (name, value) = self.line.split_once(':')?;
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (!name.is_empty() && plain).then_some((name, value.trim()))
    }
}

impl Template {
    /// As it stands in a file of templates, under `name_template`.
    pub fn listed(&self, name: &str) -> String {
        let mut headers = vec![("Charset", &self.charset), ("From", &self.from), ("Subject", &self.subject)];
        if !self.postmaster_subject.is_empty() {
            headers.push(("Postmaster-Subject", &self.postmaster_subject));
        }
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{name}_template = <<EOF\n{headers}\n{}EOF\n", self.lines())
    }

    /// The text alone, as `postconf -b` shows it.
    pub fn listed_text(&self, name: &str) -> String {
        format!("expanded_{name}_text = <<EOF\n{}EOF\n", self.lines())
    }

    fn lines(&self) -> String {
        self.text.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn read(
        &mut self,
        opening: &Line<'_>,
        block: &[Line<'_>],
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), TemplateError> {
        let header_count = block.iter().position(|line| line.line.trim().is_empty()).unwrap_or(block.len());
        for line in &block[..header_count] {
            self.read_header(line)?;
        }
        let text = &block[(header_count + 1).min(block.len())..];
        if text.iter().all(|line| line.line.trim().is_empty()) {
            return Err(opening.wrong("the template has no text".to_owned()));
        }
        self.text.clear();
        for line in text {
            let expanded = expand(line.line).map_err(|text| line.wrong(text))?;
            if expanded.len() > LINE_BYTES_MAX {
                return Err(line.wrong(format!("a line of text is longer than {LINE_BYTES_MAX} bytes")));
            }
            if !expanded.is_ascii() && !self.charset.eq_ignore_ascii_case("utf-8") {
                let text = format!("text that is not ASCII wants \"Charset: utf-8\", not {}", self.charset);
                return Err(line.wrong(text));
            }
            self.text.push(expanded);
        }
        Ok(())
    }

    fn read_header(&mut self, line: &Line<'_>) -> Result<(), TemplateError> {
        let Some((name, value)) = line.header() else {
            let text = "a template begins with header lines on one line each, and an empty line ends them";
            return Err(line.wrong(text.to_owned()));
        };
        if value.is_empty() || !value.is_ascii() || value.contains('$') || value.len() > LINE_BYTES_MAX {
            let text = format!("the value of {name} must be ASCII text without \"$\"");
            return Err(line.wrong(text));
        }
        let place = match name.to_ascii_lowercase().as_str() {
            "charset" => &mut self.charset,
            "from" => &mut self.from,
            "subject" => &mut self.subject,
            "postmaster-subject" => &mut self.postmaster_subject,
            _ => {
                let text = format!(
                    "\"{name}\" is no header of a template; there are Charset, From, Subject and Postmaster-Subject"
                );
                return Err(line.wrong(text));
            }
        };
        value.clone_into(place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(line: &str) -> Result<String, String> {
        if line.contains("$broken{") {
            return Err("a reference is not closed".to_owned());
        }
        Ok(line.replace("$myhostname", "mail.example.com").replace("$maximal_queue_lifetime_days", "5"))
    }

    #[test]
    fn a_file_replaces_what_it_has() {
        let file = "# ours\n\nfailure_template = <<END\nsubject: It came back\nFROM: Robot <robot>\n\n\
                    # no comment here\nSorry, says $myhostname.\n\nEOF\nEND\n  \n";
        let built_in = Templates::built_in(FromFormat::Standard, &expand).expect("sound");
        let templates = Templates::parse(file, FromFormat::Standard, &expand).expect("sound");
        assert_eq!(templates.failure.subject, "It came back");
        assert_eq!(templates.failure.from, "Robot <robot>");
        assert_eq!(templates.failure.postmaster_subject, "Postmaster Copy: Undelivered Mail");
        assert_eq!(templates.failure.text, ["# no comment here", "Sorry, says mail.example.com.", "", "EOF"]);
        assert_eq!(templates.delay, built_in.delay);
        assert!(
            built_in.delay.text.iter().any(|line| line.starts_with("5 day")),
            "{:?}",
            built_in.delay.text
        );
        assert_eq!(Templates::parse("", FromFormat::Standard, &expand), Ok(built_in));
        let obsolete = Templates::parse(file, FromFormat::Obsolete, &expand).expect("sound");
        assert_eq!(obsolete.failure.from, "Robot <robot>");
        assert_eq!(obsolete.delay.from, "MAILER-DAEMON (Mail Delivery System)");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let body = "\n\ntext\nEOF\n";
        let cases = [
            ("nonsense\n".to_owned(), 1, "NAME = <<WORD"),
            ("\n\nfailure_template = <<'EOF'\n".to_owned(), 3, "NAME = <<WORD"),
            (format!("bounce_template = <<EOF{body}"), 1, "is no template"),
            (format!("delay_template = <<EOF{body}delay_template = <<EOF{body}"), 5, "twice"),
            ("delay_template = <<EOF\nSubject: x\n\ntext\n".to_owned(), 1, "no line \"EOF\""),
            ("delay_template = <<EOF\nSubject: x\nEOF\n".to_owned(), 1, "no text"),
            ("delay_template = <<EOF\nSubject: x\n y\n\ntext\nEOF\n".to_owned(), 3, "one line each"),
            ("delay_template = <<EOF\nSubject: $x\n\ntext\nEOF\n".to_owned(), 2, "without \"$\""),
            ("delay_template = <<EOF\nX-Mood: good\n\ntext\nEOF\n".to_owned(), 2, "is no header"),
            ("delay_template = <<EOF\n\ntext\n$broken{\nEOF\n".to_owned(), 4, "not closed"),
            ("delay_template = <<EOF\n\ngr\u{fc}\u{df}e\nEOF\n".to_owned(), 3, "Charset: utf-8"),
        ];
        for (file, line, says) in cases {
            let error = Templates::parse(&file, FromFormat::Standard, &expand).expect_err(&file);
            assert_eq!(error.line, line, "{file}: {error}");
            assert!(error.text.contains(says), "{file}: {error}");
        }
        let utf8 = "delay_template = <<EOF\nCharset: UTF-8\n\ngr\u{fc}\u{df}e\nEOF\n";
        assert_eq!(
            Templates::parse(utf8, FromFormat::Standard, &expand).expect("sound").delay.text,
            ["gr\u{fc}\u{df}e"]
        );
    }
}
