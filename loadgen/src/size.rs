//! Distributions of message sizes.

use std::fmt;
use std::str::FromStr;

/// Largest message that a source makes: larger than any server's default limit, small enough to prepare in memory.
pub const SIZE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where a log-normal distribution is cut when no limit is given.
const LOGNORMAL_BYTES_MAX: usize = 10 * 1024 * 1024;

/// How large messages are, in bytes.
///
/// Written `4096` (always), `1k-64k` (uniform, both ends included), or `lognormal:8k,1.2` (median, sigma of the natural
/// logarithm) with an optional third part, the largest size (default 10m). `k` and `m` are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SizeDistribution {
    /// Always the same.
    Fixed(usize),
    /// Uniform, both ends included.
    Uniform(usize, usize),
    /// Log-normal, cut at `largest`.
    LogNormal {
        /// Half of the messages are smaller.
        median: usize,
        /// Standard deviation of the natural logarithm of the size.
        sigma: f64,
        /// No message is larger.
        largest: usize,
    },
}

impl SizeDistribution {
    /// The largest size that can occur, in bytes.
    pub fn largest(&self) -> usize {
        match *self {
            SizeDistribution::Fixed(bytes) => bytes,
            SizeDistribution::Uniform(_, largest) | SizeDistribution::LogNormal { largest, .. } => largest,
        }
    }

    /// The size of message `sequence`: the same for the same seed and number.
    pub fn sample(&self, seed: u64, sequence: u64) -> usize {
        if let SizeDistribution::Fixed(bytes) = *self {
            return bytes;
        }
        // The generator scrambles its seed, so neighbouring sequence numbers are independent.
        let mut random =
            fastrand::Rng::with_seed(seed ^ sequence.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match *self {
            SizeDistribution::Fixed(bytes) => bytes,
            SizeDistribution::Uniform(smallest, largest) => random.usize(smallest..=largest),
            SizeDistribution::LogNormal { median, sigma, largest } => {
                // Box and Muller's method; 1 - f64() is never 0.
                let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * random.f64()).cos();
                ((median as f64 * (sigma * normal).exp()) as usize).min(largest)
            }
        }
    }
}

impl fmt::Display for SizeDistribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SizeDistribution::Fixed(bytes) => write!(formatter, "{bytes}"),
            SizeDistribution::Uniform(smallest, largest) => write!(formatter, "{smallest}-{largest}"),
            SizeDistribution::LogNormal { median, sigma, largest } => {
                write!(formatter, "lognormal:{median},{sigma},{largest}")
            }
        }
    }
}

impl FromStr for SizeDistribution {
    type Err = String;

    fn from_str(text: &str) -> Result<SizeDistribution, String> {
        if let Some(parameters) = text.strip_prefix("lognormal:") {
            let parts: Vec<&str> = parameters.split(',').collect();
            let (median, sigma, largest) = match parts[..] {
                [median, sigma] => (median, sigma, LOGNORMAL_BYTES_MAX),
                [median, sigma, largest] => (median, sigma, parse_bytes(largest)?),
                _ => return Err(format!("{text:?}: expected lognormal:MEDIAN,SIGMA[,LARGEST]")),
            };
            let sigma: f64 = sigma.parse().map_err(|_| format!("{sigma:?} is not a number"))?;
            if !(0.0..=10.0).contains(&sigma) {
                return Err(format!("sigma: 0 to 10, not {sigma}"));
            }
            return Ok(SizeDistribution::LogNormal { median: parse_bytes(median)?, sigma, largest });
        }
        if let Some((smallest, largest)) = text.split_once('-') {
            let (smallest, largest) = (parse_bytes(smallest)?, parse_bytes(largest)?);
            if smallest > largest {
                return Err(format!("{text:?}: the smaller size comes first"));
            }
            return Ok(SizeDistribution::Uniform(smallest, largest));
        }
        parse_bytes(text).map(SizeDistribution::Fixed)
    }
}

/// A number of bytes with an optional `k` or `m`.
fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1024),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1024 * 1024),
        _ => (text, 1),
    };
    let number: usize =
        digits.parse().map_err(|_| format!("{text:?} is not a size such as 4096, 4k or 1m"))?;
    number
        .checked_mul(unit)
        .filter(|&bytes| bytes <= SIZE_BYTES_MAX)
        .ok_or_else(|| format!("{text}: at most {SIZE_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_written() {
        assert_eq!("4096".parse(), Ok(SizeDistribution::Fixed(4096)));
        assert_eq!("4k".parse(), Ok(SizeDistribution::Fixed(4096)));
        assert_eq!("1k-2M".parse(), Ok(SizeDistribution::Uniform(1024, 2 * 1024 * 1024)));
        assert_eq!(
            "lognormal:8k,1.5,1m".parse(),
            Ok(SizeDistribution::LogNormal { median: 8192, sigma: 1.5, largest: 1024 * 1024 })
        );
        for wrong in
            ["", "x", "-1", "4g", "2k-1k", "lognormal:", "lognormal:1k", "lognormal:1k,99", "999999m"]
        {
            assert!(wrong.parse::<SizeDistribution>().is_err(), "{wrong}");
        }
        for right in ["4096", "1024-2048", "lognormal:8192,1.5,1048576"] {
            assert_eq!(right.parse::<SizeDistribution>().map(|sizes| sizes.to_string()), Ok(right.into()));
        }
    }

    #[test]
    fn samples_stay_within_bounds_and_repeat_with_the_seed() {
        let uniform: SizeDistribution = "1k-64k".parse().expect("a size");
        let samples: Vec<usize> = (0..20_000).map(|sequence| uniform.sample(1, sequence)).collect();
        assert!(samples.iter().all(|bytes| (1024..=65_536).contains(bytes)));
        let mean = samples.iter().sum::<usize>() / samples.len();
        assert!((32_000..35_000).contains(&mean), "{mean}");
        assert_eq!(uniform.sample(1, 77), samples[77]);
        assert_ne!(uniform.sample(2, 77), samples[77]);
    }

    #[test]
    fn half_of_a_lognormal_distribution_is_below_its_median() {
        let sizes: SizeDistribution = "lognormal:8k,1.0,100k".parse().expect("a size");
        let samples: Vec<usize> = (0..20_000).map(|sequence| sizes.sample(3, sequence)).collect();
        let below = samples.iter().filter(|&&bytes| bytes < 8192).count();
        assert!((9_500..10_500).contains(&below), "{below}");
        assert!(samples.iter().all(|&bytes| bytes <= 102_400));
    }
}
