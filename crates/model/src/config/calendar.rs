//! Delayed failback by the calendar: the civil time of a node, and the minutes at which groups go back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::scalar::{Refused, refused};

const MINUTES: i64 = 24 * 60;
/// A leap year, and the next one after a century without: beyond this there is no next time.
const DAYS_AHEAD: i64 = 8 * 366;
const EXAMPLES: &str = "write \"daily 02:00\", \"sunday 02:00\", \"monthly 1 02:00\", \"yearly 12-24 02:00\" or a \
                        date, \"2026-12-24 02:00\"";
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A minute of the civil calendar, as the clock on the wall of a node shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LocalTime(i64);

impl LocalTime {
    /// The civil time of a wall clock (milliseconds since 1970, UTC) in a zone so many seconds ahead of UTC.
    #[must_use]
    pub fn of(wall_ms: u64, offset_s: i32) -> Self {
        let seconds = i64::try_from(wall_ms / 1000).unwrap_or(i64::MAX / 2) + i64::from(offset_s);
        Self(seconds.div_euclid(60))
    }

    fn at(day: i64, minute: i64) -> Self {
        Self(day * MINUTES + minute)
    }

    fn day(self) -> i64 {
        self.0.div_euclid(MINUTES)
    }

    fn minute(self) -> i64 {
        self.0.rem_euclid(MINUTES)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.day());
        let minute = self.minute();
        write!(f, "{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March here, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let in_era = shifted.rem_euclid(146_097);
    let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day counted from 1970-01-01 of a year, month and day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let in_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + in_year - 719_468
}

fn last_day(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days(next_year, next, 1) - days(year, month, 1)
}

/// Which days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Days {
    Daily,
    /// 0 = Monday.
    Weekly(i64),
    /// A day of the month; the last one of a month that is shorter.
    Monthly(i64),
    /// A month and a day of it; the last one of a February that is shorter.
    Yearly(i64, i64),
    /// One day.
    Once(i64),
}

/// When groups go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailbackAt {
    days: Days,
    minute: i64,
}

impl FailbackAt {
    /// Whether this is its minute.
    #[must_use]
    pub fn is_due(&self, now: LocalTime) -> bool {
        now.minute() == self.minute && self.falls_on(now.day())
    }

    /// Whether it is one date, and that is over.
    #[must_use]
    pub fn is_past(&self, now: LocalTime) -> bool {
        matches!(self.days, Days::Once(day) if LocalTime::at(day, self.minute) < now)
    }

    /// The next time after this one, if there is one.
    #[must_use]
    pub fn next_after(&self, now: LocalTime) -> Option<LocalTime> {
        if let Days::Once(day) = self.days {
            return Some(LocalTime::at(day, self.minute)).filter(|at| *at > now);
        }
        (now.day()..=now.day() + DAYS_AHEAD)
            .filter(|day| self.falls_on(*day))
            .map(|day| LocalTime::at(day, self.minute))
            .find(|at| *at > now)
    }

    fn falls_on(&self, day: i64) -> bool {
        let (year, month, of_month) = civil(day);
        match self.days {
            Days::Daily => true,
            // 1970-01-01 was a Thursday.
            Days::Weekly(weekday) => (day + 3).rem_euclid(7) == weekday,
            Days::Monthly(wanted) => of_month == wanted.min(last_day(year, month)),
            Days::Yearly(m, wanted) => month == m && of_month == wanted.min(last_day(year, month)),
            Days::Once(only) => day == only,
        }
    }
}

impl fmt::Display for FailbackAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.days {
            Days::Daily => write!(f, "daily")?,
            Days::Weekly(day) => write!(f, "{}", WEEKDAYS[usize::try_from(day).unwrap_or(0) % 7])?,
            Days::Monthly(day) => write!(f, "monthly {day}")?,
            Days::Yearly(month, day) => write!(f, "yearly {month:02}-{day:02}")?,
            Days::Once(day) => {
                let (year, month, day) = civil(day);
                write!(f, "{year:04}-{month:02}-{day:02}")?;
            }
        }
        write!(f, " {:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

/// Reads a time of failback.
pub(super) fn failback_at(text: &str) -> Result<FailbackAt, Refused> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, time) = match words.as_slice() {
        [one, time] => (one_word(one)?, *time),
        ["monthly", day, time] => {
            let Some(day) = number(day, 1, 31) else {
                return refused(format!("`{day}` is no day of a month"), "write \"monthly 1 02:00\"");
            };
            (Days::Monthly(day), *time)
        }
        ["yearly", date, time] => match date.split_once('-').and_then(|(m, d)| month_and_day(m, d)) {
            Some((month, day)) => (Days::Yearly(month, day), *time),
            None => {
                return refused(
                    format!("`{date}` is no month and day"),
                    "write \"yearly 12-24 02:00\", the month first",
                );
            }
        },
        _ => return refused(format!("`{text}` is no time to go back at"), EXAMPLES),
    };
    match time.split_once(':').and_then(|(h, m)| Some(number(h, 0, 23)? * 60 + number(m, 0, 59)?)) {
        Some(minute) => Ok(FailbackAt { days, minute }),
        None => refused(format!("`{time}` is no time of day"), "write it as 02:00, from 00:00 to 23:59"),
    }
}

fn one_word(word: &str) -> Result<Days, Refused> {
    if word == "daily" {
        return Ok(Days::Daily);
    }
    if let Some(day) = WEEKDAYS.iter().position(|known| *known == word) {
        return Ok(Days::Weekly(i64::try_from(day).unwrap_or(0)));
    }
    let parts: Vec<&str> = word.split('-').collect();
    if let [year, month, day] = parts.as_slice()
        && let (Some(year), Some((month, day))) = (number(year, 1970, 9999), month_and_day(month, day))
        && day <= last_day(year, month)
    {
        return Ok(Days::Once(days(year, month, day)));
    }
    refused(format!("`{word}` is no day"), EXAMPLES)
}

fn month_and_day(month: &str, day: &str) -> Option<(i64, i64)> {
    let month = number(month, 1, 12)?;
    // A leap year: every day that some year has.
    number(day, 1, last_day(2000, month)).map(|day| (month, day))
}

fn number(text: &str, low: i64, high: i64) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && (low..=high).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> LocalTime {
        let at = failback_at(text).unwrap();
        let Days::Once(day) = at.days else { panic!("{text}") };
        LocalTime::at(day, at.minute)
    }

    fn next(at: &str, now: &str) -> String {
        failback_at(at).unwrap().next_after(time(now)).map_or_else(|| "never".into(), |t| t.to_string())
    }

    #[test]
    fn civil_days_go_there_and_back() {
        for day in (-800_000..800_000).step_by(13) {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day, "{y}-{m}-{d}");
        }
        assert_eq!(LocalTime::of(0, 0).to_string(), "1970-01-01 00:00");
        assert_eq!(LocalTime::of(1_782_345_600_000, 7200).to_string(), "2026-06-25 02:00");
    }

    #[test]
    fn the_next_time_of_each_kind() {
        assert_eq!(next("daily 02:00", "2026-11-22 01:59"), "2026-11-22 02:00");
        assert_eq!(next("daily 02:00", "2026-11-22 02:00"), "2026-11-23 02:00");
        // 2026-11-22 is a Sunday.
        assert_eq!(next("sunday 02:00", "2026-11-22 03:00"), "2026-11-29 02:00");
        assert_eq!(next("monday 02:00", "2026-11-22 03:00"), "2026-11-23 02:00");
        assert_eq!(next("monthly 31 02:00", "2027-02-01 00:00"), "2027-02-28 02:00");
        assert_eq!(next("yearly 12-24 02:00", "2026-12-24 02:00"), "2027-12-24 02:00");
        assert_eq!(next("yearly 02-29 02:00", "2026-12-24 02:00"), "2027-02-28 02:00");
        assert_eq!(next("2026-12-24 02:00", "2026-12-24 01:00"), "2026-12-24 02:00");
        assert_eq!(next("2026-12-24 02:00", "2026-12-24 02:00"), "never");
    }

    #[test]
    fn it_is_due_for_its_minute_and_a_date_is_past_after_it() {
        let at = failback_at("2026-12-24 02:00").unwrap();
        assert!(at.is_due(time("2026-12-24 02:00")) && !at.is_past(time("2026-12-24 02:00")));
        assert!(!at.is_due(time("2026-12-24 02:01")) && at.is_past(time("2026-12-24 02:01")));
        let daily = failback_at("daily 02:00").unwrap();
        assert!(daily.is_due(time("2030-01-01 02:00")) && !daily.is_past(time("2030-01-01 03:00")));
        for text in
            ["daily 02:00", "friday 23:59", "monthly 9 00:00", "yearly 02-29 10:05", "2026-02-28 02:00"]
        {
            assert_eq!(failback_at(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "02:00",
            "dayly 02:00",
            "daily 2",
            "daily 24:00",
            "monthly 32 02:00",
            "yearly 24-12 02:00",
            "2026-02-29 02:00",
            "2026-13-01 02:00",
            "daily 02:00 x",
            "monthly 02:00",
            "daily +2:00",
        ] {
            assert!(failback_at(bad).is_err(), "{bad}");
        }
    }
}
