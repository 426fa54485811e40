//! Changing `main.cf` in its place: what is not named stays as it is, comments too.

use std::collections::HashMap;

use super::logical::{Physical, physical_lines, split_name_value};
use super::options::Action;
use super::said::{Fatal, Said};

/// The new text of `main.cf`, which `file` holds.
///
/// # Errors
/// What is fatal; nothing is changed then.
pub fn edit_main(
    action: Action,
    words: &[String],
    file: &str,
    text: &str,
    said: &mut Said,
) -> Result<String, Fatal> {
    let requests = requests(action, words, said)?;
    let mut found: HashMap<&str, u32> = HashMap::new();
    let mut out = String::with_capacity(text.len() + 256);
    let mut in_named = false;
    for line in physical_lines(text) {
        let line = match line {
            Physical::Other(line) => {
                out.push_str(line);
                continue;
            }
            Physical::More(line) => line,
            Physical::First(line) => {
                let end = line.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(line.len());
                let request = requests.iter().find(|request| request.name == line[..end]);
                in_named = request.is_some();
                if let Some(request) = request {
                    let times = found.entry(&request.name).or_default();
                    *times += 1;
                    if *times == 2 {
                        said.warn(format!("{file}: multiple entries for \"{}\"", request.name));
                    }
                    if action == Action::Edit {
                        out.push_str(&request.line());
                        continue;
                    }
                }
                line
            }
        };
        match action {
            _ if !in_named => out.push_str(line),
            Action::CommentOut => {
                out.push('#');
                out.push_str(line);
            }
            _ => {}
        }
    }
    if action == Action::Edit {
        for request in requests.iter().filter(|request| !found.contains_key(request.name.as_str())) {
            end_line(&mut out);
            out.push_str(&request.line());
        }
    }
    Ok(out)
}

/// A last line without its end gets one before something follows.
pub(super) fn end_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

struct Request {
    name: String,
    value: String,
}

impl Request {
    fn line(&self) -> String {
        format!("{} = {}\n", self.name, self.value)
    }
}

fn requests(action: Action, words: &[String], said: &mut Said) -> Result<Vec<Request>, Fatal> {
    let mut requests: Vec<Request> = Vec::with_capacity(words.len());
    for word in words {
        if word.contains('\n') {
            return Err("-e, -X, or -# accepts no multi-line input".into());
        }
        let start = word.trim_ascii_start();
        if start.starts_with('#') {
            return Err("-e, -X, or -# accepts no comment input".into());
        }
        let request = if action == Action::Edit {
            let (name, value) = split_name_value(word).map_err(|reason| format!("{reason}: \"{word}\""))?;
            Request { name: name.into(), value: value.into() }
        } else if start.is_empty() {
            return Err("-X or -# requires non-blank parameter names".into());
        } else if word.contains('=') {
            return Err("-X or -# requires parameter names without value".into());
        } else {
            Request { name: word.clone(), value: String::new() }
        };
        match requests.iter_mut().find(|other| other.name == request.name) {
            Some(earlier) if action == Action::Edit => {
                let Request { name, value } = &*earlier;
                said.warn(format!("ignoring earlier request: '{name} = {value}'"));
                *earlier = request;
            }
            Some(_) => {}
            None => requests.push(request),
        }
    }
    Ok(requests)
}
