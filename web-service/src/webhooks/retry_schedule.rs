//! Retry schedule of webhooks: the pauses between attempts, and the last attempt.

use std::time::Duration;

use pipeline::backoff::Backoff;

/// The number of attempts. With the pauses below they take about a day.
const MAX_ATTEMPTS: u32 = 35;
/// The first pause. The pauses double from here, and jitter makes each at most twice as long, so that
/// callbacks which failed together are not tried again together.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, without jitter.
const MAX_PAUSE: Duration = Duration::from_secs(40 * 60);
/// The longest pause that a receiver can ask for with `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The pause after a failed attempt, none if it was the last one. Attempts count from 1. `retry_after` is
/// what the receiver asked for; it makes the pause longer, never shorter.
pub(crate) fn pause(attempt: u32, retry_after: Option<Duration>) -> Option<Duration> {
    if attempt >= MAX_ATTEMPTS {
        return None;
    }
    let mut backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE).with_jitter();
    for _ in 1..attempt {
        backoff.next_pause();
    }
    let own = backoff.next_pause();
    Some(own.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_for_about_a_day() {
        let mut least = Duration::ZERO;
        for attempt in 1..MAX_ATTEMPTS {
            let base = MAX_PAUSE.min(MIN_PAUSE * 2_u32.pow((attempt - 1).min(20)));
            for _ in 0..50 {
                let pause = pause(attempt, None).unwrap();
                assert!(pause >= base && pause <= base * 2, "{attempt}: {pause:?}");
            }
            least += base;
        }
        let hours = least.as_secs_f64() / 3600.0;
        assert!(hours > 12.0 && hours * 1.5 > 23.0 && hours * 2.0 < 36.0, "{hours}");
        assert_eq!(pause(MAX_ATTEMPTS, None), None);
        assert_eq!(pause(u32::MAX, Some(MIN_PAUSE)), None);
    }

    #[test]
    fn a_receiver_can_make_a_pause_longer_up_to_a_limit() {
        let minute = Duration::from_secs(60);
        assert_eq!(pause(1, Some(minute)), Some(minute));
        assert_eq!(pause(1, Some(Duration::MAX)), Some(MAX_RETRY_AFTER));
        assert!(pause(8, Some(MIN_PAUSE)).unwrap() >= Duration::from_secs(128), "not sooner");
    }
}
