//! Bulk driver: does the bulk runs that are due.
//!
//! Runs are rows in the store. The driver leases those that are due, and each reports how far it is. If the web service dies,
//! another one goes on after the lease, from the last report.

mod leased_run;
mod perform;
mod watching;

use std::{sync::Arc, time::Duration};

use store::{LeaseBulkRuns, StoreError};
use tokio::{task::JoinSet, time::sleep};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    api::{bulk_runs::stored::StoredRun, state::State},
    bulk_driver::{
        leased_run::{LeasedRun, lease_duration},
        watching::Watching,
    },
};

/// How often the store is looked at when nothing tells of a due run: another web service may have died and left its leases.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How many runs a web service does at the same time.
const MAX_RUNS: usize = 8;
/// How many it has at the same time, with those that only wait for the end of what they have replayed: without workers they wait
/// for ever, and another run may be what helps.
const MAX_LEASED_RUNS: usize = 64;

/// Does what is due until the service stops; then each run is given back.
pub(crate) async fn run(state: Arc<State>) {
    let (mut runs, watching) = (JoinSet::new(), Watching::default());
    while !state.drain.is_cancelled() {
        while runs.try_join_next().is_some() {}
        let pause = start_due(&state, &mut runs, &watching).await.unwrap_or_else(|error| {
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
async fn start_due(
    state: &Arc<State>,
    runs: &mut JoinSet<()>,
    watching: &Watching,
) -> Result<Duration, StoreError> {
    let free = free(runs.len(), watching.count());
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
            Ok(stored) => {
                let run = LeasedRun::new(state.clone(), stored, lease, watching.clone());
                runs.spawn(run.drive());
            }
            Err(error) => {
                warn!(bulk = %leased.id, %error, "a bulk run of another release waits for that")
            }
        }
    }
    Ok(POLL_INTERVAL)
}

/// How many more runs may begin, of a web service that has so many, of which some only watch.
fn free(runs: usize, watching: usize) -> usize {
    let busy = runs.saturating_sub(watching);
    MAX_RUNS.saturating_sub(busy).min(MAX_LEASED_RUNS.saturating_sub(runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_only_watch_hold_up_no_others() {
        assert_eq!((free(0, 0), free(3, 0), free(8, 0)), (8, 5, 0));
        assert_eq!((free(8, 8), free(8, 3), free(20, 15)), (8, 3, 3));
        assert_eq!((free(60, 60), free(64, 64), free(70, 0)), (4, 0, 0));
    }
}
