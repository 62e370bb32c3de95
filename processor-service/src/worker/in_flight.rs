//! The requests in flight: announced by events, and cancelled on demand.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use pipeline::{
    broker::{Delivery, DeliveryWatch, EventPublisher, Settlement},
    contract::{ErrorBody, Event, Execution, JobEvent, JobEventName, ProgressReport, RequestId},
    topology::RequestType,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::worker::obsolete_runs::ObsoleteRuns;

/// A job that ends sooner is not announced: nobody could use the event.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(100);
/// The shortest time between two events about the progress of a job.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// The requests in flight: those whose jobs run, those that wait for their turn, and those that are being settled. Clones
/// share them.
#[derive(Clone)]
pub(crate) struct InFlight {
    entries: Arc<Mutex<HashMap<u64, Entry>>>,
    next_key: Arc<AtomicU64>,
    obsolete: Arc<Mutex<ObsoleteRuns>>,
    event_publisher: EventPublisher,
}

/// A request in flight.
struct Entry {
    started: JobEvent,
    /// Whether its job has started. Before that the request waits for its permit.
    has_started: bool,
    cancelled: CancellationToken,
    /// The delivery that its worker holds.
    delivery: DeliveryWatch,
    /// A redelivery of the same attempt, with which the worker settles once its job has ended.
    redelivery: Option<Delivery>,
    /// Whether the worker settles its delivery now; it takes no other one any more.
    settling: bool,
    /// Cancelled when the worker has done with the request.
    ended: CancellationToken,
}

/// Keeps a request in flight until it is dropped.
pub(crate) struct InFlightGuard {
    in_flight: InFlight,
    key: u64,
    cancelled: CancellationToken,
    _ended: DropGuard,
}

/// Goes with a redelivery that another worker has received.
pub(crate) struct Adopted {
    settlement: Settlement,
    /// Keeps this worker from being taken for idle, and from another delivery.
    _lost: Delivery,
}

impl Adopted {
    /// Waits until the broker has read with what the redelivery was settled, for this long at most: its consumer may be
    /// closed before that, and no request that runs alone may begin before.
    pub(crate) async fn settled(self, time: Duration) {
        let _read_or_late = timeout(time, self.settlement.read()).await;
    }
}

/// What a process that has a request in flight does with a redelivery of it.
pub(crate) enum Adoption {
    /// The worker that has it in flight settles with this delivery.
    Adopted,
    /// That worker settles at the moment; the token is cancelled when it has.
    Settling(Delivery, CancellationToken),
    /// It is not in flight here, or the broker has not taken back what is.
    NotInFlight(Delivery),
}

impl InFlight {
    /// No requests yet. Events are published by this publisher.
    pub(crate) fn new(event_publisher: EventPublisher) -> Self {
        Self {
            entries: Arc::default(),
            next_key: Arc::default(),
            obsolete: Arc::default(),
            event_publisher,
        }
    }

    /// Adds a request; `started` is the event that announces it once its job has started. A run that is known to be
    /// obsolete is cancelled at once.
    pub(crate) fn add(&self, started: JobEvent, delivery: DeliveryWatch) -> InFlightGuard {
        let (cancelled, ended) = (CancellationToken::new(), CancellationToken::new());
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            started,
            has_started: false,
            cancelled: cancelled.clone(),
            delivery,
            redelivery: None,
            settling: false,
            ended: ended.clone(),
        };
        let (id, run) = (entry.started.request_id.clone(), entry.started.run);
        self.entries().insert(key, entry);
        // After it was inserted: a message that comes in between finds it there.
        if self.obsolete().contain(&id, run) {
            cancelled.cancel();
        }
        InFlightGuard { in_flight: self.clone(), key, cancelled, _ended: ended.drop_guard() }
    }

    /// Gives a delivery to the worker that has this attempt in flight and lost its delivery with the connection. A job
    /// that runs when the acknowledgement timeout is over may hang: then the request begins again. One that has ended is
    /// settled, however long its confirm takes. The consumer of the delivery receives others meanwhile.
    pub(crate) fn adopt(&self, execution: &Execution, mut delivery: Delivery) -> Adoption {
        let mut entries = self.entries();
        let in_flight = entries.iter_mut().find(|(_, entry)| entry.has_lost(execution));
        match in_flight {
            None => Adoption::NotInFlight(delivery),
            Some((_, entry)) if entry.settling => Adoption::Settling(delivery, entry.ended.clone()),
            Some((key, entry)) => {
                entry.delivery = delivery.watch();
                delivery.detach();
                entry.redelivery = Some(delivery);
                self.drop_when_revoked(*key, entry);
                Adoption::Adopted
            }
        }
    }

    /// How many jobs are being worked on, or settled.
    pub(crate) fn started(&self) -> usize {
        self.entries().values().filter(|entry| entry.has_started).count()
    }

    /// The same of one type.
    pub(crate) fn started_of(&self, request_type: &RequestType) -> usize {
        let entries = self.entries();
        let started = entries.values().filter(|entry| entry.has_started);
        started.filter(|entry| entry.started.request_type == *request_type).count()
    }

    /// Announces every job that has started, however short it may be. Returns whether all events were published.
    pub(crate) fn announce_all(&self) -> bool {
        let entries = self.entries();
        let started = entries.values().filter(|entry| entry.has_started);
        started.filter(|entry| !self.try_publish(&entry.started)).count() == 0
    }

    /// Drops the redelivery of an entry when that is lost too, or its consumer would have to wait for the end of the job.
    fn drop_when_revoked(&self, key: u64, entry: &Entry) {
        let in_flight = self.clone();
        let (redelivery, ended) = (entry.delivery.clone(), entry.ended.clone());
        tokio::spawn(async move {
            if ended.run_until_cancelled(redelivery.revoked()).await.is_some()
                && let Some(entry) = in_flight.entries().get_mut(&key)
            {
                drop(entry.redelivery.take_if(|redelivery| redelivery.is_revoked()));
            }
        });
    }

    /// Cancels a request, unless it belongs to a later run than this. The run is remembered, so that it is not begun if
    /// it comes later.
    pub(crate) fn cancel(&self, id: &RequestId, run: Option<i64>) {
        if let Some(run) = run {
            self.obsolete().note(id, run);
        }
        let is_meant = |entry: &&Entry| {
            entry.started.request_id.names_same_request(id)
                && run.is_none_or(|run| entry.started.run <= run)
        };
        self.entries().values().filter(is_meant).for_each(|entry| entry.cancelled.cancel());
    }

    fn try_publish(&self, event: &JobEvent) -> bool {
        self.event_publisher.try_publish(Event::Job(event.clone()).message())
    }

    fn obsolete(&self) -> MutexGuard<'_, ObsoleteRuns> {
        self.obsolete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether this is the attempt, its job has started and does not hang, and the broker has taken its delivery back.
    fn has_lost(&self, execution: &Execution) -> bool {
        let JobEvent { request_id, run, attempt, .. } = &self.started;
        let is_meant = (request_id, *run, *attempt)
            == (&execution.request_id, execution.run, execution.attempt);
        let hangs = may_hang(self.delivery.has_timed_out(), self.settling);
        is_meant && self.has_started && self.delivery.is_revoked() && !hangs
    }
}

/// Whether the job of a request may hang whose delivery has timed out or not.
fn may_hang(has_timed_out: bool, settling: bool) -> bool {
    has_timed_out && !settling
}

impl InFlightGuard {
    /// Notes that the job starts now.
    pub(crate) fn start(&self, at: SystemTime) {
        if let Some(entry) = self.in_flight.entries().get_mut(&self.key) {
            (entry.has_started, entry.started.at) = (true, at.into());
        }
    }

    /// Announces the job after [`ANNOUNCE_DELAY`], or at once: when the request was delivered or tried before, others may
    /// still show the job of then. After that it announces the progress that is reported. Never returns, so that it can run
    /// beside the job.
    pub(crate) async fn announce_work(
        &self,
        at_once: bool,
        mut reports: watch::Receiver<ProgressReport>,
    ) -> Infallible {
        if !at_once {
            sleep(ANNOUNCE_DELAY).await;
        }
        self.announce(|_| {});
        while reports.changed().await.is_ok() {
            let report = reports.borrow_and_update().clone();
            self.announce_progress(report);
            sleep(PROGRESS_INTERVAL).await;
        }
        pending().await
    }

    fn announce_progress(&self, report: ProgressReport) {
        self.announce(|event| {
            event.event = JobEventName::Progress;
            event.at = SystemTime::now().into();
            (event.progress, event.message) = (report.progress, report.message);
        });
    }

    /// Announces that the request is retried at this time.
    pub(crate) fn announce_retrying(&self, error: ErrorBody, at: SystemTime) {
        self.announce(|event| {
            event.event = JobEventName::Retrying;
            event.started_at = Some(event.at);
            event.at = SystemTime::now().into();
            event.error = Some(error);
            event.next_attempt_at = Some(at.into());
        });
    }

    /// The delivery to settle with: this one, or its redelivery. From here on no other one is taken.
    pub(crate) fn latest(&self, delivery: Delivery) -> (Delivery, Option<Adopted>) {
        let mut entries = self.in_flight.entries();
        let Some(entry) = entries.get_mut(&self.key) else { return (delivery, None) };
        entry.settling = true;
        match entry.redelivery.take() {
            None => (delivery, None),
            Some(redelivery) => {
                let adopted = Adopted { settlement: redelivery.settlement(), _lost: delivery };
                (redelivery, Some(adopted))
            }
        }
    }

    /// Whether the request was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// Waits until the request is cancelled.
    pub(crate) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    fn announce(&self, change: impl FnOnce(&mut JobEvent)) {
        let event = self.in_flight.entries().get(&self.key).map(|entry| entry.started.clone());
        if let Some(mut event) = event {
            change(&mut event);
            self.in_flight.try_publish(&event);
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.entries().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_has_ended_does_not_hang_however_long_its_confirm_takes() {
        assert!(may_hang(true, false));
        assert!(!may_hang(true, true), "it waits for a confirm");
        assert!(!may_hang(false, false), "its delivery was lost with the connection");
    }
}
