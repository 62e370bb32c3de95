//! What the other programs say: requests that ended elsewhere, and who works on what.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline::{
    broker::{Broadcast, Broker, EventPublisher},
    contract::{Control, Event, FinalStatus, JobEvent, JobEventName},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::events::{
    jobs::{Jobs, poll_schedule::Rounds},
    obsolete_work::Begun,
    retry_recorder::Retries,
    waiters::Waiters,
};

/// How often to see whether it is time to ask, or to forget.
const TICK: Duration = Duration::from_secs(1);

/// Listens, and asks who works on what.
pub struct Hearing {
    /// Who waits here for what ends elsewhere.
    waiters: Waiters,
    /// Where work is noted.
    jobs: Jobs,
    /// Where failed attempts are noted.
    retries: Retries,
    /// Where work is noted that has begun: it may be on what has ended.
    begun: Begun,
    /// For the question.
    event_publisher: EventPublisher,
    rounds: Rounds,
}

impl Hearing {
    /// Listens to nobody yet.
    pub fn new(
        waiters: Waiters,
        jobs: Jobs,
        retries: Retries,
        begun: Begun,
        event_publisher: EventPublisher,
    ) -> Self {
        Self { waiters, jobs, retries, begun, event_publisher, rounds: Rounds::default() }
    }

    /// Listens until told to stop.
    pub async fn run(mut self, broker: Arc<Broker>, stop: CancellationToken) {
        let mut listener = broker.broadcasts(true);
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                heard = listener.next() => match heard {
                    Some(heard) => self.take(heard, Instant::now()),
                    None => stop.cancelled().await,
                },
                _ = clock.tick() => self.tick(Instant::now()),
            }
        }
        listener.close().await;
    }

    fn take(&mut self, heard: Broadcast, now: Instant) {
        match heard {
            // Something may have been said while nobody listened.
            Broadcast::Subscribed => {
                self.rounds.begin(now);
                self.waiters.wake_all();
                self.tick(now);
            }
            Broadcast::Event(Event::Finished(finished)) => {
                let ended = finished.requests.iter();
                self.waiters.wake(ended.clone().map(|request| request.request_id));
                // Who works on what was cancelled may not have heard of that, and is asked again.
                let over = ended.filter(|request| request.status != FinalStatus::Cancelled);
                self.jobs.ended(over.map(|request| request.request_id));
            }
            Broadcast::Event(Event::Job(event)) => self.job(&event, now),
            Broadcast::Control(Control::Who) => self.rounds.heard(now),
            Broadcast::Control(Control::Cancel(..)) => {}
        }
    }

    fn job(&mut self, event: &JobEvent, now: Instant) {
        if self.jobs.is_empty() {
            self.rounds.rest(now);
        }
        self.jobs.hear(event, now);
        match event.event {
            JobEventName::Started => self.begun.note(event),
            JobEventName::Retrying => self.retries.note(event),
            JobEventName::Progress => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        if let Some(since) = self.rounds.silent_since(now) {
            self.jobs.forget_unclaimed(since);
        }
        // What can't be sent now is tried again at the next tick.
        if self.rounds.is_due(now, !self.jobs.is_empty())
            && self.event_publisher.try_publish(&Control::Who.message())
        {
            self.rounds.asked(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{
        broker::{Address, BrokerOptions},
        contract::{FinishedRequest, Timestamp},
        topology::Topology,
    };
    use uuid::Uuid;

    use super::*;
    use crate::events::{notifier::News, obsolete_work::needless, retry_recorder::retries};

    /// A broker that is away.
    fn broker() -> Broker {
        let address = Address::parse("amqp://127.0.0.1:1").unwrap();
        let (program, topology) = ("web-service", Topology::default());
        Broker::connect(&BrokerOptions { program, addresses: vec![address], topology })
    }

    #[tokio::test]
    async fn work_on_what_was_cancelled_is_asked_for_until_nobody_claims_it() {
        let (broker, jobs, waiters) = (broker(), Jobs::default(), Waiters::default());
        let ((retries, _notes), (begun, _watch)) = (retries(), needless());
        let event_publisher = broker.event_publisher();
        let news = News { waiters: waiters.clone(), jobs: jobs.clone(), event_publisher };
        let mut hearing =
            Hearing::new(waiters, jobs.clone(), retries, begun, broker.event_publisher());
        let (id, now) = (Uuid::now_v7(), Instant::now());
        let started = JobEvent::new(JobEventName::Started, id.into(), "a:1/1");
        let end = |status| {
            let ended = [FinishedRequest { request_id: id, status }];
            Event::finished(Timestamp::now(), &ended).next().map(Broadcast::Event).unwrap()
        };
        hearing.take(Broadcast::Event(Event::Job(started.clone())), now);
        news.cancelled(id, 0);
        hearing.take(end(FinalStatus::Cancelled), now);
        assert!(!jobs.is_empty());
        jobs.forget_unclaimed(now + TICK);
        assert!(jobs.is_empty());
        hearing.take(Broadcast::Event(Event::Job(started)), now);
        hearing.take(end(FinalStatus::Completed), now);
        assert!(jobs.is_empty());
    }
}
