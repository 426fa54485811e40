//! Plays transcripts against a session in memory.

pub use ringpost_tests::transcript::{Line, Record, Transcript, all, parse};

use crate::server::Server;

/// How a flight is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Whole,
    EveryByte,
}

/// Plays a transcript; returns where it differs.
pub fn play(transcript: &Transcript, cut: Cut) -> Result<(), String> {
    let (pauses, messages, logs) = (
        transcript.has(|line| *line == Line::Pause),
        transcript.has(|line| matches!(line, Line::Message(_))),
        transcript.has(|line| matches!(line, Line::Log(_))),
    );
    let shown = |line: &Line| match line {
        Line::Pause => pauses,
        Line::Message(_) => messages,
        Line::Log(_) => logs,
        _ => true,
    };
    let mut server = Server::new(&transcript.config, &transcript.answers, &transcript.records);
    for (flight_number, exchange) in transcript.exchanges().into_iter().enumerate() {
        let seen: Vec<Line> = server.take_seen().into_iter().filter(shown).collect();
        // Kinds of line are compared in their own order: a log line may come before or after a reply.
        for kind in [0, 1, 2] {
            let pick = |lines: &[Line]| -> Vec<Line> {
                let of_kind = |line: &&Line| match line {
                    Line::Log(_) => kind == 1,
                    Line::Message(_) => kind == 2,
                    _ => kind == 0,
                };
                lines.iter().filter(of_kind).cloned().collect()
            };
            let (want, got) = (pick(&exchange.expected), pick(&seen));
            if want != got {
                return Err(format!(
                    "{} ({cut:?}), after flight {flight_number}:\n want {want:#?}\n got {got:#?}",
                    transcript.name
                ));
            }
        }
        match cut {
            Cut::Whole if exchange.flight.is_empty() => {}
            Cut::Whole => server.feed(&exchange.flight),
            Cut::EveryByte => exchange.flight.chunks(1).for_each(|byte| server.feed(byte)),
        }
    }
    Ok(())
}
