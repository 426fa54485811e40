//! One compiled expression.

use pcre2::bytes as pcre;
use regex::bytes as automaton;

/// Steps of one match of a back-tracking expression: some milliseconds. Postfix takes the library's ten million.
const STEPS_MAX: usize = 1_000_000;
/// Memory of one match of such an expression, KiB.
const HEAP_KIB_MAX: usize = 20_000;
/// In longer keys the first match is taken for the longest, too: every length up to here may have to be tried.
const LONGEST_BYTES_MAX: usize = 1024;
/// Stack of a match of a compiled expression.
const JIT_STACK_BYTES_MAX: usize = 1 << 20;
/// Memory of one expression's program.
const PROGRAM_BYTES_MAX: usize = 32 << 20;

/// An expression, ready to match.
#[derive(Debug)]
pub(super) struct Matcher {
    engine: Engine,
    portable: Option<String>,
}

#[derive(Debug)]
enum Engine {
    Automaton {
        engine: automaton::Regex,
        /// The same, for all of a text: finds the groups of the longest match.
        whole: Option<automaton::Regex>,
    },
    BackTracking(pcre::Regex),
}

impl Matcher {
    /// An expression in the words of the `regex` crate; with `longest` its groups are those of the longest match.
    pub(super) fn automaton(text: String, longest: bool) -> Result<Matcher, String> {
        let build = |text: &str| {
            let engine = automaton::RegexBuilder::new(text).size_limit(PROGRAM_BYTES_MAX).build();
            engine.map_err(|error| error.to_string().replace('\n', " "))
        };
        let whole = longest.then(|| build(&format!("\\A(?:{text})\\z"))).transpose()?;
        Ok(Matcher { engine: Engine::Automaton { engine: build(&text)?, whole }, portable: Some(text) })
    }

    /// An expression in the words of PCRE2; `portable` is the same for the `regex` crate, if it can say it.
    pub(super) fn back_tracking(
        text: &str,
        flags: BackTrackingFlags,
        portable: Option<String>,
    ) -> Result<Matcher, String> {
        let bounds = format!("(*LIMIT_MATCH={STEPS_MAX})(*LIMIT_HEAP={HEAP_KIB_MAX})");
        let engine = pcre::RegexBuilder::new()
            .caseless(flags.caseless)
            .dotall(flags.dot_all)
            .multi_line(flags.multi_line)
            .extended(flags.extended)
            .utf(flags.utf)
            .jit_if_available(true)
            .max_jit_stack_size(Some(JIT_STACK_BYTES_MAX))
            .build(&format!("{bounds}{text}"));
        let engine = engine.map_err(|error| {
            let said = error.to_string();
            let offset = error.offset().unwrap_or(0).saturating_sub(bounds.len());
            let reason = said.rsplit_once(&format!("offset {}: ", error.offset().unwrap_or(0)));
            format!("error in regex at offset {offset}: {}", reason.map_or(&*said, |(_, reason)| reason))
        })?;
        Ok(Matcher { engine: Engine::BackTracking(engine), portable })
    }

    /// The expression as the common automaton takes it.
    pub(super) fn portable(&self) -> Option<&str> {
        self.portable.as_deref()
    }

    /// How many groups it has.
    pub(super) fn group_count(&self) -> usize {
        match &self.engine {
            Engine::Automaton { engine, .. } => engine.captures_len() - 1,
            Engine::BackTracking(engine) => engine.captures_len() - 1,
        }
    }

    /// Whether it matches somewhere in `key`.
    ///
    /// # Errors
    /// The bound was reached; in words.
    pub(super) fn is_match(&self, key: &str) -> Result<bool, String> {
        match &self.engine {
            Engine::Automaton { engine, .. } => Ok(engine.is_match(key.as_bytes())),
            Engine::BackTracking(engine) => engine.is_match(key.as_bytes()).map_err(reason),
        }
    }

    /// Where its groups match, the whole match first.
    ///
    /// # Errors
    /// As [`Matcher::is_match`].
    pub(super) fn groups(&self, key: &str) -> Result<Vec<Option<(usize, usize)>>, String> {
        Ok(match &self.engine {
            Engine::Automaton { engine, whole } => {
                let mut places = engine.capture_locations();
                let found = engine.captures_read(&mut places, key.as_bytes());
                if let (Some(found), Some(whole)) = (found, whole)
                    && let Some(groups) = longer(whole, key, found.start(), found.end())
                {
                    return Ok(groups);
                }
                (0..places.len()).map(|index| places.get(index)).collect()
            }
            Engine::BackTracking(engine) => match engine.captures(key.as_bytes()).map_err(reason)? {
                Some(found) => (0..engine.captures_len())
                    .map(|index| found.get(index).map(|group| (group.start(), group.end())))
                    .collect(),
                None => Vec::new(),
            },
        })
    }
}

/// The groups of the longest match from `start` that ends after `end`, if there is one.
fn longer(
    whole: &automaton::Regex,
    key: &str,
    start: usize,
    end: usize,
) -> Option<Vec<Option<(usize, usize)>>> {
    if key.len() > LONGEST_BYTES_MAX {
        return None;
    }
    let mut places = whole.capture_locations();
    let text = &key.as_bytes()[start..];
    let length = (end - start + 1..=text.len())
        .rev()
        .find(|&length| whole.captures_read(&mut places, &text[..length]).is_some());
    length.map(|_| {
        let shifted = |(from, to): (usize, usize)| (from + start, to + start);
        (0..places.len()).map(|index| places.get(index).map(shifted)).collect()
    })
}

fn reason(error: pcre2::Error) -> String {
    format!("the expression cannot be matched within its bounds: {error}")
}

/// What a back-tracking expression is compiled with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BackTrackingFlags {
    pub(super) caseless: bool,
    pub(super) dot_all: bool,
    pub(super) multi_line: bool,
    pub(super) extended: bool,
    pub(super) utf: bool,
}
