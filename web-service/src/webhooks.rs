//! Webhooks: the loop that delivers callbacks, a signed POST to the `callbackUrl` of each ended request.
//!
//! Callbacks are rows in the store. The loop leases those that are due, as far as there is capacity, and
//! each attempt writes its outcome back to the store.

mod attempt;
pub mod callback_policy;
pub mod dns;
mod in_flight;
pub mod public_address;
pub mod retry_schedule;
pub mod sender;
pub mod signature;
pub mod target;

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    metrics::Metrics,
    webhooks::{
        attempt::LEASE_DURATION, dns::SystemResolver, in_flight::InFlight, retry_schedule::MAX_AGE,
        sender::WebhookSender, signature::WebhookSecrets, target::AllowedTargets,
    },
};
use store::{LeaseCallbacks, Leases, Store, StoreError};

/// How often the store is looked at when nothing tells of a due callback: another web service may have died
/// and left its leases.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The pause between two looks at the store, so that callbacks which are due at about the same time are
/// leased together.
const LEASE_PAUSE: Duration = Duration::from_millis(20);

/// Delivers callbacks.
pub struct WebhookLoop {
    store: Store,
    /// None without a secret: then attempts at callbacks that are stored from earlier days fail.
    sender: Option<Arc<WebhookSender>>,
    metrics: Metrics,
    drain: CancellationToken,
}

impl WebhookLoop {
    /// A loop that signs with `secrets` and calls only `allowed` targets.
    ///
    /// # Errors
    /// If this machine has no CA certificates to verify receivers with.
    pub fn new(
        store: Store,
        secrets: Option<WebhookSecrets>,
        allowed: AllowedTargets,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> anyhow::Result<Self> {
        let sender = |secrets| WebhookSender::new(secrets, allowed, SystemResolver);
        let sender = secrets.map(sender).transpose()?.map(Arc::new);
        Ok(Self { store, sender, metrics, drain })
    }

    /// Delivers until told to stop; then waits for the attempts in flight.
    pub async fn run(self) {
        let mut in_flight = InFlight::default();
        let (callback_due, mut health) = (self.store.callback_due(), self.store.health());
        while !self.drain.is_cancelled() {
            let pause = self.start_due(&mut in_flight).await.unwrap_or_else(|error| {
                debug!("callbacks wait for the store: {error}");
                POLL_INTERVAL
            });
            tokio::select! {
                () = sleep(pause) => {}
                () = callback_due.notified() => {}
                // A commit whose answer was lost with the store may have made a callback due.
                Ok(()) = health.changed() => {}
                () = in_flight.one_ended() => {}
                () = self.drain.cancelled() => break,
            }
            sleep(LEASE_PAUSE).await;
            in_flight.reap();
        }
        in_flight.all_ended().await;
    }

    /// Starts all attempts that are due and for which there is capacity. Returns the time until the next
    /// look at the store.
    async fn start_due(&self, in_flight: &mut InFlight) -> Result<Duration, StoreError> {
        loop {
            let capacity = in_flight.capacity();
            if capacity.total == 0 {
                return Ok(POLL_INTERVAL);
            }
            let pause = self.store.next_callback_in(&capacity).await?.unwrap_or(POLL_INTERVAL);
            if !pause.is_zero() {
                return Ok(pause.min(POLL_INTERVAL));
            }
            let (lease, duration, max_age) = (Uuid::now_v7(), LEASE_DURATION, MAX_AGE);
            let lease = LeaseCallbacks { capacity, lease, duration, max_age };
            let Leases { leased, given_up } = self.store.lease_callbacks(lease).await?;
            for (id, host) in given_up {
                warn!(requestId = %id, host, "callback given up: its receiver was too slow for days");
            }
            // Another web service was faster.
            if leased.is_empty() {
                return Ok(LEASE_PAUSE);
            }
            for callback in leased {
                let host = callback.host.clone();
                let (store, sender, metrics) =
                    (self.store.clone(), self.sender.clone(), self.metrics.clone());
                in_flight.start(host, attempt::run(store, sender, metrics, callback));
            }
        }
    }
}
