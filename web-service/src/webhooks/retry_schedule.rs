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

/// The age from which on a failed attempt is the last one. The pauses are over before, unless a receiver is so slow that its
/// callbacks wait for capacity: a request must not wait for ever for its callback, since it is kept as long.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The pause after a failed attempt, none if it was the last one. Attempts count from 1, and `age` from the end of the request.
/// `retry_after` is what the receiver asked for; it makes the pause longer, never shorter.
pub(crate) fn pause(
    attempt: u32,
    age: Duration,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    if attempt >= MAX_ATTEMPTS || age > MAX_AGE {
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
                let pause = pause(attempt, Duration::ZERO, None).unwrap();
                assert!(pause >= base && pause <= base * 2, "{attempt}: {pause:?}");
            }
            least += base;
        }
        let hours = least.as_secs_f64() / 3600.0;
        assert!(hours > 12.0 && hours * 1.5 > 23.0 && hours * 2.0 < 36.0, "{hours}");
        assert_eq!(pause(MAX_ATTEMPTS, Duration::ZERO, None), None);
        assert_eq!(pause(u32::MAX, Duration::ZERO, Some(MIN_PAUSE)), None);
    }

    #[test]
    fn an_attempt_that_fails_after_days_is_the_last_one() {
        assert_eq!(pause(2, MAX_AGE + MIN_PAUSE, None), None);
        assert_eq!(pause(2, MAX_AGE + MIN_PAUSE, Some(MIN_PAUSE)), None);
        assert!(pause(2, MAX_AGE, None).is_some());
        let longest = (1..MAX_ATTEMPTS).map(|attempt| {
            let base = MAX_PAUSE.min(MIN_PAUSE * 2_u32.pow((attempt - 1).min(20)));
            MAX_RETRY_AFTER.max(base * 2)
        });
        assert!(longest.sum::<Duration>() < MAX_AGE, "the attempts are over before");
    }

    #[test]
    fn a_receiver_can_make_a_pause_longer_up_to_a_limit() {
        let minute = Duration::from_secs(60);
        assert_eq!(pause(1, Duration::ZERO, Some(minute)), Some(minute));
        assert_eq!(pause(1, Duration::ZERO, Some(Duration::MAX)), Some(MAX_RETRY_AFTER));
        assert!(
            pause(8, Duration::ZERO, Some(MIN_PAUSE)).unwrap() >= Duration::from_secs(128),
            "not sooner"
        );
    }
}
