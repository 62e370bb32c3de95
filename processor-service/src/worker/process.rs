//! The work on a request: runs the job, announces and counts it, and settles its delivery.

use std::time::SystemTime;

use futures_util::FutureExt;
use pipeline::{broker::Delivery, contract::Request, log_messages::STARTED, spans::Span};
use tokio::time::Instant;
use tracing::{Instrument, info, info_span};

use crate::{
    decisions::{
        incoming::IncomingRequest,
        outcome::{JobOutcome, WorkRecord},
    },
    processor::{Processor, job::Job},
    worker::{
        Handled, Worker, in_flight::InFlightGuard, job_runner::StopReason, job_span,
        outcome_log::log_outcome, settle::HAND_BACK_TIMEOUT,
    },
};

impl<P: Processor> Worker<P> {
    pub(super) async fn process(
        &self,
        request: Request,
        in_flight: InFlightGuard,
        is_ahead: bool,
        delivery: Delivery,
    ) -> Handled<'_> {
        let worker = self.name.as_str();
        let Request { id, data } = request;
        let incoming = IncomingRequest::from(&delivery);
        let (attempt, deliveries) = (incoming.attempt(), incoming.deliveries());
        info!(requestId = %id, worker, attempt, redelivered = delivery.redelivered, "{STARTED}");
        let (started, began) = (SystemTime::now(), Instant::now());
        in_flight.start(started);
        let announce_at_once = delivery.redelivered || attempt > 1 || deliveries > 1;
        let trace = incoming.trace();
        let traced = trace.as_ref().and_then(|trace| job_span::begin(trace, &id, incoming, worker));
        let trace = traced.as_ref().map(Span::context).or(trace.as_ref());
        let job = Job {
            request_type: self.request_type.clone(),
            attempt,
            deadline: started + self.job_runner.job_timeout(),
            ends_at: (began + self.job_runner.job_timeout()).into_std(),
            traceparent: trace.map(|trace| trace.as_str().to_owned()),
            progress_urls: self.progress_urls.clone(),
            ..Job::first(id.clone(), data)
        };
        let reports = job.reporter.reports();
        let span = info_span!("job", requestId = %id, worker);
        let outcome = tokio::select! {
            // First, or a job that ends at once would not be announced.
            biased;
            never = in_flight.announce_work(announce_at_once, reports) => match never {},
            never = self.host_faults.note_begun(began) => match never {},
            outcome = self.job_runner.run(job, self.stop_reason(&in_flight)).instrument(span) => outcome,
        };
        self.metrics.ended(&self.request_type, &outcome, began.elapsed());
        job_span::end(traced, &outcome);
        let record = WorkRecord { worker: self.name.clone(), started, finished: SystemTime::now() };
        let is_last = attempt >= self.policy.max_attempts;
        log_outcome(&id, attempt, is_last, &outcome, &record);
        match &outcome {
            // Before the hand-back, or this worker would take the request again at once.
            JobOutcome::NotStarted(reason) => self.host_faults.failed(self.slot, began, reason),
            JobOutcome::Interrupted | JobOutcome::Cancelled => {}
            _ => self.host_faults.began(began),
        }
        let took = Some(began.elapsed());
        let (delivery, adopted) = in_flight.latest(delivery);
        let execution = IncomingRequest::from(&delivery).execution(&id);
        self.claims.end_work(&execution);
        let may_wait = is_ahead && matches!(outcome, JobOutcome::Completed(_));
        let settling = async move {
            if self.settler.settle(&id, outcome, &record, &in_flight, delivery).await {
                self.claims.finish(&execution);
            }
            if let Some(adopted) = adopted {
                adopted.settled(HAND_BACK_TIMEOUT).await;
            }
        };
        if may_wait {
            return Handled { took, rest: Some(settling.boxed()) };
        }
        settling.await;
        Handled { took, rest: None }
    }

    /// Waits until there is a reason to stop the job.
    async fn stop_reason(&self, in_flight: &InFlightGuard) -> StopReason {
        tokio::select! {
            () = in_flight.cancelled() => StopReason::Cancelled,
            () = self.give_up.cancelled() => StopReason::Interrupted,
        }
    }
}
