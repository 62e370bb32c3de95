//! Looking at a request until it has ended, woken by news of it.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;
use uuid::Uuid;

use crate::api::state::State;
use crate::{api::http::problem::Problem, views::request::View};
use store::Found;

/// News travel by events, which may be lost: so the store is looked at again this often.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The request as it is now.
pub(crate) async fn look(state: &State, id: Uuid) -> Result<View, Problem> {
    // First, or a request that ends in between would seem to wait again.
    let job = state.jobs.get(id);
    match state.store.get(id).await {
        Ok(Found::Record(request)) => Ok(View::of(*request).with(job)),
        Ok(Found::Expired) => Err(Problem::expired(id)),
        Ok(Found::Unknown) => Err(Problem::unknown_request(id)),
        Err(error) => Err(Problem::unavailable(format!("{error}."))),
    }
}

/// The request when it has ended, or as it is when the wait is over: after `patience`, or because
/// the service stops.
pub(crate) async fn wait(state: &State, id: Uuid, patience: Duration) -> Result<View, Problem> {
    let until = Instant::now() + patience;
    let mut waiter = state.waiters.register(id);
    debug!(requestId = %id, "a caller waits");
    loop {
        let view = look(state, id).await?;
        if view.is_final() {
            return Ok(view);
        }
        tokio::select! {
            () = waiter.changed() => {}
            () = sleep(LOOK_AGAIN) => {}
            () = sleep_until(until) => return Ok(view),
            () = state.drain.cancelled() => return Ok(view),
        }
    }
}
