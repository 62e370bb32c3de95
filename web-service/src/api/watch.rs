//! Looking at a request until it has ended, woken by news of it.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::{Problem, view::View};
use crate::{state::State, store::Found};

/// News travel by events, which may be lost: so the store is looked at again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The request as it is now.
pub(super) async fn look(state: &State, id: Uuid) -> Result<View, Problem> {
    match state.store.get(id).await {
        Ok(Found::Record(request)) => Ok(View::of(*request)),
        Ok(Found::Expired) => Err(Problem::expired(id)),
        Ok(Found::Unknown) => Err(Problem::unknown_request(id)),
        Err(error) => Err(Problem::unavailable(format!("{error}."))),
    }
}

/// The request when it has ended, or as it is when the wait is over: after `patience`, or because
/// the service stops.
pub(super) async fn wait(state: &State, id: Uuid, patience: Duration) -> Result<View, Problem> {
    let until = Instant::now() + patience;
    let mut waiter = state.waiters.register(id);
    loop {
        let view = look(state, id).await?;
        if view.is_final() {
            return Ok(view);
        }
        tokio::select! {
            () = waiter.news() => {}
            () = sleep(LOOK_AGAIN) => {}
            () = sleep_until(until) => return Ok(view),
            () = state.drain.cancelled() => return Ok(view),
        }
    }
}

/// The request whenever it has changed, first as it is now; the last time when it has ended or the
/// service stops. `tell` says whether anybody still listens.
pub(super) async fn follow(
    state: &State,
    id: Uuid,
    first: View,
    mut tell: impl AsyncFnMut(String) -> bool,
) {
    let mut waiter = state.waiters.register(id);
    let mut told = first.json();
    let mut ended = first.is_final();
    if !tell(told.clone()).await {
        return;
    }
    while !ended {
        tokio::select! {
            () = waiter.news() => {}
            () = sleep(LOOK_AGAIN) => {}
            () = state.drain.cancelled() => return,
        }
        // A store that is away for a while is no news.
        let Ok(view) = look(state, id).await else { continue };
        ended = view.is_final();
        let json = view.json();
        if json != told {
            told.clone_from(&json);
            if !tell(json).await {
                return;
            }
        }
    }
}
