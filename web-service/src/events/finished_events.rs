//! Finished events: publishes `requests.finished`, at once for the first, together for those that follow soon.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pipeline::{
    broker::EventPublisher,
    contract::{Event, FinishedRequest, Timestamp},
};
use tokio::time::{Instant, sleep_until};

/// For how long after an event others are gathered. Each costs the broker as much as a result does.
const GATHER_INTERVAL: Duration = Duration::from_millis(5);

/// Publishes which requests have ended. Clones share what is gathered.
#[derive(Clone)]
pub(crate) struct FinishedEvents {
    event_publisher: EventPublisher,
    gathered: Arc<Mutex<Gathered>>,
}

#[derive(Debug, Default)]
struct Gathered {
    requests: Vec<FinishedRequest>,
    /// When the last event was published.
    last: Option<Instant>,
}

/// What to do with requests that have ended.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Publish(Vec<FinishedRequest>),
    /// Publish what was gathered until then.
    PublishAt(Instant),
    /// Nothing: they are gathered, and will be published.
    Nothing,
}

impl FinishedEvents {
    /// Publishes by this publisher.
    pub(crate) fn new(event_publisher: EventPublisher) -> Self {
        Self { event_publisher, gathered: Arc::default() }
    }

    /// Publishes these, now or within [`GATHER_INTERVAL`]. Needs a Tokio runtime.
    pub(crate) fn publish(&self, finished: Vec<FinishedRequest>) {
        let next = self.gathered(|gathered| gathered.add(finished, Instant::now()));
        match next {
            Next::Publish(finished) => self.publish_now(&finished),
            Next::PublishAt(at) => {
                let events = self.clone();
                tokio::spawn(async move {
                    sleep_until(at).await;
                    let finished = events.gathered(|gathered| gathered.take(Instant::now()));
                    events.publish_now(&finished);
                });
            }
            Next::Nothing => {}
        }
    }

    fn publish_now(&self, finished: &[FinishedRequest]) {
        for event in Event::finished(Timestamp::now(), finished) {
            self.event_publisher.try_publish(&event.message());
        }
    }

    fn gathered<T>(&self, change: impl FnOnce(&mut Gathered) -> T) -> T {
        change(&mut self.gathered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gathered {
    fn add(&mut self, finished: Vec<FinishedRequest>, now: Instant) -> Next {
        if finished.is_empty() {
            return Next::Nothing;
        }
        let has_gathered = !self.requests.is_empty();
        self.requests.extend(finished);
        match self.last.map(|last| last + GATHER_INTERVAL) {
            // Unless whoever was to publish what was gathered has ended with its runtime.
            Some(at) if has_gathered && at + GATHER_INTERVAL > now => Next::Nothing,
            Some(at) if at > now => Next::PublishAt(at),
            _ => Next::Publish(self.take(now)),
        }
    }

    fn take(&mut self, now: Instant) -> Vec<FinishedRequest> {
        self.last = Some(now);
        mem::take(&mut self.requests)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::contract::FinalStatus;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_first_is_published_at_once_and_those_that_follow_soon_together() {
        let of = |id| {
            vec![FinishedRequest {
                request_id: Uuid::from_u128(id),
                status: FinalStatus::Completed,
            }]
        };
        let (mut gathered, began) = (Gathered::default(), Instant::now());
        assert_eq!(gathered.add(of(1), began), Next::Publish(of(1)));
        assert_eq!(gathered.add(Vec::new(), began), Next::Nothing);
        let end = began + GATHER_INTERVAL;
        assert_eq!(gathered.add(of(2), began), Next::PublishAt(end));
        assert_eq!(gathered.add(of(3), began), Next::Nothing);
        assert_eq!(gathered.take(end), [of(2), of(3)].concat());
        let later = end + GATHER_INTERVAL;
        assert_eq!(gathered.add(of(4), later), Next::Publish(of(4)));
        assert_eq!(gathered.add(of(5), later), Next::PublishAt(later + GATHER_INTERVAL));
        // The task that was to publish it has ended with its runtime.
        let at_last = later + 2 * GATHER_INTERVAL;
        assert_eq!(gathered.add(of(6), at_last), Next::Publish([of(5), of(6)].concat()));
    }
}
