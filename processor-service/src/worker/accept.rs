//! An admitted request: waits for its permission to start, and gives it up if that does not come.

use pipeline::{
    broker::Delivery,
    contract::{JobEvent, JobEventName, Request, RequestId},
    log_messages::{CANCELLED_BEFORE_START, WAITING_FOR_ISOLATION},
};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::{
    decisions::incoming::IncomingRequest,
    processor::Processor,
    worker::{Handled, Worker, in_flight::InFlightGuard, isolation::WorkPermit},
};

/// How the wait for the start of a job ended.
enum Start {
    Now,
    Cancelled,
    HandBack,
    Revoked,
}

impl<P: Processor> Worker<P> {
    pub(super) async fn accept(
        &self,
        request: Request,
        in_flight: Option<InFlightGuard>,
        isolated: bool,
        is_ahead: bool,
        delivery: Delivery,
    ) -> Handled<'_> {
        let (id, worker) = (request.id.text(), &self.name);
        let incoming = IncomingRequest::from(&delivery);
        let execution = incoming.execution(&request.id);
        self.claims.take(&execution, incoming.deliveries(), delivery.watch());
        let Some(permit) = self.isolation.permit(self.slot, isolated) else {
            debug!(requestId = id, worker, "handed back, another request runs in isolation here");
            match isolated {
                true => self.settler.hand_back_later(delivery).await,
                false => self.settler.hand_back(delivery, false).await,
            }
            return Handled::default();
        };
        // From here on `who` finds it, until it is settled.
        let in_flight = in_flight.unwrap_or_else(|| {
            let started = self.started_event(&request.id, incoming);
            self.in_flight.add(started, delivery.watch())
        });
        if isolated {
            let deliveries = IncomingRequest::from(&delivery).deliveries();
            info!(requestId = id, worker, deliveries, "{WAITING_FOR_ISOLATION}");
        }
        match self.wait_for_start(id, &permit, &in_flight, &delivery).await {
            Start::Now => return self.process(request, in_flight, is_ahead, delivery).await,
            Start::Cancelled => {
                info!(requestId = id, worker, "{CANCELLED_BEFORE_START}");
                delivery.ack();
            }
            Start::HandBack => self.settler.hand_back(delivery, false).await,
            Start::Revoked => {}
        }
        Handled::default()
    }

    /// Waits until the job may start, or must not start any more.
    async fn wait_for_start(
        &self,
        id: &str,
        permit: &WorkPermit,
        in_flight: &InFlightGuard,
        delivery: &Delivery,
    ) -> Start {
        tokio::select! {
            biased;
            () = delivery.revoked() => Start::Revoked,
            () = in_flight.cancelled() => Start::Cancelled,
            () = self.drain.cancelled() => Start::HandBack,
            () = permit.ready() => Start::Now,
            () = sleep(self.isolation_timeout) => {
                let worker = &self.name;
                warn!(requestId = id, worker, "waited too long for isolation, starting beside other requests");
                Start::Now
            }
        }
    }

    /// The event that announces a request whose job has started.
    pub(super) fn started_event(&self, id: &RequestId, request: IncomingRequest<'_>) -> JobEvent {
        JobEvent {
            request_type: self.request_type.clone(),
            run: request.run(),
            attempt: request.attempt(),
            delivery: request.deliveries(),
            ..JobEvent::new(JobEventName::Started, id.clone(), &self.name)
        }
    }
}
