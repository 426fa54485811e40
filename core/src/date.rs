//! Dates: civil time from a count of seconds, in the two forms that mail needs.
//!
//! No clock and no time zone files: callers give the time and the zone's offset. RFC 5322 §3.3 (header dates, day of
//! month always with two digits) and the syslog form `Mmm dd hh:mm:ss` (day padded with a space) of `maillog_file`.

const SECONDS_PER_DAY: i64 = 86_400;
const DAY_NAMES: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTH_NAMES: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
/// Seconds outside the years 0 to 9999 are clamped: RFC 5322 has four digits for the year.
const SECONDS_MIN: i64 = -62_167_219_200;
const SECONDS_MAX: i64 = 253_402_300_799;
/// The farthest offset that `+hhmm` is used for; POSIX zones stay within a day.
const OFFSET_MINUTES_MAX: i32 = 24 * 60 - 1;
const ZONE_NAME_BYTES: usize = 8;

/// A time zone at one moment: its distance from UTC and its abbreviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    offset_minutes: i32,
    name: [u8; ZONE_NAME_BYTES],
    name_length: u8,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone { offset_minutes: 0, name: *b"UTC\0\0\0\0\0", name_length: 3 };

    /// A zone `offset_minutes` east of Greenwich (clamped to less than a day). `name` is its abbreviation, printed in
    /// parentheses after the offset; one that is empty, longer than 8 bytes or not alphanumeric is left out.
    pub fn new(offset_minutes: i32, name: &str) -> Self {
        let mut zone = Zone {
            offset_minutes: offset_minutes.clamp(-OFFSET_MINUTES_MAX, OFFSET_MINUTES_MAX),
            name: [0; ZONE_NAME_BYTES],
            name_length: 0,
        };
        let printable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'));
        if name.len() <= ZONE_NAME_BYTES && printable {
            zone.name[..name.len()].copy_from_slice(name.as_bytes());
            zone.name_length = name.len() as u8;
        }
        zone
    }

    /// Minutes east of Greenwich.
    pub fn offset_minutes(&self) -> i32 {
        self.offset_minutes
    }

    fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.name_length)]
    }

    fn local(&self, unix_seconds: i64) -> i64 {
        unix_seconds.saturating_add(i64::from(self.offset_minutes) * 60).clamp(SECONDS_MIN, SECONDS_MAX)
    }
}

/// Civil time, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// 0 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59; leap seconds are not counted in Unix time.
    pub second: u8,
    /// Days after a Thursday, 0 to 6 (1970 began on one).
    weekday: u8,
}

impl Civil {
    /// The civil time in `zone`, `unix_seconds` after 1970; clamped to the years 0 to 9999.
    pub fn at(unix_seconds: i64, zone: &Zone) -> Self {
        let local = zone.local(unix_seconds);
        let days = local.div_euclid(SECONDS_PER_DAY);
        let second_of_day = local.rem_euclid(SECONDS_PER_DAY) as u32;
        // The proleptic Gregorian calendar repeats every 400 years of 146,097 days. Counting from a first of March
        // puts the leap day last, so that a month's start is a linear function of its number.
        let since_march_0000 = days + 719_468;
        let era = since_march_0000.div_euclid(146_097);
        let day_of_era = since_march_0000.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self {
            year: year as u16,
            month: month as u8,
            day: day as u8,
            hour: (second_of_day / 3_600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
            weekday: days.rem_euclid(7) as u8,
        }
    }
}

/// Appends the RFC 5322 date, e.g. `Wed, 15 Nov 2023 06:13:20 +0800 (CST)`.
pub fn append_rfc5322(out: &mut Vec<u8>, unix_seconds: i64, zone: &Zone) {
    let civil = Civil::at(unix_seconds, zone);
    out.extend_from_slice(DAY_NAMES[usize::from(civil.weekday)]);
    out.extend_from_slice(b", ");
    out.extend_from_slice(&two_digits(civil.day));
    out.push(b' ');
    out.extend_from_slice(MONTH_NAMES[usize::from(civil.month - 1)]);
    out.push(b' ');
    out.extend_from_slice(&two_digits((civil.year / 100) as u8));
    out.extend_from_slice(&two_digits((civil.year % 100) as u8));
    out.push(b' ');
    out.extend_from_slice(&clock_face(&civil));
    out.push(b' ');
    out.push(if zone.offset_minutes < 0 { b'-' } else { b'+' });
    let offset = zone.offset_minutes.unsigned_abs();
    out.extend_from_slice(&two_digits((offset / 60) as u8));
    out.extend_from_slice(&two_digits((offset % 60) as u8));
    if zone.name_length > 0 {
        out.extend_from_slice(b" (");
        out.extend_from_slice(zone.name());
        out.push(b')');
    }
}

/// Appends the form of C's `asctime` without its line end, e.g. `Wed Nov 15 06:13:20 2023`.
pub fn append_asctime(out: &mut Vec<u8>, unix_seconds: i64, zone: &Zone) {
    let civil = Civil::at(unix_seconds, zone);
    out.extend_from_slice(DAY_NAMES[usize::from(civil.weekday)]);
    out.push(b' ');
    out.extend_from_slice(&syslog_text(unix_seconds, zone));
    out.push(b' ');
    out.extend_from_slice(&two_digits((civil.year / 100) as u8));
    out.extend_from_slice(&two_digits((civil.year % 100) as u8));
}

/// Bytes of the syslog form.
pub const SYSLOG_BYTES: usize = 15;

/// The syslog form of a time, kept for as long as the second lasts: asking again costs a comparison and a copy.
#[derive(Debug, Clone)]
pub struct SyslogTime {
    zone: Zone,
    second: i64,
    text: [u8; SYSLOG_BYTES],
}

impl SyslogTime {
    /// Times will be printed in `zone`.
    pub fn new(zone: Zone) -> Self {
        Self { zone, second: 0, text: syslog_text(0, &zone) }
    }

    /// Prints in another zone from now on (the summer's, say).
    pub fn set_zone(&mut self, zone: Zone) {
        *self = Self { zone, second: self.second, text: syslog_text(self.second, &zone) };
    }

    /// `Mmm dd hh:mm:ss`, `unix_seconds` after 1970.
    pub fn text(&mut self, unix_seconds: i64) -> &[u8; SYSLOG_BYTES] {
        if unix_seconds != self.second {
            self.second = unix_seconds;
            self.text = syslog_text(unix_seconds, &self.zone);
        }
        &self.text
    }
}

fn syslog_text(unix_seconds: i64, zone: &Zone) -> [u8; SYSLOG_BYTES] {
    let civil = Civil::at(unix_seconds, zone);
    let mut text = *b"Mmm dd hh:mm:ss";
    text[..3].copy_from_slice(MONTH_NAMES[usize::from(civil.month - 1)]);
    text[4..6].copy_from_slice(&two_digits(civil.day));
    if text[4] == b'0' {
        text[4] = b' ';
    }
    text[7..].copy_from_slice(&clock_face(&civil));
    text
}

fn clock_face(civil: &Civil) -> [u8; 8] {
    let mut text = *b"hh:mm:ss";
    text[..2].copy_from_slice(&two_digits(civil.hour));
    text[3..5].copy_from_slice(&two_digits(civil.minute));
    text[6..].copy_from_slice(&two_digits(civil.second));
    text
}

/// `number` is below 100.
fn two_digits(number: u8) -> [u8; 2] {
    [b'0' + number / 10, b'0' + number % 10]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rfc5322(unix_seconds: i64, zone: Zone) -> String {
        let mut out = Vec::new();
        append_rfc5322(&mut out, unix_seconds, &zone);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn header_dates() {
        let utc = Zone::UTC;
        assert_eq!(rfc5322(0, utc), "Thu, 01 Jan 1970 00:00:00 +0000 (UTC)");
        assert_eq!(rfc5322(1_700_000_000, utc), "Tue, 14 Nov 2023 22:13:20 +0000 (UTC)");
        assert_eq!(rfc5322(1_700_000_000, Zone::new(480, "CST")), "Wed, 15 Nov 2023 06:13:20 +0800 (CST)");
        assert_eq!(rfc5322(1_700_000_000, Zone::new(-210, "")), "Tue, 14 Nov 2023 18:43:20 -0330");
        assert_eq!(rfc5322(951_782_400, utc), "Tue, 29 Feb 2000 00:00:00 +0000 (UTC)");
        assert_eq!(rfc5322(4_107_542_400, utc), "Mon, 01 Mar 2100 00:00:00 +0000 (UTC)");
        assert_eq!(rfc5322(-1, utc), "Wed, 31 Dec 1969 23:59:59 +0000 (UTC)");
    }

    #[test]
    fn a_zone_name_cannot_break_a_header() {
        assert_eq!(rfc5322(0, Zone::new(0, "A)\r\nX: y")), "Thu, 01 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn syslog_times_pad_the_day_with_a_space() {
        let mut time = SyslogTime::new(Zone::UTC);
        assert_eq!(time.text(0), b"Jan  1 00:00:00");
        assert_eq!(time.text(1_700_000_000), b"Nov 14 22:13:20");
        assert_eq!(time.text(1_700_000_000), b"Nov 14 22:13:20");
        assert_eq!(time.text(1_700_000_001), b"Nov 14 22:13:21");
        time.set_zone(Zone::new(120, "CEST"));
        assert_eq!(time.text(1_700_000_001), b"Nov 15 00:13:21");
    }

    proptest! {
        #[test]
        fn any_second_has_a_date(seconds: i64, offset: i32) {
            let zone = Zone::new(offset, "X");
            let civil = Civil::at(seconds, &zone);
            prop_assert!(civil.year <= 9_999);
            prop_assert!((1..=12).contains(&civil.month) && (1..=31).contains(&civil.day));
            prop_assert_eq!(rfc5322(seconds, zone).len(), "Thu, 01 Jan 1970 00:00:00 +0000 (X)".len());
        }

        #[test]
        fn the_next_day_follows(day in -700_000_i64..2_900_000) {
            let today = Civil::at(day * SECONDS_PER_DAY, &Zone::UTC);
            let tomorrow = Civil::at((day + 1) * SECONDS_PER_DAY, &Zone::UTC);
            prop_assert_eq!((today.weekday + 1) % 7, tomorrow.weekday);
            let next_in_month = (today.year, today.month, today.day + 1);
            let next = (tomorrow.year, tomorrow.month, tomorrow.day);
            prop_assert!(next == next_in_month || tomorrow.day == 1 && today.day >= 28);
        }
    }
}
