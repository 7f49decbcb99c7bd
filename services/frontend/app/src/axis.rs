//! Ticks of a chart's time axis, at round times in the viewer's time zone.

/// Possible intervals between two ticks, in seconds.
const STEPS: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
    10_800.0, 21_600.0, 43_200.0, 86_400.0,
];

/// Maximum number of intervals in a window.
const MAX_TICKS: f64 = 5.0;

const DAY_MS: f64 = 86_400_000.0;

/// Tick of the axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) time_ms: f64,
    pub(crate) label: Label,
}

/// Precision of a tick's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Hours, minutes and seconds.
    Second,
    /// Hours and minutes.
    Minute,
    /// Month and day: the first tick of a day.
    Day,
}

/// Returns the ticks of a window. `offset_ms` returns the time by which local time is behind UTC at
/// a given time; it changes with daylight saving time.
pub(crate) fn ticks(window: (f64, f64), offset_ms: impl Fn(f64) -> f64) -> Vec<Tick> {
    let (begin, end) = window;
    let fits = |step: &&f64| **step * 1_000.0 * MAX_TICKS >= end - begin;
    let Some(step) = STEPS.iter().find(fits).map(|step| step * 1_000.0) else { return Vec::new() };
    let offset = offset_ms(begin);
    let mut day = ((begin - offset) / DAY_MS).floor();
    let first = ((begin - offset) / step).ceil();
    let mut ticks: Vec<Tick> = Vec::new();
    for count in 0..=6 {
        let local = (first + f64::from(count)) * step;
        let time_ms = local + offset_ms(local + offset);
        let is_later = ticks.last().is_none_or(|last| last.time_ms < time_ms);
        if !is_later || !(begin..=end).contains(&time_ms) {
            continue;
        }
        let label = if (local / DAY_MS).floor() > day {
            Label::Day
        } else if step < 60_000.0 {
            Label::Second
        } else {
            Label::Minute
        };
        day = (local / DAY_MS).floor();
        ticks.push(Tick { time_ms, label });
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3_600_000.0;

    #[test]
    fn ticks_are_at_round_local_times() {
        // Some zones differ from UTC by half an hour.
        let ticks = ticks((HOUR, 2.0 * HOUR), |_| -HOUR / 2.0);
        assert_eq!(ticks.len(), 5);
        assert!(ticks.iter().all(|tick| ((tick.time_ms + HOUR / 2.0) % (HOUR / 4.0)).abs() < 1.0));
        assert!(ticks.iter().all(|tick| tick.label == Label::Minute));
    }

    #[test]
    fn a_new_day_shows_its_date() {
        let ticks = ticks((18.0 * HOUR, 42.0 * HOUR), |_| 0.0);
        let dates: Vec<_> = ticks.iter().filter(|tick| tick.label == Label::Day).collect();
        assert_eq!(dates.len(), 1);
        assert!((dates[0].time_ms - 24.0 * HOUR).abs() < 1.0);
    }

    #[test]
    fn ticks_stay_round_and_in_order_when_clocks_are_set_back() {
        // Local time is one hour ahead of UTC until the 10th hour.
        let offset = |time: f64| if time < 10.0 * HOUR { -HOUR } else { 0.0 };
        let ticks = ticks((0.0, 24.0 * HOUR), offset);
        assert!(ticks.windows(2).all(|pair| pair[0].time_ms < pair[1].time_ms));
        for tick in &ticks {
            let local = tick.time_ms - offset(tick.time_ms);
            assert!((local % (6.0 * HOUR)).abs() < 1.0, "{local}");
        }
    }

    #[test]
    fn a_window_of_seconds_shows_seconds_and_an_absurd_window_has_no_ticks() {
        assert_eq!(ticks((0.0, 5_000.0), |_| 0.0)[0].label, Label::Second);
        assert!(ticks((0.0, f64::INFINITY), |_| 0.0).is_empty());
        assert!(ticks((0.0, 1e300), |_| 0.0).is_empty());
    }
}
