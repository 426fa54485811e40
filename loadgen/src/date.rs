//! Dates as RFC 5322 §3.3 writes them, always in UTC.

/// Formats times, one second after another, without doing the work twice.
#[derive(Clone, Debug, Default)]
pub struct RfcDate {
    second: Option<u64>,
    text: Vec<u8>,
}

impl RfcDate {
    /// Length of every date, e.g. `Tue, 14 Nov 2023 22:13:20 +0000`.
    pub const BYTES: usize = 31;

    /// The date-time of a second since 1970. Years past 9999 (no clock of ours shows them) are cut to fit.
    pub fn at(&mut self, unix_seconds: u64) -> &[u8] {
        if self.second != Some(unix_seconds) {
            self.second = Some(unix_seconds);
            self.text = format(unix_seconds).into_bytes();
            self.text.resize(RfcDate::BYTES, b' ');
        }
        &self.text
    }
}

fn format(unix_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = unix_seconds / 86_400;
    let second = unix_seconds % 86_400;
    let weekday = DAYS[(days % 7) as usize];

    // Years are counted from March, so that the leap day is the last of its year.
    let since_march_of_year_0 = days + 719_468;
    let era = since_march_of_year_0 / 146_097;
    let day_of_era = since_march_of_year_0 % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{weekday}, {day:02} {} {year:04} {:02}:{:02}:{:02} +0000",
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let expected = [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 +0000"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 +0000"),
            (1_700_000_000, "Tue, 14 Nov 2023 22:13:20 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
        ];
        let mut date = RfcDate::default();
        for (second, text) in expected {
            assert_eq!(date.at(second), text.as_bytes());
            assert_eq!(date.at(second).len(), RfcDate::BYTES);
        }
    }
}
