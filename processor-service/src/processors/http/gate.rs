//! The gate in front of an endpoint: jobs pass while the circuit breaker is closed; while it is open, one at a time probes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pipeline::{
    contract::RequestId,
    log_messages::{ENDPOINT_BACK, ENDPOINT_DOWN, ENDPOINT_REACHED},
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
    /// Whether all may call, as the breaker says.
    lets_pass: watch::Sender<bool>,
    /// Held by the job that probes. It is fair, so a request that always fails does not keep the others from trying.
    probing: sync::Mutex<()>,
}

/// The permission to call an endpoint that may be away. Others get it when it is dropped.
pub(super) type Probe<'a> = sync::MutexGuard<'a, ()>;

impl Gate {
    /// A gate that is open to all.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let lets_pass = watch::Sender::new(true);
        Self { endpoint, breaker: Mutex::default(), lets_pass, probing: sync::Mutex::default() }
    }

    /// Waits until a job may call the endpoint: as one of many, or to probe.
    pub(super) async fn pass(&self) -> Option<Probe<'_>> {
        let mut lets_pass = self.lets_pass.subscribe();
        let all_may_call = async {
            let _they_may = lets_pass.wait_for(|lets_pass| *lets_pass).await;
        };
        tokio::select! {
            biased;
            () = all_may_call => None,
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
        }
        self.lets_pass.send_replace(breaker.lets_pass());
    }

    /// Notes that a call which began then has not failed for a while. Others may call then, but that is no answer.
    pub(super) fn reached(&self, began: Instant) {
        let mut breaker = self.breaker();
        if breaker.reached(began) {
            info!(endpoint = %self.endpoint, "{ENDPOINT_REACHED}");
        }
        self.lets_pass.send_replace(breaker.lets_pass());
    }

    /// Notes the failure of a call that began then. Returns whether it is no attempt, because the breaker is open.
    pub(super) fn failed(&self, id: &RequestId, failure: &CallFailure, began: Instant) -> bool {
        let mut breaker = self.breaker();
        let (now, reason) = (Instant::now(), &failure.error.message);
        let change = breaker.failed(id, failure, began, now);
        self.lets_pass.send_replace(breaker.lets_pass());
        match change {
            Change::Closed => return false,
            Change::Opened(next) => {
                let seconds = (next - now).as_secs_f64();
                warn!(endpoint = %self.endpoint, reason, seconds, "{ENDPOINT_DOWN}");
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

    /// Notes that an attempt at this request has ended.
    pub(super) fn note_attempt(&self, id: &RequestId) {
        self.breaker().note_attempt(id);
    }

    /// Why jobs have to wait at this moment, if they do.
    pub(super) fn waiting_for(&self) -> Option<String> {
        let breaker = self.breaker();
        breaker.reason().filter(|_| !breaker.lets_pass()).map(str::to_owned)
    }

    /// Why the endpoint is taken to be down, if it is: also while all may call, until it answers.
    pub(super) fn reason(&self) -> Option<String> {
        self.breaker().reason().map(str::to_owned)
    }

    /// Held while waiting jobs are told, so that they are told in the order of what happens.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
