//! Seeded random numbers: a failing test prints its seed, and the same seed repeats the same choices.

/// A small generator (SplitMix64): enough for choosing moments and sizes, not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator that `seed` names.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The seed from the environment variable `name`, or one from the clock.
    pub fn seed_from(name: &str) -> u64 {
        match std::env::var(name) {
            Ok(text) => text.trim().parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |since| since.as_nanos() as u64),
        }
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `low..high`; the range must not be empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low < high, "empty range {low}..{high}");
        low + self.word() % (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let first: Vec<_> = (0..100).map(|_| a.between(10, 20)).collect();
        let second: Vec<_> = (0..100).map(|_| b.between(10, 20)).collect();
        assert_eq!(first, second);
        assert!(first.iter().all(|number| (10..20).contains(number)));
        assert!((10..20).all(|number| first.contains(&number)), "every value of the range turns up");
    }
}
