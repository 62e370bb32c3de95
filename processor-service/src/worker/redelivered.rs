//! Redeliveries of requests that this process still works on, or has finished.

use pipeline::{
    broker::Delivery,
    contract::{Execution, RequestId},
    log_messages::ADOPTED,
};
use tracing::info;

use crate::{
    decisions::incoming::IncomingRequest,
    processor::Processor,
    worker::{Worker, in_flight::Adoption},
};

impl<P: Processor> Worker<P> {
    /// Gives the delivery back to the caller, unless this process has lost the same attempt in flight, or has finished it.
    pub(super) fn not_mine_now(&self, id: &RequestId, delivery: Delivery) -> Option<Delivery> {
        let execution = IncomingRequest::from(&delivery).execution(id);
        match self.in_flight.adopt(&execution, delivery) {
            Adoption::NotInFlight(delivery) => self.not_finished(&execution, delivery),
            Adoption::Adopted => {
                info!(requestId = id.text(), worker = self.name, "{ADOPTED}");
                None
            }
            // Its turn comes when that has been settled.
            Adoption::Settling(delivery, _) => Some(delivery),
        }
    }

    /// Gives the delivery back to the caller, unless it was delivered before, and this process has the same attempt in
    /// flight, or has finished it.
    pub(super) async fn not_mine(
        &self,
        id: &RequestId,
        mut delivery: Delivery,
    ) -> Option<Delivery> {
        let incoming = IncomingRequest::from(&delivery);
        if incoming.deliveries() == 1 {
            return Some(delivery);
        }
        let execution = incoming.execution(id);
        loop {
            delivery = match self.in_flight.adopt(&execution, delivery) {
                Adoption::NotInFlight(delivery) => break self.not_finished(&execution, delivery),
                Adoption::Adopted => {
                    info!(requestId = id.text(), worker = self.name, "{ADOPTED}");
                    break None;
                }
                Adoption::Settling(delivery, ended) => {
                    tokio::select! {
                        () = ended.cancelled() => {}
                        () = delivery.revoked() => break None,
                    }
                    delivery
                }
            }
        }
    }

    fn not_finished(&self, execution: &Execution, delivery: Delivery) -> Option<Delivery> {
        if !self.claims.is_finished(execution) {
            return Some(delivery);
        }
        let (id, worker) = (execution.request_id.text(), &self.name);
        info!(requestId = id, worker, "acked a redelivery, this process has finished the work");
        delivery.ack();
        None
    }
}
