//! Finished events: publishes `requests.finished`, together for requests that end soon after one another.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pipeline::{
    broker::EventPublisher,
    contract::{Event, FinishedRequest, Timestamp},
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

/// For how long after an event others are gathered. Each costs the broker as much as a result does.
const GATHER_INTERVAL: Duration = Duration::from_millis(5);
/// How long the first event waits, so that whoever waits here has the answer before others are told of it.
const FIRST_DELAY: Duration = Duration::from_millis(1);

/// Publishes which requests have ended. Clones share what is gathered.
#[derive(Clone)]
pub(crate) struct FinishedEvents {
    event_publisher: EventPublisher,
    gathered: Arc<Mutex<Gathered>>,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct Gathered {
    requests: Vec<FinishedRequest>,
    /// When they are to be published.
    due: Option<Instant>,
    /// When the last event was published.
    last: Option<Instant>,
}

impl FinishedEvents {
    /// Publishes by this publisher, in the present Tokio runtime.
    pub(crate) fn new(event_publisher: EventPublisher) -> Self {
        Self { event_publisher, gathered: Arc::default(), runtime: Handle::current() }
    }

    /// Publishes these within [`GATHER_INTERVAL`]. Any thread may call it.
    pub(crate) fn publish(&self, finished: Vec<FinishedRequest>) {
        let due = self.gathered(|gathered| gathered.add(finished, Instant::now()));
        if let Some(due) = due {
            let events = self.clone();
            self.runtime.spawn(async move {
                sleep_until(due).await;
                let finished = events.gathered(|gathered| gathered.take(Instant::now()));
                events.publish_now(&finished);
            });
        }
    }

    fn publish_now(&self, finished: &[FinishedRequest]) {
        for event in Event::finished(Timestamp::now(), finished) {
            self.event_publisher.try_publish(event.message());
        }
    }

    fn gathered<T>(&self, change: impl FnOnce(&mut Gathered) -> T) -> T {
        change(&mut self.gathered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gathered {
    /// Adds requests. Returns when to publish what was gathered until then, unless somebody is about to do that.
    fn add(&mut self, finished: Vec<FinishedRequest>, now: Instant) -> Option<Instant> {
        if finished.is_empty() {
            return None;
        }
        self.requests.extend(finished);
        // Unless whoever was to publish has ended with its runtime.
        if self.due.is_some_and(|due| due + GATHER_INTERVAL > now) {
            return None;
        }
        let soon = now + FIRST_DELAY;
        let due = self.last.map_or(soon, |last| soon.max(last + GATHER_INTERVAL));
        self.due = Some(due);
        self.due
    }

    fn take(&mut self, now: Instant) -> Vec<FinishedRequest> {
        (self.due, self.last) = (None, Some(now));
        mem::take(&mut self.requests)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::contract::FinalStatus;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn those_that_follow_soon_are_published_together() {
        let of = |id| {
            vec![FinishedRequest {
                request_id: Uuid::from_u128(id),
                status: FinalStatus::Completed,
            }]
        };
        let (mut gathered, began) = (Gathered::default(), Instant::now());
        assert_eq!(gathered.add(Vec::new(), began), None);
        let first = began + FIRST_DELAY;
        assert_eq!(gathered.add(of(1), began), Some(first));
        assert_eq!(gathered.add(of(2), began), None);
        assert_eq!(gathered.take(first), [of(1), of(2)].concat());
        let second = first + GATHER_INTERVAL;
        assert_eq!(gathered.add(of(3), first), Some(second));
        assert_eq!(gathered.add(of(4), second), None);
        assert_eq!(gathered.take(second), [of(3), of(4)].concat());
        let later = second + 2 * GATHER_INTERVAL;
        assert_eq!(gathered.add(of(5), later), Some(later + FIRST_DELAY));
        // The task that was to publish it has ended with its runtime.
        let at_last = later + FIRST_DELAY + GATHER_INTERVAL;
        assert_eq!(gathered.add(of(6), at_last), Some(at_last + FIRST_DELAY));
        assert_eq!(gathered.take(at_last), [of(5), of(6)].concat());
    }
}
