//! Long poll: waits for the end of a request, woken by the notifier.

use std::time::Duration;

use pipeline::log_messages::CALLER_WAITS;
use store::WorkerResult;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;
use uuid::Uuid;

use crate::{
    api::{http::problem::Problem, requests::load::load, state::State},
    events::waiters::Waiter,
    views::request::RequestView,
};

/// The pause between two reads of a request while nothing wakes the caller: notifications may be lost.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The request when it has ended, or as it is after `max_wait` or when the service stops.
///
/// # Errors
/// As [`load`].
pub(crate) async fn wait(
    state: &State,
    id: Uuid,
    max_wait: Duration,
) -> Result<RequestView, Problem> {
    let deadline = Instant::now() + max_wait;
    // Registered before the request is loaded, so that no change in between is missed.
    let waiter = state.waiters.register(id);
    let request = load(state, id).await?;
    match request.is_final() {
        true => Ok(request),
        false => wait_for_change(state, id, waiter, deadline, |_| None).await,
    }
}

/// The same for a request that had not ended when the waiter was registered: it is loaded only when it may have changed,
/// and `ended_by` does not know what it has become by a result.
///
/// # Errors
/// As [`load`].
pub(crate) async fn wait_for_change(
    state: &State,
    id: Uuid,
    mut waiter: Waiter,
    deadline: Instant,
    ended_by: impl Fn(&WorkerResult) -> Option<RequestView>,
) -> Result<RequestView, Problem> {
    debug!(requestId = %id, "{CALLER_WAITS}");
    loop {
        tokio::select! {
            result = waiter.changed() => if let Some(ended) = result.and_then(|it| ended_by(&it)) {
                return Ok(ended);
            },
            () = sleep(RELOAD_INTERVAL) => {}
            // It may have changed since: only its end wakes the caller.
            () = sleep_until(deadline) => return load(state, id).await,
            () = state.drain.cancelled() => return load(state, id).await,
        }
        let request = load(state, id).await?;
        if request.is_final() {
            return Ok(request);
        }
    }
}
