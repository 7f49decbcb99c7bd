//! How long to wait before the next try.

/// The first wait. A restarted service is back within a second.
const FIRST_MS: f64 = 500.0;

/// The longest wait: an operator who looks at the page expects it back soon after the service.
const LONGEST_MS: f64 = 15_000.0;

/// Milliseconds to wait before try number `attempt` (0 is the first), doubled each time, at random
/// between half of that and all of it, so that a thousand pages do not come back at one moment.
/// `random` is from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most fifteen thousand, and whole milliseconds are enough"
)]
pub(crate) fn delay_ms(attempt: u32, random: f64) -> i32 {
    // From the fifth doubling on the limit holds; a greater exponent changes nothing.
    let whole = (FIRST_MS * f64::from(1_u32 << attempt.min(5))).min(LONGEST_MS);
    (whole * (0.5 + random.clamp(0.0, 1.0) / 2.0)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let waits: Vec<_> = (0..8).map(|attempt| delay_ms(attempt, 1.0)).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        assert_eq!(delay_ms(u32::MAX, 1.0), 15_000);
    }

    #[test]
    fn chance_takes_away_up_to_half() {
        assert_eq!(delay_ms(1, 0.0), 500);
        assert_eq!(delay_ms(1, 0.5), 750);
        assert_eq!(delay_ms(1, f64::NAN), 0, "no number is no wait, not a crash");
    }
}
