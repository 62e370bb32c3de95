//! Does the action of a bulk run with one request.

use store::{Cancel, Discard, Status, Summary};

use crate::{
    api::{
        bulk_runs::{
            plan::BulkAction,
            progress::{Item, Outcome},
        },
        requests::rejected,
        state::State,
    },
    dispatch::replay,
};

/// Does the action with a request of a batch, which is `now` so, unless it has changed since it was chosen. If the run was taken
/// over, a request that is as the action leaves it counts as done: who had the run before may have done that. So does one with
/// which the action was tried before.
pub(super) async fn perform(
    state: &State,
    action: BulkAction,
    item: Item,
    now: Option<&Summary>,
    is_taken_over: bool,
) -> Outcome {
    match before(action, item, now) {
        Before::Fits => {}
        Before::Done if is_taken_over || item.is_uncertain => {
            return done_before(state, action, item);
        }
        Before::Done | Before::Changed => return Outcome::Changed,
    }
    match action {
        BulkAction::Replay => replay(state, item).await,
        BulkAction::Discard => match state.store.discard(item.id).await {
            Ok(Discard::Done) => Outcome::Done,
            Ok(_) => Outcome::Changed,
            Err(error) => Outcome::Trouble(error.to_string()),
        },
        BulkAction::Cancel => match state.store.cancel(item.id).await {
            Ok(Cancel::Done(run)) => {
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
            match problem.may_be_repeated() {
                true => Outcome::Trouble(problem.detail().to_owned()),
                false => Outcome::Changed,
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

fn before(action: BulkAction, item: Item, now: Option<&Summary>) -> Before {
    let now = now.map(|request| (request.status, request.run));
    match (action, now) {
        (BulkAction::Replay, Some((_, run))) if run > item.run => Before::Done,
        (BulkAction::Replay | BulkAction::Discard, Some((Status::Failed, run)))
            if run == item.run =>
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
            let found = before(action, item, now.as_ref());
            assert_eq!(found, expected, "{action:?} {now:?}");
        }
    }
}
