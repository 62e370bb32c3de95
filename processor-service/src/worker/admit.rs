//! Admission: decides about a delivery before its work, if need be with what the other processes say of it.

use std::time::SystemTime;

use pipeline::{
    broker::Delivery,
    contract::{Request, RequestId},
    log_messages::{ASKED, ASKING},
};
use tracing::info;

use crate::{
    decisions::{
        admission::{self, Admission, Claimed},
        incoming::IncomingRequest,
    },
    processor::Processor,
    worker::{Handled, Worker, in_flight::InFlightGuard},
};

impl<P: Processor> Worker<P> {
    pub(super) async fn admit(
        &self,
        request: Request,
        in_flight: Option<InFlightGuard>,
        is_ahead: bool,
        delivery: Delivery,
    ) -> Handled<'_> {
        let incoming = IncomingRequest::from(&delivery);
        let mut broker_start = None;
        if incoming.is_uncounted_redelivery() {
            let Some(read) = self.unless_it_goes_back(self.broker_start.id(), &delivery).await
            else {
                self.settler.hand_back(delivery, false).await;
                return Handled::default();
            };
            broker_start = read;
        }
        let start = broker_start.as_deref();
        let mut admission = admission::admit(incoming, &self.policy, start, SystemTime::now());
        if let Admission::Ask { needed } = admission {
            let execution = incoming.execution(&request.id);
            let asking = self.claims.ask(&execution, needed);
            let Some(claimed) = self.answers(&request.id, asking, &delivery).await else {
                self.settler.hand_back(delivery, false).await;
                return Handled::default();
            };
            let now = SystemTime::now();
            admission = admission::after_answers(incoming, &self.policy, claimed, start, now);
        }
        match admission {
            Admission::Reject(error) => {
                self.settler.reject(Some(&request.id), error, delivery).await;
            }
            Admission::Republish(copy) => {
                self.settler.republish(&request.id, *copy, delivery).await;
            }
            Admission::Accept { isolated } => {
                return self.accept(request, in_flight, isolated, is_ahead, delivery).await;
            }
            // It is not asked twice.
            Admission::Ask { .. } => self.settler.hand_back(delivery, false).await,
        }
        Handled::default()
    }

    /// Waits for the answers to a question. None if the delivery goes back.
    async fn answers(
        &self,
        id: &RequestId,
        asking: impl Future<Output = Claimed>,
        delivery: &Delivery,
    ) -> Option<Claimed> {
        let (id, worker) = (id.text(), &self.name);
        let deliveries = IncomingRequest::from(delivery).deliveries();
        info!(requestId = id, worker, deliveries, "{ASKING}");
        let claimed = self.unless_it_goes_back(asking, delivery).await?;
        let Claimed { deliveries: claims, was_heard } = claimed;
        info!(requestId = id, worker, deliveries, claimed = claims, was_heard, "{ASKED}");
        Some(claimed)
    }

    /// Waits for something before a job may start. None if the delivery goes back first: the broker has taken it, or the
    /// program stops.
    pub(super) async fn unless_it_goes_back<T>(
        &self,
        waiting: impl Future<Output = T>,
        delivery: &Delivery,
    ) -> Option<T> {
        tokio::select! {
            biased;
            () = delivery.revoked() => None,
            () = self.drain.cancelled() => None,
            done = waiting => Some(done),
        }
    }
}
