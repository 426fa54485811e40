//! Reads a notice as RFC 3464 lays it out: three parts of a multipart/report.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What Python's `email` package is asked about a notice.
const CHECK: &str = include_str!("notice_check.py");

/// What Python's `email` package and the rules of RFC 3464 find wrong with a notice; `words` go to the script
/// (`--no-trace` for one that cleanup has not seen, `--plain` for a transcript of a session).
///
/// # Panics
/// When `python` cannot be run.
pub fn faults(python: &Path, content: &[u8], words: &[&str]) -> String {
    let mut child = Command::new(python)
        .args(["-c", CHECK])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", python.display()));
    let mut input = child.stdin.take().expect("its standard input is piped");
    input.write_all(content).expect("the script reads all of its input");
    drop(input);
    let output = child.wait_with_output().expect("a started child can be waited for");
    let mut faults = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        faults.push_str(&String::from_utf8_lossy(&output.stderr));
        assert!(!faults.is_empty(), "the script ended with {} and said nothing", output.status);
    }
    faults
}

/// The parts of a notice, and the fields of its delivery report.
#[derive(Debug)]
pub struct Notice {
    /// The text for people.
    pub text: String,
    /// The fields of the whole message, as name (lower case) and value.
    pub message_fields: Vec<(String, String)>,
    /// One group of fields for each recipient.
    pub recipients: Vec<Vec<(String, String)>>,
    /// The content type of the third part.
    pub returned_type: String,
    /// The third part: the message or its header.
    pub returned: String,
}

impl Notice {
    /// Takes a notice apart.
    ///
    /// # Panics
    /// When it is not one: the test that calls it is about exactly that.
    pub fn parse(content: &[u8]) -> Notice {
        let content = std::str::from_utf8(content).expect("a notice about ASCII mail is ASCII");
        let (header, body) = content.split_once("\r\n\r\n").expect("a notice has a header and a body");
        let content_type = field(header, "content-type").expect("a notice has a content type");
        // RFC 6522 section 3: multipart/report with report-type=delivery-status.
        assert!(content_type.to_ascii_lowercase().starts_with("multipart/report"), "{content_type}");
        assert!(content_type.contains("report-type=delivery-status"), "{content_type}");
        let boundary = content_type.split_once("boundary=").expect("a multipart has a boundary").1;
        let boundary = boundary.split(';').next().unwrap_or("").trim().trim_matches('"');
        let parts = split_parts(body, boundary);
        assert_eq!(parts.len(), 3, "explanation, report and returned message");

        let (report_header, report) = parts[1].split_once("\r\n\r\n").expect("the report is a part");
        assert_eq!(field(report_header, "content-type").as_deref(), Some("message/delivery-status"));
        let mut groups: Vec<_> =
            report.split("\r\n\r\n").filter(|group| !group.trim().is_empty()).map(fields).collect();
        assert!(groups.len() >= 2, "RFC 3464 section 2.1: the message's fields and at least one recipient's");
        let message_fields = groups.remove(0);
        let (text_header, text) = parts[0].split_once("\r\n\r\n").expect("the explanation is a part");
        assert!(field(text_header, "content-type").is_none_or(|kind| kind.starts_with("text/plain")));
        let (returned_header, returned) = parts[2].split_once("\r\n\r\n").expect("the third is a part");
        Notice {
            text: text.to_owned(),
            message_fields,
            recipients: groups,
            returned_type: field(returned_header, "content-type").unwrap_or_default(),
            returned: returned.to_owned(),
        }
    }

    /// A field of the recipient numbered `index` from 0.
    ///
    /// # Panics
    /// When there is no such recipient or field.
    pub fn of_recipient(&self, index: usize, name: &str) -> &str {
        value(&self.recipients[index], name)
    }

    /// A field of the whole message.
    ///
    /// # Panics
    /// When there is no such field.
    pub fn of_message(&self, name: &str) -> &str {
        value(&self.message_fields, name)
    }
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let found = fields.iter().find(|(field, _)| field == &name.to_ascii_lowercase());
    &found.unwrap_or_else(|| panic!("no field {name} among {fields:?}")).1
}

fn split_parts<'a>(body: &'a str, boundary: &str) -> Vec<&'a str> {
    let (open, close) = (format!("--{boundary}\r\n"), format!("--{boundary}--"));
    let body = body.split(&close).next().unwrap_or("");
    assert_ne!(body.len(), 0, "the boundary {boundary:?} closes nothing");
    body.split(&open).skip(1).map(|part| part.strip_suffix("\r\n").unwrap_or(part)).collect()
}

/// Header lines with their folds undone, names in lower case.
fn fields(text: &str) -> Vec<(String, String)> {
    let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
    unfolded
        .split("\r\n")
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect()
}

fn field(header: &str, name: &str) -> Option<String> {
    fields(header).into_iter().find(|(field, _)| field == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::Notice;

    const SAMPLE: &str = "From: <>\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\
        \tboundary=\"b1\"\r\n\r\npreamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\r\n--b1\r\n\
        Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; h\r\n\r\nFinal-Recipient: rfc822; a@b\r\n\
        Diagnostic-Code: smtp; 550\r\n    no\r\n\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\nX-Track: t\r\n\r\nx\r\n\
        --b1--\r\n";

    #[test]
    fn a_notice_comes_apart() {
        let notice = Notice::parse(SAMPLE.as_bytes());
        assert_eq!(notice.text.trim(), "Sorry.");
        assert_eq!(notice.of_message("Reporting-MTA"), "dns; h");
        assert_eq!(notice.of_recipient(0, "Diagnostic-Code"), "smtp; 550    no");
        assert_eq!(notice.returned_type, "message/rfc822");
        assert!(notice.returned.starts_with("X-Track: t"));
    }
}
