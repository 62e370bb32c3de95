//! Does the action of a bulk run with one request.

use pipeline::contract::Timestamp;
use store::{Cancel, Discard, Status, Summary};
use tracing::info;

use crate::{
    api::{
        bulk_runs::{
            batch::{Item, Outcome},
            plan::BulkAction,
        },
        http::problem_type::ProblemType,
        requests::{discard, rejected},
        state::State,
    },
    dispatch::replay,
};

/// What was ordered, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ordered {
    pub(super) action: BulkAction,
    /// What has failed later is not meant: nobody has seen it when it was ordered.
    pub(super) at: Timestamp,
    /// Whether another web service had the run before, which may have done some of it.
    pub(super) is_taken_over: bool,
}

/// Does the action with a request of a batch, which is `now` so, unless it has changed since it was chosen. If the run was taken
/// over, a request that is as the action leaves it counts as done: who had the run before may have done that. So does one with
/// which the action was tried before.
pub(super) async fn perform(
    state: &State,
    ordered: Ordered,
    item: Item,
    now: Option<&Summary>,
) -> Outcome {
    let action = ordered.action;
    match before(ordered, item, now) {
        Before::Fits => {}
        Before::Done if ordered.is_taken_over || item.is_uncertain => {
            return done_before(state, action, item);
        }
        Before::Done | Before::Changed => return Outcome::Changed,
    }
    match action {
        BulkAction::Replay => replay(state, item).await,
        BulkAction::Discard => match state.store.discard(item.id).await {
            Ok(Discard::Done) => {
                info!(requestId = %item.id, "discarded");
                Outcome::Done
            }
            Ok(Discard::CallbackPending) => Outcome::Refused(discard::CALLBACK_PENDING.to_owned()),
            Ok(_) => Outcome::Changed,
            Err(error) => Outcome::Trouble(error.to_string()),
        },
        BulkAction::Cancel => match state.store.cancel(item.id).await {
            Ok(Cancel::Done(run)) => {
                info!(requestId = %item.id, run, "cancelled");
                state.notifier.notify_cancelled(item.id, run);
                state.dispatch.metrics.cancelled(now.map(|request| request.kind.as_str()));
                Outcome::Done
            }
            Ok(Cancel::TooLate(Status::Cancelled)) => done_before(state, action, item),
            Ok(_) => Outcome::Changed,
            Err(error) => Outcome::Trouble(error.to_string()),
        },
    }
}

/// The action was done before, and nobody may have been told.
fn done_before(state: &State, action: BulkAction, item: Item) -> Outcome {
    if action == BulkAction::Cancel {
        state.notifier.notify_cancelled(item.id, item.run);
    }
    Outcome::Done
}

async fn replay(state: &State, item: Item) -> Outcome {
    match replay::replay(&state.dispatch, &state.notifier, item.id).await {
        Ok(()) => Outcome::Done,
        Err(error) => {
            let problem = rejected::replay(item.id, &error);
            let detail = problem.detail().to_owned();
            match problem.kind() {
                _ if problem.may_be_repeated() => Outcome::Trouble(detail),
                ProblemType::NotFailed | ProblemType::Expired | ProblemType::NotFound => {
                    Outcome::Changed
                }
                _ => Outcome::Refused(detail),
            }
        }
    }
}

/// How a request is before the action.
#[derive(Debug, PartialEq, Eq)]
enum Before {
    /// As it was chosen.
    Fits,
    /// As the action leaves it.
    Done,
    /// Neither.
    Changed,
}

fn before(ordered: Ordered, item: Item, now: Option<&Summary>) -> Before {
    let is_later = now.and_then(|request| request.settled_at).is_some_and(|at| at > ordered.at);
    let now = now.map(|request| (request.status, request.run));
    match (ordered.action, now) {
        (BulkAction::Replay, Some((_, run))) if run > item.run => Before::Done,
        (BulkAction::Replay | BulkAction::Discard, Some((Status::Failed, run)))
            if run == item.run && !is_later =>
        {
            Before::Fits
        }
        (BulkAction::Discard, None) | (BulkAction::Cancel, Some((Status::Cancelled, _))) => {
            Before::Done
        }
        (BulkAction::Cancel, Some((Status::Queued, _))) => Before::Fits,
        _ => Before::Changed,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::samples::summary;

    fn ordered(action: BulkAction) -> Ordered {
        Ordered { action, at: Timestamp::from_millis(1000), is_taken_over: false }
    }

    #[test]
    fn a_request_that_has_changed_is_told_from_one_that_the_action_has_changed() {
        let item = Item { id: Uuid::nil(), run: 1, is_done: false, is_uncertain: false };
        let so = |status, run| Summary { run, ..summary(status) };
        for (action, now, expected) in [
            (BulkAction::Replay, Some(so(Status::Failed, 1)), Before::Fits),
            (BulkAction::Replay, Some(so(Status::Queued, 2)), Before::Done),
            (BulkAction::Replay, Some(so(Status::Failed, 2)), Before::Done),
            (BulkAction::Replay, Some(so(Status::Completed, 1)), Before::Changed),
            (BulkAction::Replay, None, Before::Changed),
            (BulkAction::Discard, Some(so(Status::Failed, 1)), Before::Fits),
            (BulkAction::Discard, Some(so(Status::Failed, 2)), Before::Changed),
            (BulkAction::Discard, None, Before::Done),
            (BulkAction::Cancel, Some(so(Status::Queued, 1)), Before::Fits),
            (BulkAction::Cancel, Some(so(Status::Cancelled, 1)), Before::Done),
            (BulkAction::Cancel, Some(so(Status::Completed, 1)), Before::Changed),
        ] {
            let found = before(ordered(action), item, now.as_ref());
            assert_eq!(found, expected, "{action:?} {now:?}");
        }
    }

    #[test]
    fn a_request_that_has_failed_after_the_order_is_left_alone() {
        let item = Item { id: Uuid::nil(), run: 0, is_done: false, is_uncertain: false };
        let failed = |at| {
            let settled_at = Some(Timestamp::from_millis(at));
            Summary { settled_at, ..summary(Status::Failed) }
        };
        for action in [BulkAction::Replay, BulkAction::Discard] {
            let before = |at| before(ordered(action), item, Some(&failed(at)));
            assert_eq!((before(999), before(1000)), (Before::Fits, Before::Fits));
            assert_eq!(before(1001), Before::Changed);
        }
    }
}
