//! One session as it is said to both servers: made from a case's words and a seed.

use super::case::Words;
use crate::random::Random;

/// What the client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Says this line and reads the reply.
    Say(String),
    /// Sends this content and the dot, if the reply before was 354.
    Content(Vec<u8>),
}

/// A session.
#[derive(Debug, Clone)]
pub struct Dialogue {
    /// Its number within the run, which its messages bear as `X-Track:`.
    pub number: usize,
    /// What is said.
    pub steps: Vec<Step>,
}

impl Dialogue {
    /// Makes one.
    pub fn generate(words: &Words, number: usize, random: &mut Random) -> Dialogue {
        let mut steps = Vec::new();
        if let Some((name, address)) = pick(&words.clients, random) {
            steps.push(Step::Say(format!("XCLIENT NAME={name} ADDR={address}")));
        }
        let hello = pick(&words.helos, random).map_or("client.example", String::as_str);
        match random.between(0, 10) {
            0 => steps.push(Step::Say(format!("HELO {hello}"))),
            1 if !words.commands.is_empty() => {}
            _ => steps.push(Step::Say(format!("EHLO {hello}"))),
        }
        for transaction in 0..random.between(1, 3) {
            if random.between(0, 4) == 0 {
                steps.extend(pick(&words.commands, random).cloned().map(Step::Say));
            }
            let track = format!("{number}-{transaction}");
            transaction_steps(words, &track, random, &mut steps);
        }
        steps.push(Step::Say("QUIT".into()));
        Dialogue { number, steps }
    }
}

fn transaction_steps(words: &Words, track: &str, random: &mut Random, steps: &mut Vec<Step>) {
    let sender = pick(&words.senders, random).map_or("<>", String::as_str);
    steps.push(Step::Say(format!("MAIL FROM:{}", bracketed(sender))));
    for _ in 0..random.between(1, 5) {
        let recipient = pick(&words.recipients, random).expect("a case has recipients");
        steps.push(Step::Say(format!("RCPT TO:{}", bracketed(recipient))));
    }
    if random.between(0, 8) == 0 {
        steps.push(Step::Say("RSET".into()));
        return;
    }
    steps.push(Step::Say("DATA".into()));
    let mut content = format!("X-Track: {track}\r\n");
    // Mostly whole messages; some lack what cleanup has to add.
    if random.between(0, 4) != 0 {
        content += "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n";
        content += &format!("Message-Id: <{track}@client.example>\r\n");
    }
    if random.between(0, 4) != 0 {
        content += &format!("From: {}\r\n", if sender == "<>" { "nobody@client.example" } else { sender });
    }
    for _ in 0..random.between(0, 4) {
        if let Some(header) = pick(&words.headers, random) {
            content += header;
            content += "\r\n";
        }
    }
    content += "\r\n";
    for _ in 0..random.between(0, 4) {
        content += pick(&words.bodies, random).map_or("text", String::as_str);
        content += "\r\n";
    }
    steps.push(Step::Content(content.into_bytes()));
}

fn bracketed(address: &str) -> String {
    if address.starts_with('<') { address.to_owned() } else { format!("<{address}>") }
}

fn pick<'a, T>(from: &'a [T], random: &mut Random) -> Option<&'a T> {
    if from.is_empty() { None } else { from.get(random.between(0, from.len() as u64) as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Case;

    #[test]
    fn the_dialogues_of_a_case_say_each_of_its_words() {
        for case in Case::all() {
            let mut random = Random::new(1);
            let said: String = (0..80)
                .flat_map(|number| Dialogue::generate(&case.words, number, &mut random).steps)
                .map(|step| match step {
                    Step::Say(line) => format!("{line}\r\n"),
                    Step::Content(content) => String::from_utf8_lossy(&content).into_owned(),
                })
                .collect();
            let words = &case.words;
            let clients = words.clients.iter().map(|(name, address)| format!("NAME={name} ADDR={address}"));
            let paths = |verb: &'static str, addresses: &[String]| {
                addresses.iter().map(|address| format!("{verb}{}", bracketed(address))).collect::<Vec<_>>()
            };
            let lines = [&words.headers, &words.bodies, &words.commands].into_iter().flatten().cloned();
            let helos = words.helos.iter().map(|name| format!("LO {name}"));
            for word in clients
                .chain(helos)
                .chain(paths("MAIL FROM:", &words.senders))
                .chain(paths("RCPT TO:", &words.recipients))
                .chain(lines)
            {
                assert!(said.contains(&format!("{word}\r\n")), "{}: nobody says {word:?}", case.name);
            }
        }
    }
}
