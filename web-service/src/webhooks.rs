//! Callbacks: a POST to the address that came with a request, when the request has ended.
//!
//! What is to be told stands in the store. Here it is taken from there, when it is due and there is room,
//! and delivered; whatever comes of an attempt goes back into the store.

mod attempt;
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
use tracing::debug;
use uuid::Uuid;

use crate::webhooks::{
    dns::System, in_flight::InFlight, sender::Sender, signature::Secrets, target::Reach,
};
use store::{LeaseCallbacks, Store, StoreError, Target};

/// How long a callback is this web service's alone: longer than an attempt takes, and not much.
const LEASE: Duration = Duration::from_secs(30);
/// How often to look for what nobody told of: another web service may have died.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The pause between two looks, so that what is due at about the same time is taken in one.
const PAUSE: Duration = Duration::from_millis(20);

/// What is asked of callbacks.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether there is a secret to sign them with.
    pub signed: bool,
    /// Where they may go.
    pub reach: Reach,
}

impl Rules {
    /// Where to tell of the end of a request, as a client asks for it.
    ///
    /// # Errors
    /// Why that can't be, as a sentence.
    pub fn target(&self, url: &str) -> Result<Target, String> {
        if !self.signed {
            return Err("callbackUrl can't be used here: set WEBHOOK_SECRET, with which callbacks are signed.".to_owned());
        }
        self.reach.target(url)
    }
}

/// Delivers callbacks.
pub struct Callbacks {
    store: Store,
    /// None without a secret: then what stands in the store from earlier days is tried in vain.
    sender: Option<Arc<Sender>>,
    drain: CancellationToken,
}

impl Callbacks {
    /// Callbacks signed with these secrets.
    ///
    /// # Errors
    /// If this machine has no certificates to check receivers by.
    pub fn new(
        store: Store,
        secrets: Option<Secrets>,
        reach: Reach,
        drain: CancellationToken,
    ) -> anyhow::Result<Self> {
        let sender = secrets.map(|secrets| Sender::new(secrets, reach, System)).transpose()?;
        Ok(Self { store, sender: sender.map(Arc::new), drain })
    }

    /// Delivers until told to stop; then waits for what is under way.
    pub async fn run(self) {
        let mut in_flight = InFlight::default();
        let (bell, mut health) = (self.store.bell(), self.store.health());
        while !self.drain.is_cancelled() {
            let until = self.start_due(&mut in_flight).await.unwrap_or_else(|error| {
                debug!("callbacks wait: {error}");
                LOOK_AGAIN
            });
            tokio::select! {
                () = sleep(until) => {}
                () = bell.notified() => {}
                // What was committed when it went away was not answered.
                Ok(()) = health.changed() => {}
                () = in_flight.one_ended() => {}
                () = self.drain.cancelled() => break,
            }
            sleep(PAUSE).await;
            in_flight.reap();
        }
        in_flight.all_ended().await;
    }

    /// Begins all attempts that are due and for which there is room. Says how long nothing is to be done.
    async fn start_due(&self, in_flight: &mut InFlight) -> Result<Duration, StoreError> {
        loop {
            let room = in_flight.room();
            if room.total == 0 {
                return Ok(LOOK_AGAIN);
            }
            let wait = self.store.next_callback(&room).await?.unwrap_or(LOOK_AGAIN);
            if !wait.is_zero() {
                return Ok(wait.min(LOOK_AGAIN));
            }
            let take = LeaseCallbacks { room, lease: Uuid::now_v7(), patience: LEASE };
            let taken = self.store.take_callbacks(take).await?;
            // Another web service was faster.
            if taken.is_empty() {
                return Ok(PAUSE);
            }
            for callback in taken {
                let host = callback.host.clone();
                let (store, sender) = (self.store.clone(), self.sender.clone());
                in_flight.start(host, attempt::run(store, sender, callback));
            }
        }
    }
}
