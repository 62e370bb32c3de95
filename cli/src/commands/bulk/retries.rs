//! The lines of a bulk run that wait for their next attempt.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    api::request::{Request, Status},
    text::{countdown, short_error},
};

/// How much of an error is shown.
const MAX_ERROR_CHARS: usize = 80;

/// The waiting lines by their numbers.
#[derive(Debug, Default)]
pub(super) struct Retries(RefCell<BTreeMap<u64, Retry>>);

#[derive(Debug)]
struct Retry {
    error: String,
    at: SystemTime,
}

/// What the waiting lines have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outlook {
    /// How many lines wait.
    pub(super) lines: u64,
    /// How long it takes until the next attempt begins,
    pub(super) next: Duration,
    /// and until all have begun.
    pub(super) last: Duration,
    /// Why the attempt has failed of the line that is next.
    pub(super) error: String,
}

impl Retries {
    /// Notes what is known of the request of a line.
    pub(super) fn note(&self, line: u64, request: &Request) {
        let details = &request.details;
        let at = details.next_attempt_at.as_deref().filter(|_| request.status == Status::Queued);
        let at = at.and_then(|at| humantime::parse_rfc3339_weak(at).ok());
        match at.filter(|at| *at > SystemTime::now()) {
            Some(at) => {
                let error = details.last_error.as_deref().unwrap_or_default();
                let error = short_error(error, MAX_ERROR_CHARS);
                self.0.borrow_mut().insert(line, Retry { error, at });
            }
            None => self.remove(line),
        }
    }

    /// The line has ended.
    pub(super) fn remove(&self, line: u64) {
        self.0.borrow_mut().remove(&line);
    }

    /// What is to be expected of the lines that wait; none if none does.
    pub(super) fn outlook(&self, now: SystemTime) -> Option<Outlook> {
        let retries = self.0.borrow();
        let left = |retry: &Retry| retry.at.duration_since(now).unwrap_or_default();
        let waiting = retries.values().filter(|retry| retry.at > now);
        let next = waiting.clone().min_by_key(|retry| retry.at)?;
        Some(Outlook {
            lines: waiting.clone().count() as u64,
            next: left(next),
            last: waiting.map(left).max().unwrap_or_default(),
            error: next.error.clone(),
        })
    }
}

impl Outlook {
    /// How many wait for what, in a few words.
    pub(super) fn text(&self) -> String {
        let (lines, next) = (self.lines, countdown(self.next));
        let why = match self.error.as_str() {
            "" => String::new(),
            error => format!(" after {error}"),
        };
        match lines {
            1 => format!("1 waits for its next attempt in {next}{why}"),
            _ => format!("{lines} wait for their next attempts, the first in {next}{why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(error: &str, at: SystemTime) -> Request {
        let at = humantime::format_rfc3339_millis(at);
        let json = format!(
            r#"{{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"queued","attempts":1,
                "lastError":"{error}","nextAttemptAt":"{at}"}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_lines_that_wait_are_counted_with_the_next_attempt_and_the_last() {
        let retries = Retries::default();
        let now = SystemTime::now();
        assert_eq!(retries.outlook(now), None);
        retries.note(1, &waiting("no coffee", now + Duration::from_secs(600)));
        retries.note(2, &waiting("boom", now + Duration::from_secs(90)));
        let outlook = retries.outlook(now).unwrap();
        assert_eq!(outlook.lines, 2);
        assert!(outlook.last >= Duration::from_secs(599), "{outlook:?}");
        let text = outlook.text();
        assert!(text.starts_with("2 wait for their next attempts, the first in 1m 30s"), "{text}");
        assert!(text.ends_with(" after boom"), "{text}");
        retries.remove(2);
        assert!(
            retries.outlook(now).unwrap().text().starts_with("1 waits for its next attempt in ")
        );
        assert_eq!(retries.outlook(now + Duration::from_secs(700)), None, "it has begun");
    }
}
