//! Bulk driver: does the bulk runs that are due.
//!
//! Runs are rows in the store. The driver leases those that are due, and each reports how far it is. If the web service dies,
//! another one goes on after the lease, from the last report.

mod leased_run;
mod perform;

use std::{sync::Arc, time::Duration};

use store::{LeaseBulkRuns, StoreError};
use tokio::{task::JoinSet, time::sleep};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    api::{bulk_runs::stored::StoredRun, state::State},
    bulk_driver::leased_run::{LeasedRun, lease_duration},
};

/// How often the store is looked at when nothing tells of a due run: another web service may have died and left its leases.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How many runs a web service does at the same time.
const MAX_RUNS: usize = 8;

/// Does what is due until the service stops; then each run is given back.
pub(crate) async fn run(state: Arc<State>) {
    let mut runs = JoinSet::new();
    while !state.drain.is_cancelled() {
        while runs.try_join_next().is_some() {}
        let pause = start_due(&state, &mut runs).await.unwrap_or_else(|error| {
            debug!("bulk runs wait for the store: {error}");
            POLL_INTERVAL
        });
        tokio::select! {
            () = sleep(pause.min(POLL_INTERVAL)) => {}
            () = state.bulk_run_due.notified() => {}
            () = state.drain.cancelled() => {}
        }
    }
    while runs.join_next().await.is_some() {}
}

/// Starts all runs that are due, and returns the time until the next look at the store.
async fn start_due(state: &Arc<State>, runs: &mut JoinSet<()>) -> Result<Duration, StoreError> {
    let free = MAX_RUNS.saturating_sub(runs.len());
    if free == 0 || state.dispatch.availability.check().is_err() {
        return Ok(POLL_INTERVAL);
    }
    let pause = state.store.next_bulk_run_in().await?.unwrap_or(POLL_INTERVAL);
    if !pause.is_zero() {
        return Ok(pause);
    }
    let lease = Uuid::now_v7();
    let limit = u32::try_from(free).unwrap_or(u32::MAX);
    let wanted = LeaseBulkRuns { lease, duration: lease_duration(state), limit };
    for leased in state.store.lease_bulk_runs(wanted).await? {
        match StoredRun::read(&leased) {
            Ok(stored) => drop(runs.spawn(LeasedRun::new(state.clone(), stored, lease).drive())),
            Err(error) => {
                warn!(bulk = %leased.id, %error, "a bulk run of another release waits for that")
            }
        }
    }
    Ok(POLL_INTERVAL)
}
