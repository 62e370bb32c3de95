//! The gate in front of an endpoint: jobs pass while the circuit breaker is closed; while it is open, one at a time probes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pipeline::{
    contract::RequestId,
    log_messages::{ENDPOINT_BACK, ENDPOINT_DOWN},
};
use tokio::{
    sync::{self, watch},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use crate::processors::http::{
    breaker::{Breaker, Change},
    endpoint::Endpoint,
    response::CallFailure,
};

/// The gate in front of an endpoint.
#[derive(Debug)]
pub(super) struct Gate {
    endpoint: Endpoint,
    breaker: Mutex<Breaker>,
    is_open: watch::Sender<bool>,
    /// Held by the job that probes. It is fair, so a request that always fails does not keep the others from trying.
    probing: sync::Mutex<()>,
}

/// The permission to call an endpoint that may be away. Others get it when it is dropped.
pub(super) type Probe<'a> = sync::MutexGuard<'a, ()>;

impl Gate {
    /// A gate that is open to all.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let is_open = watch::Sender::new(false);
        Self { endpoint, breaker: Mutex::default(), is_open, probing: sync::Mutex::default() }
    }

    /// Waits until a job may call the endpoint: as one of many, or to probe.
    pub(super) async fn pass(&self) -> Option<Probe<'_>> {
        let mut is_open = self.is_open.subscribe();
        let closed = async {
            let _closed = is_open.wait_for(|is_open| !is_open).await;
        };
        tokio::select! {
            biased;
            () = closed => None,
            probe = self.turn_to_probe() => Some(probe),
        }
    }

    async fn turn_to_probe(&self) -> Probe<'_> {
        let probe = self.probing.lock().await;
        while let Some(at) = self.next_probe().filter(|at| *at > Instant::now()) {
            sleep_until(at).await;
        }
        probe
    }

    fn next_probe(&self) -> Option<Instant> {
        self.breaker().next_probe()
    }

    /// Notes that the endpoint has done its work in a call that began then.
    pub(super) fn answered(&self, began: Instant) {
        let mut breaker = self.breaker();
        if breaker.answered(began) {
            info!(endpoint = %self.endpoint, "{ENDPOINT_BACK}");
            self.is_open.send_replace(false);
        }
    }

    /// Notes the failure of a call that began then. Returns whether it is no attempt, because the breaker is open.
    pub(super) fn failed(&self, id: &RequestId, failure: &CallFailure, began: Instant) -> bool {
        let mut breaker = self.breaker();
        let (now, reason) = (Instant::now(), &failure.error.message);
        match breaker.failed(id, failure, began, now) {
            Change::Closed => return false,
            Change::Opened(next) => {
                let seconds = (next - now).as_secs_f64();
                warn!(endpoint = %self.endpoint, reason, seconds, "{ENDPOINT_DOWN}");
                self.is_open.send_replace(true);
            }
            Change::Open => debug!(endpoint = %self.endpoint, reason, "the endpoint is down still"),
        }
        true
    }

    /// How often this request went back since the endpoint has last done its work.
    pub(super) fn hand_backs(&self, id: &RequestId) -> u32 {
        self.breaker().hand_backs(id)
    }

    /// Notes that this request goes back.
    pub(super) fn note_hand_back(&self, id: &RequestId) {
        self.breaker().note_hand_back(id);
    }

    /// Why jobs have to wait, if they do.
    pub(super) fn reason(&self) -> Option<String> {
        self.breaker().reason().map(str::to_owned)
    }

    /// Held while waiting jobs are told, so that they are told in the order of what happens.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
