//! Event listener: receives the events and control messages of the other programs, and polls the workers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline::{
    broker::{Broadcast, Broker, EventPublisher},
    contract::{Control, Event, FinalStatus, Finished, JobEvent, JobEventName, Timestamp},
    log_messages::CLOCK_SKEW,
    topology::Events,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::events::{
    clock_skew::ClockSkew,
    jobs::{RunningJobs, poll_schedule::PollSchedule},
    obsolete_work::ObsoleteWorkSender,
    retry_recorder::RetrySender,
    waiters::Waiters,
};

/// How often the poll schedule is looked at.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Listens to the other programs.
pub struct EventListener {
    waiters: Waiters,
    jobs: RunningJobs,
    retries: RetrySender,
    started: ObsoleteWorkSender,
    event_publisher: EventPublisher,
    schedule: PollSchedule,
    skews: ClockSkew,
}

impl EventListener {
    /// A listener that wakes `waiters`, updates `jobs`, and passes on retries and started work.
    pub fn new(
        waiters: Waiters,
        jobs: RunningJobs,
        retries: RetrySender,
        started: ObsoleteWorkSender,
        event_publisher: EventPublisher,
    ) -> Self {
        let skews = ClockSkew::noting_in(jobs.skews.clone());
        let schedule = PollSchedule::default();
        Self { waiters, jobs, retries, started, event_publisher, schedule, skews }
    }

    /// Listens to these events until told to stop.
    pub async fn run(mut self, broker: Arc<Broker>, events: Events, stop: CancellationToken) {
        let mut broadcasts = broker.broadcasts(events);
        let mut clock = interval(TICK_INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                broadcast = broadcasts.next() => match broadcast {
                    Some(broadcast) => self.handle(broadcast, Instant::now()),
                    None => stop.cancelled().await,
                },
                _ = clock.tick() => self.tick(Instant::now()),
            }
        }
        broadcasts.close().await;
    }

    fn handle(&mut self, broadcast: Broadcast, now: Instant) {
        match broadcast {
            // Events may have been missed before.
            Broadcast::Subscribed => {
                self.schedule.subscribed(now);
                self.waiters.wake_all();
                self.tick(now);
            }
            Broadcast::Event(Event::Finished(finished)) => self.handle_finished(&finished),
            Broadcast::Event(Event::Job(event)) => self.handle_job_event(&event, now),
            Broadcast::Control(Control::Who) => self.schedule.received(now),
            // The processors settle these among themselves.
            Broadcast::Control(
                Control::Cancel(..) | Control::WhoHad { .. } | Control::Had { .. },
            ) => {}
        }
    }

    fn handle_finished(&self, finished: &Finished) {
        let ended = finished.requests.iter();
        self.waiters.wake(ended.clone().map(|request| request.request_id));
        // The worker of a cancelled request may have missed the message. Its job stays registered, so
        // that it is asked again.
        let ended = ended.filter(|request| request.status != FinalStatus::Cancelled);
        self.jobs.ended(ended.map(|request| request.request_id));
    }

    fn handle_job_event(&mut self, event: &JobEvent, now: Instant) {
        if self.jobs.is_empty() {
            self.schedule.postpone(now);
        }
        if let Some((host, skew)) = self.skews.check(event, Timestamp::now(), now) {
            warn!(host, ?skew, "{CLOCK_SKEW}");
        }
        self.jobs.apply(event, now);
        match event.event {
            JobEventName::Started => self.started.try_send(event),
            JobEventName::Retrying => self.retries.try_send(event),
            JobEventName::Progress => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        if let Some(since) = self.schedule.unclaimed_since(now) {
            self.jobs.remove_unclaimed(since);
        }
        // A poll that can't be sent now is tried again at the next tick.
        if self.schedule.is_due(now, !self.jobs.is_empty())
            && self.event_publisher.try_publish(Control::Who.message())
        {
            self.schedule.sent(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{
        broker::{Address, BrokerOptions},
        contract::FinishedRequest,
        topology::{RequestTypes, Topology},
    };
    use uuid::Uuid;

    use super::*;
    use prometheus_client::registry::Registry;

    use crate::events::{
        notifier::Notifier, obsolete_work::obsolete_work, retry_recorder::retry_recorder,
    };
    use crate::metrics::Metrics;

    /// A broker that is not there.
    fn broker() -> Broker {
        let address = Address::parse("amqp://127.0.0.1:1").unwrap();
        let (program, topology) = ("web-service", Topology::of_service(&RequestTypes::default()));
        Broker::connect(&BrokerOptions { program, addresses: vec![address], topology })
    }

    #[tokio::test]
    async fn the_job_of_a_cancelled_request_stays_until_nobody_claims_it() {
        let (broker, jobs, waiters) = (broker(), RunningJobs::default(), Waiters::default());
        let ((retries, _recorder), (started, _task)) = (retry_recorder(), obsolete_work());
        let notifier = Notifier::new(
            waiters.clone(),
            jobs.clone(),
            broker.event_publisher(),
            Metrics::in_registry(Registry::default(), &RequestTypes::default()),
        );
        let mut listener =
            EventListener::new(waiters, jobs.clone(), retries, started, broker.event_publisher());
        let (id, now) = (Uuid::now_v7(), Instant::now());
        let started = JobEvent::new(JobEventName::Started, id.into(), "a:1/1");
        let end = |status| {
            let ended = [FinishedRequest { request_id: id, status }];
            Event::finished(Timestamp::now(), &ended).next().map(Broadcast::Event).unwrap()
        };
        listener.handle(Broadcast::Event(Event::Job(started.clone())), now);
        notifier.notify_cancelled(id, 0);
        listener.handle(end(FinalStatus::Cancelled), now);
        assert!(!jobs.is_empty());
        jobs.remove_unclaimed(now + TICK_INTERVAL);
        assert!(jobs.is_empty());
        listener.handle(Broadcast::Event(Event::Job(started)), now);
        listener.handle(end(FinalStatus::Completed), now);
        assert!(jobs.is_empty());
    }
}
