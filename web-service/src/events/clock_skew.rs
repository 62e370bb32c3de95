//! Clock skew: which hosts of workers have a clock that differs from ours. Pure decisions, with the time passed in.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pipeline::contract::{JobEvent, JobEventName, Timestamp};

/// Clocks that differ by no more than this are taken to agree: an event also takes a moment to come.
const MAX_SKEW: Duration = Duration::from_secs(60);
/// How often a host is warned about.
const WARN_INTERVAL: Duration = Duration::from_secs(600);
/// The most hosts that are remembered, so that a flood of names can't fill the memory.
const MAX_HOSTS: usize = 1000;

/// How the clock of a worker's host differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skew {
    /// It is ahead by so much.
    Ahead(Duration),
    /// It is behind by so much.
    Behind(Duration),
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Ahead(skew) | Self::Behind(skew)) = self;
        let skew = humantime::format_duration(Duration::from_secs(skew.as_secs()));
        match self {
            Self::Ahead(_) => write!(f, "{skew} ahead of"),
            Self::Behind(_) => write!(f, "{skew} behind"),
        }
    }
}

/// The hosts whose clocks differed lately. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentSkews(Arc<Mutex<HashMap<String, (Instant, Skew)>>>);

impl RecentSkews {
    /// The hosts whose clocks differed in the last ten minutes, in the order of their names.
    pub(crate) fn recent(&self, now: Instant) -> Vec<(String, Skew)> {
        let skews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = skews.iter().filter(|(_, (at, _))| now < *at + WARN_INTERVAL);
        let mut recent: Vec<_> = recent.map(|(host, (_, skew))| (host.clone(), *skew)).collect();
        recent.sort_unstable_by(|(host, _), (other, _)| host.cmp(other));
        recent
    }

    fn note(&self, host: &str, skew: Skew, now: Instant) {
        let mut skews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if skews.len() >= MAX_HOSTS {
            skews.clear();
        }
        skews.insert(host.to_owned(), (now, skew));
    }
}

/// The hosts that were warned about.
#[derive(Debug, Default)]
pub(crate) struct ClockSkew {
    recent: RecentSkews,
    warned: HashMap<String, Instant>,
}

impl ClockSkew {
    /// Notes each difference in `recent`, too.
    pub(crate) fn noting_in(recent: RecentSkews) -> Self {
        Self { recent, warned: HashMap::new() }
    }

    /// The skew of the host of an event that came now, if it is to be warned about. `clock` is our clock.
    pub(crate) fn check(
        &mut self,
        event: &JobEvent,
        clock: Timestamp,
        now: Instant,
    ) -> Option<(String, Skew)> {
        let skew = skew(event, clock)?;
        let host = event.worker.split(':').next().unwrap_or_default();
        self.recent.note(host, skew, now);
        if self.warned.get(host).is_some_and(|warned| now < *warned + WARN_INTERVAL) {
            return None;
        }
        if self.warned.len() >= MAX_HOSTS {
            self.warned.clear();
        }
        self.warned.insert(host.to_owned(), now);
        Some((host.to_owned(), skew))
    }
}

fn skew(event: &JobEvent, clock: Timestamp) -> Option<Skew> {
    let ahead = event.at.saturating_duration_since(clock);
    let behind = clock.saturating_duration_since(event.at);
    // What has begun long ago is reported again to those who ask.
    let is_fresh = event.event != JobEventName::Started;
    if ahead > MAX_SKEW {
        Some(Skew::Ahead(ahead))
    } else if behind > MAX_SKEW && is_fresh {
        Some(Skew::Behind(behind))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn event(name: JobEventName, worker: &str, at: Timestamp) -> JobEvent {
        JobEvent { at, ..JobEvent::new(name, Uuid::nil().into(), worker) }
    }

    #[test]
    fn a_worker_whose_clock_differs_is_warned_about_once_in_a_while() {
        let (mut skews, clock, now) = (ClockSkew::default(), Timestamp::now(), Instant::now());
        let later = clock + HOUR;
        let ahead = event(JobEventName::Started, "a:1/1", later);
        let warning = Some(("a".to_owned(), Skew::Ahead(HOUR)));
        assert_eq!(skews.check(&ahead, clock, now), warning);
        let other_slot = event(JobEventName::Started, "a:1/2", later);
        assert_eq!(skews.check(&other_slot, clock, now), None);
        assert_eq!(skews.check(&ahead, clock, now + WARN_INTERVAL), warning);
        let behind = event(JobEventName::Progress, "b:1/1", clock);
        assert_eq!(skews.check(&behind, later, now), Some(("b".to_owned(), Skew::Behind(HOUR))));
    }

    #[test]
    fn what_is_only_late_is_no_skew() {
        let (mut skews, clock, now) = (ClockSkew::default(), Timestamp::now(), Instant::now());
        let long_ago = event(JobEventName::Started, "a:1/1", clock);
        assert_eq!(skews.check(&long_ago, clock + HOUR, now), None);
        for name in [JobEventName::Started, JobEventName::Progress, JobEventName::Retrying] {
            let event = event(name, "a:1/1", clock);
            assert_eq!(skews.check(&event, clock + MAX_SKEW, now), None);
        }
        let soon = event(JobEventName::Progress, "a:1/1", clock + MAX_SKEW);
        assert_eq!(skews.check(&soon, clock, now), None);
    }
}
