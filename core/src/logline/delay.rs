//! `delay=` and `delays=`: durations with two significant digits.

use core::time::Duration;

/// How long a delivery took, in its four parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    /// a: before the queue manager, reception included.
    pub before_queue: Duration,
    /// b: in the queue manager.
    pub in_queue: Duration,
    /// c: connection set-up, including DNS, EHLO and TLS.
    pub connection: Duration,
    /// d: transmission.
    pub transmission: Duration,
}

impl Delays {
    /// From five times in microseconds; where the clock went back the part is zero.
    pub fn between(arrival_us: u64, active_us: u64, handed_us: u64, connected_us: u64, done_us: u64) -> Self {
        let part = |from: u64, to: u64| Duration::from_micros(to.saturating_sub(from));
        Self {
            before_queue: part(arrival_us, active_us),
            in_queue: part(active_us, handed_us),
            connection: part(handed_us, connected_us),
            transmission: part(connected_us, done_us),
        }
    }

    /// The whole.
    pub fn total(&self) -> Duration {
        self.before_queue
            .saturating_add(self.in_queue)
            .saturating_add(self.connection)
            .saturating_add(self.transmission)
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, decimals_max: u8) {
        out.extend_from_slice(b", delay=");
        append_delay(out, self.total(), decimals_max);
        let parts = [self.before_queue, self.in_queue, self.connection, self.transmission];
        for (part, lead) in parts.into_iter().zip([&b", delays="[..], b"/", b"/", b"/"]) {
            out.extend_from_slice(lead);
            append_delay(out, part, decimals_max);
        }
    }
}

/// Appends seconds with two significant digits and at most `decimals_max` (to 6) decimals, rounded half up, trailing
/// zeros dropped; from 10 s on as an integer. Never allocates beyond the growth of `out`.
pub fn append_delay(out: &mut Vec<u8>, delay: Duration, decimals_max: u8) {
    let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2);
    // Decimals that show two significant digits of what is there before rounding.
    let decimals = match micros {
        10_000_000.. => 0,
        1_000_000.. => 1,
        100_000.. => 2,
        10_000.. => 3,
        1_000.. => 4,
        100.. => 5,
        _ => 6,
    }
    .min(decimals_max.min(6));
    let unit = 10_u64.pow(6 - u32::from(decimals));
    let mut units = (micros + unit / 2) / unit;
    let mut decimals = usize::from(decimals);
    while decimals > 0 && units.is_multiple_of(10) {
        units /= 10;
        decimals -= 1;
    }
    let divisor = 10_u64.pow(decimals as u32);
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(number.format(units / divisor).as_bytes());
    if decimals > 0 {
        out.push(b'.');
        let fraction = number.format(units % divisor).as_bytes();
        out.extend(core::iter::repeat_n(b'0', decimals - fraction.len()));
        out.extend_from_slice(fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(micros: u64) -> String {
        let mut out = Vec::new();
        append_delay(&mut out, Duration::from_micros(micros), 2);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn two_significant_digits_and_two_decimals() {
        for (micros, text) in [
            (0, "0"),
            (4_999, "0"),
            (5_000, "0.01"),
            (30_000, "0.03"),
            (99_600, "0.1"),
            (100_000, "0.1"),
            (220_000, "0.22"),
            (224_999, "0.22"),
            (999_000, "1"),
            (1_200_000, "1.2"),
            (1_250_000, "1.3"),
            (9_960_000, "10"),
            (15_400_000, "15"),
            (4_000_000_000, "4000"),
        ] {
            assert_eq!(shown(micros), text, "{micros} µs");
        }
    }

    #[test]
    fn more_decimals_on_request_and_no_limit_breaks_it() {
        let mut out = Vec::new();
        append_delay(&mut out, Duration::from_micros(1_234), 6);
        out.push(b' ');
        append_delay(&mut out, Duration::from_micros(1_234_567), 0);
        out.push(b' ');
        append_delay(&mut out, Duration::from_micros(7), 255);
        assert_eq!(out, b"0.0012 1 0.000007");
        append_delay(&mut out, Duration::MAX, 6);
    }

    #[test]
    fn a_clock_that_goes_back_gives_zero() {
        let delays = Delays::between(2_000_000, 1_000_000, 1_500_000, 1_400_000, 1_600_000);
        let mut out = Vec::new();
        delays.append(&mut out, 2);
        assert_eq!(out, b", delay=0.7, delays=0/0.5/0/0.2");
    }
}
