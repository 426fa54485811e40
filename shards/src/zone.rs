//! zone: the local time zone, from the system's database, asked again from time to time (daylight saving).

use std::cell::Cell;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ringpost_core::date::Zone;

/// How long an answer is used.
const ASK_AGAIN_SECONDS: i64 = 900;

/// The zone as one shard knows it.
pub struct LocalZone {
    zone: Cell<Zone>,
    until_s: Cell<i64>,
}

impl LocalZone {
    /// Nothing asked yet.
    pub fn new() -> LocalZone {
        LocalZone { zone: Cell::new(Zone::UTC), until_s: Cell::new(i64::MIN) }
    }

    /// The zone in force now; `now_s` counts from 1970. UTC where the system names none.
    pub fn at(&self, now_s: i64) -> Zone {
        if now_s >= self.until_s.get() {
            self.until_s.set(now_s + ASK_AGAIN_SECONDS);
            self.zone.set(system_zone(now_s));
        }
        self.zone.get()
    }
}

impl Default for LocalZone {
    fn default() -> LocalZone {
        LocalZone::new()
    }
}

/// The local zone as it was or will be at that time, seconds after 1970. UTC where the system names none.
pub fn system_zone(unix_seconds: i64) -> Zone {
    let Ok(timestamp) = Timestamp::from_second(unix_seconds) else { return Zone::UTC };
    let zone = TimeZone::system();
    let info = zone.to_offset_info(timestamp);
    Zone::new(info.offset().seconds() / 60, info.abbreviation())
}
