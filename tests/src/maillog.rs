//! Reads the relay's mail log the way the tools do that users run: by line, process and queue id.

/// One line of a mail log: `Nov 22 10:00:00 host postfix/smtpd[3]: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The process without the syslog name: `smtpd`, `cleanup`, `qmgr`, `smtp`, `bounce`.
    pub process: String,
    /// The number in brackets.
    pub number: String,
    /// The queue id, if the text begins with one.
    pub queue_id: Option<String>,
    /// The text after the queue id, or all of it.
    pub text: String,
}

/// The whole lines of `log`, in order.
///
/// # Panics
/// On a line that is not in the format above: every line of a mail log must be.
pub fn parse(log: &str) -> Vec<LogLine> {
    // What follows the last newline is still being written.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().map(|line| parse_line(line).unwrap_or_else(|| panic!("not a log line: {line:?}"))).collect()
}

fn parse_line(line: &str) -> Option<LogLine> {
    // The date takes 15 characters: "Nov 22 10:00:00", a day below ten with a space before it.
    let (date, rest) = line.split_at_checked(15)?;
    let clock = date.get(7..)?;
    let shape = clock.bytes().enumerate().all(|(index, byte)| match index {
        2 | 5 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let (host, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let (tag, text) = rest.split_once(": ")?;
    let (name, number) = tag.strip_suffix(']')?.split_once('[')?;
    let process = name.split_once('/').map_or(name, |(_, process)| process);
    if !shape || host.is_empty() || number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (queue_id, text) = match text.split_once(": ") {
        Some((id, rest)) if is_queue_id(id) => (Some(id.to_owned()), rest),
        _ => match text.strip_suffix(": removed") {
            Some(id) if is_queue_id(id) => (Some(id.to_owned()), "removed"),
            _ => (None, text),
        },
    };
    Some(LogLine { process: process.into(), number: number.into(), queue_id, text: text.into() })
}

/// Whether this has Postfix's long or short shape of a queue id.
pub fn is_queue_id(text: &str) -> bool {
    const LONG: &str = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
    let short = text.len() >= 6 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    // Six or more symbols of seconds, four of microseconds, "z", the number.
    let long = text.len() >= 12
        && text.chars().all(|symbol| LONG.contains(symbol))
        && text.rfind('z').is_some_and(|mark| mark >= 10 && mark + 1 < text.len());
    short || long
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_apart() {
        let log = "Nov  2 10:00:00 host postfix/smtpd[3]: 4SVLCh0sf8z7Qhl: client=localhost[127.0.0.1]\n\
                   Nov 22 10:00:00 host postfix/smtpd[3]: connect from unknown[::1]\n\
                   Nov 22 10:00:00 host postfix/qmgr[4]: 4SVLCh0sf8z7Qhl: removed\n\
                   Nov 22 10:00:00 host post";
        let lines = parse(log);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].queue_id.as_deref(), Some("4SVLCh0sf8z7Qhl"));
        assert_eq!(lines[0].text, "client=localhost[127.0.0.1]");
        assert_eq!((lines[1].process.as_str(), lines[1].number.as_str()), ("smtpd", "3"));
        assert_eq!(lines[1].queue_id, None);
        assert_eq!(lines[2].text, "removed");
    }

    #[test]
    fn both_shapes_of_queue_ids_are_known() {
        assert!(is_queue_id("4SVLCh0sf8z7Qhl"));
        assert!(is_queue_id("1E240F1206"));
        assert!(!is_queue_id("warning"));
        assert!(!is_queue_id("NOQUEUE"));
        assert!(!is_queue_id("4SVLCh0sf8z"));
    }
}
