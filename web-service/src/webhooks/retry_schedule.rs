//! When a callback is tried again, and when it is given up.

use std::time::Duration;

use pipeline::backoff::Backoff;

/// How many attempts there are. With the pauses below they take about a day.
const ATTEMPTS: u32 = 35;
/// The pauses double from this one
const FIRST: Duration = Duration::from_secs(1);
/// to this one. Each is made longer by chance, by itself at most, so that many callbacks that failed
/// together don't come back together.
const LONGEST: Duration = Duration::from_secs(40 * 60);
/// How far a receiver can put the next attempt off.
const PUT_OFF: Duration = Duration::from_secs(60 * 60);

/// The pause after an attempt that failed, counted from 1, if there is to be another one. The receiver
/// may have asked for a longer one.
pub(crate) fn pause(attempt: u32, asked_for: Option<Duration>) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let mut backoff = Backoff::new(FIRST, LONGEST).with_jitter();
    for _ in 1..attempt {
        backoff.next_pause();
    }
    let own = backoff.next_pause();
    Some(own.max(asked_for.unwrap_or_default().min(PUT_OFF)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_bound_and_end_after_about_a_day() {
        let mut least = Duration::ZERO;
        for attempt in 1..ATTEMPTS {
            let base = LONGEST.min(FIRST * 2_u32.pow((attempt - 1).min(20)));
            for _ in 0..50 {
                let pause = pause(attempt, None).unwrap();
                assert!(pause >= base && pause <= base * 2, "{attempt}: {pause:?}");
            }
            least += base;
        }
        let hours = least.as_secs_f64() / 3600.0;
        assert!(hours > 12.0 && hours * 1.5 > 23.0 && hours * 2.0 < 36.0, "{hours}");
        assert_eq!(pause(ATTEMPTS, None), None);
        assert_eq!(pause(u32::MAX, Some(FIRST)), None);
    }

    #[test]
    fn a_receiver_can_put_the_next_attempt_off_within_bounds() {
        let minute = Duration::from_secs(60);
        assert_eq!(pause(1, Some(minute)), Some(minute));
        assert_eq!(pause(1, Some(Duration::MAX)), Some(PUT_OFF));
        assert!(pause(8, Some(FIRST)).unwrap() >= Duration::from_secs(128), "not sooner");
    }
}
