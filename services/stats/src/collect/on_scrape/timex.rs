//! Kernel clock: its offset from the time server, and its correction.

use super::{Collector, Kind, Source, Texts, Value, Writer, single};

/// Fields of `adjtimex(2)`, which requires no privilege for reading.
pub(super) const TIMEX: Collector =
    Collector { name: "timex", source: Source::Clock, write: timex };

/// Key of the text, which has a line with name and number for each field.
pub(crate) const TEXT: &str = "timex";

/// Constants of `linux/timex.h`.
const TIME_ERROR: i64 = 5;
const STA_NANO: i64 = 0x2000;

const MICRO: f64 = 1e6;
const NANO: f64 = 1e9;
/// Parts per million, scaled by 2^16.
const PPM: f64 = 1e6 * 65_536.0;

fn timex(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get(TEXT) else { return };
    let field = |key: &str| -> Option<i64> {
        let mut fields = text.lines().filter_map(|line| line.split_once(' '));
        fields.find(|(name, _)| *name == key)?.1.parse().ok()
    };
    let status = field("status");
    let fraction = status.map(|status| if status & STA_NANO == 0 { MICRO } else { NANO });
    let scaled = |name: &str, by: f64| field(name).map(|number| number as f64 / by);
    let short = |name: &str| fraction.and_then(|fraction| scaled(name, fraction));
    let gauges = [
        ("offset_seconds", "Offset from the reference clock.", short("offset")),
        (
            "frequency_adjustment_ratio",
            "Correction of the clock's frequency.",
            scaled("freq", PPM).map(|correction| 1.0 + correction),
        ),
        ("maxerror_seconds", "Maximum error.", scaled("maxerror", MICRO)),
        ("estimated_error_seconds", "Estimated error.", scaled("esterror", MICRO)),
        ("status", "Status bits of adjtimex(2).", scaled("status", 1.0)),
        ("loop_time_constant", "Time constant of the phase-locked loop.", scaled("constant", 1.0)),
        ("tick_seconds", "Time between two ticks of the clock.", scaled("tick", MICRO)),
        ("pps_frequency_hertz", "Frequency of the pulses per second.", scaled("ppsfreq", PPM)),
        ("pps_jitter_seconds", "Jitter of the pulses.", short("jitter")),
        ("pps_shift_seconds", "Interval of the pulses.", scaled("shift", 1.0)),
        ("pps_stability_hertz", "Stability of the pulses.", scaled("stabil", PPM)),
        ("tai_offset_seconds", "Offset of international atomic time.", scaled("tai", 1.0)),
        (
            "sync_status",
            "1 if the clock is synchronized to a reliable server, else 0.",
            field("state").map(|state| if state == TIME_ERROR { 0.0 } else { 1.0 }),
        ),
    ];
    for (name, help, value) in gauges {
        single(writer, &format!("node_timex_{name}"), Kind::Gauge, help, Value::float(value));
    }
    let counters = [
        ("pps_jitter_total", "Pulses with too much jitter.", "jitcnt"),
        ("pps_calibration_total", "Calibration intervals.", "calcnt"),
        ("pps_error_total", "Calibration errors.", "errcnt"),
        ("pps_stability_exceeded_total", "Pulses that were not stable.", "stbcnt"),
    ];
    for (name, help, from) in counters {
        let value = field(from).and_then(|count| u64::try_from(count).ok());
        single(writer, &format!("node_timex_{name}"), Kind::Counter, help, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    fn of(state: i64, status: i64) -> String {
        let text = format!(
            "state {state}\nstatus {status}\noffset -1500\nfreq 6553600\nmaxerror 16000000\n\
             esterror 250\ntick 10000\ntai 37\ncalcnt 3\n"
        );
        written(&TIMEX, &[(TEXT, &text)])
    }

    #[test]
    fn the_clock_has_offset_errors_and_state() {
        let synchronized = of(0, 0x2001);
        for line in [
            "node_timex_offset_seconds -0.0000015\n",
            "node_timex_frequency_adjustment_ratio 1.0001\n",
            "node_timex_maxerror_seconds 16\n",
            "node_timex_estimated_error_seconds 0.00025\n",
            "node_timex_status 8193\n",
            "node_timex_tick_seconds 0.01\n",
            "node_timex_tai_offset_seconds 37\n",
            "node_timex_sync_status 1\n",
            "node_timex_pps_calibration_total 3\n",
        ] {
            assert!(synchronized.contains(line), "{line}{synchronized}");
        }
        assert!(!synchronized.contains("pps_error_total"), "{synchronized}");
    }

    #[test]
    fn an_unsynchronized_clock_counts_microseconds() {
        let alone = of(5, 0x40);
        assert!(alone.contains("node_timex_sync_status 0\n"), "{alone}");
        assert!(alone.contains("node_timex_offset_seconds -0.0015\n"), "{alone}");
    }
}
