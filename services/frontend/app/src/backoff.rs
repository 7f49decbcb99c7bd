//! Delay before the next connection attempt.

/// First delay. A restarted service is available within a second.
const INITIAL_DELAY_MS: f64 = 500.0;

/// Longest delay. An operator expects the page to recover soon after the service does.
const MAX_DELAY_MS: f64 = 15_000.0;

/// Returns the delay in milliseconds before the attempt (0 is the first). The delay doubles each
/// time and is multiplied by a random factor between 0.5 and 1, so that a thousand pages do not
/// reconnect at the same moment. `random` is from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most fifteen thousand, and whole milliseconds are enough"
)]
pub(crate) fn delay_ms(attempt: u32, random: f64) -> i32 {
    // The limit applies from the fifth doubling on; a larger exponent changes nothing.
    let base_ms = (INITIAL_DELAY_MS * f64::from(1_u32 << attempt.min(5))).min(MAX_DELAY_MS);
    (base_ms * (0.5 + random.clamp(0.0, 1.0) / 2.0)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit() {
        let delays: Vec<_> = (0..8).map(|attempt| delay_ms(attempt, 1.0)).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        assert_eq!(delay_ms(u32::MAX, 1.0), 15_000);
    }

    #[test]
    fn jitter_shortens_the_delay_by_up_to_half() {
        assert_eq!(delay_ms(1, 0.0), 500);
        assert_eq!(delay_ms(1, 0.5), 750);
        assert_eq!(delay_ms(1, f64::NAN), 0, "no number is no wait, not a crash");
    }
}
