//! Accepts a batch of requests in parts: in each the publishes overlap, and one commit records them all.

use std::{collections::HashMap, sync::OnceLock};

use futures_util::{StreamExt, future::join_all, stream};
use pipeline::{broker::PublishError, contract::Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use crate::dispatch::{
    Dispatch,
    accept::{Published, claim, finish, publish},
    submission::{AcceptError, RejectedSubmission, Submission},
};
use store::{NewRequest, StoreError};

/// How many requests are claimed, published and recorded together. All of that is done within the timeout of a single
/// call, or the claims of their keys would be taken over.
const PART: usize = 128;
/// How many parts are accepted at once. Their requests are far fewer than the publisher has places for, so that single
/// requests find theirs beside a batch.
const MAX_CONCURRENT_PARTS: usize = 2;
/// The share of the time that recording has for itself: lines that the broker does not confirm take none of it from the
/// lines that it has confirmed.
const RECORDING_SHARE: u32 = 4;

/// Accepts each submission as [`crate::dispatch::accept::accept`] does. Returns the outcomes in the order
/// of the submissions. A submission that repeats the idempotency key and body of an earlier one in the
/// batch is the same request, and has the same outcome.
pub async fn accept_batch(
    dispatch: &Dispatch,
    submissions: &[Submission<'_>],
) -> Vec<Result<Uuid, RejectedSubmission>> {
    let first = first_with_same_key(submissions);
    let distinct: Vec<_> = submissions
        .iter()
        .enumerate()
        .filter(|(at, _)| first[*at] == *at)
        .map(|(_, s)| s)
        .collect();
    let mut accepted = accept_distinct(dispatch, &distinct).await.into_iter();
    let mut outcomes: Vec<Result<Uuid, RejectedSubmission>> = Vec::with_capacity(submissions.len());
    for (at, first) in first.into_iter().enumerate() {
        outcomes.push(match first == at {
            true => accepted.next().expect("one outcome for each of them"),
            false => outcomes[first].clone(),
        });
    }
    outcomes
}

/// For each submission the index of the first one with its key and body: often its own.
fn first_with_same_key(submissions: &[Submission<'_>]) -> Vec<usize> {
    let mut seen = HashMap::new();
    let first = |(at, submission): (usize, &Submission<'_>)| match &submission.key {
        Some(key) => *seen.entry((key.hash, key.body_digest)).or_insert(at),
        None => at,
    };
    submissions.iter().enumerate().map(first).collect()
}

async fn accept_distinct(
    dispatch: &Dispatch,
    submissions: &[&Submission<'_>],
) -> Vec<Result<Uuid, RejectedSubmission>> {
    let failure = OnceLock::new();
    let parts = submissions.chunks(PART).map(|part| accept_part(dispatch, part, &failure));
    stream::iter(parts).buffered(MAX_CONCURRENT_PARTS).concat().await
}

/// Accepts a part of a batch. Nothing of it is claimed or sent after a failure of the store or of the broker in another part: the
/// caller would wait as long again, and the store would have its claims for nothing.
async fn accept_part(
    dispatch: &Dispatch,
    submissions: &[&Submission<'_>],
    failure: &OnceLock<AcceptError>,
) -> Vec<Result<Uuid, RejectedSubmission>> {
    if let Some(error) = failure.get() {
        let reject = |s: &&Submission<'_>| error.clone().reject(s.id);
        return submissions.iter().map(reject).map(Err).collect();
    }
    let deadline = Instant::now() + dispatch.timeout;
    let claimed = join_all(submissions.iter().map(|s| claim(dispatch, s))).await;
    for claimed in &claimed {
        if let Err(RejectedSubmission { error: error @ AcceptError::StoreAway(_), .. }) = claimed {
            failure.get_or_init(|| error.clone());
        }
    }
    // Of this part: another one may have been published long before.
    let accepted_at = Timestamp::now();
    let publish_by = publish_deadline(Instant::now(), deadline);
    let publishing = submissions.iter().zip(claimed);
    let published =
        join_all(publishing.map(|(s, claimed)| publish(dispatch, s, claimed, publish_by))).await;
    if let Some(error) = broker_failure(&published) {
        failure.get_or_init(|| error.clone());
    }
    let with_published = submissions.iter().zip(&published);
    let rows = with_published
        .filter_map(|(s, published)| published.as_ref().ok()?.row(s, accepted_at))
        .collect();
    let recorded = record_all(dispatch, rows, deadline, failure).await;
    let mut recorded = recorded.into_iter();
    let finished = submissions.iter().zip(published).map(|(submission, published)| {
        let is_new = matches!(published, Ok(Published::New(_)));
        let recorded = is_new.then(|| recorded.next()).flatten().unwrap_or(Ok(()));
        finish(dispatch, submission, accepted_at, published, recorded)
    });
    join_all(finished).await
}

/// That the broker is away, if nothing of a part could be sent.
fn broker_failure(published: &[Result<Published, RejectedSubmission>]) -> Option<&AcceptError> {
    if published.iter().any(|it| matches!(it, Ok(Published::New(_)))) {
        return None;
    }
    let mut errors = published.iter().filter_map(|it| Some(&it.as_ref().err()?.error));
    errors.find(|error| matches!(error, AcceptError::Publish(PublishError::NotSent(_))))
}

/// When a part that may take until `deadline` stops waiting for confirms.
fn publish_deadline(now: Instant, deadline: Instant) -> Instant {
    deadline - deadline.saturating_duration_since(now) / RECORDING_SHARE
}

async fn record_all(
    dispatch: &Dispatch,
    rows: Vec<NewRequest>,
    deadline: Instant,
    failure: &OnceLock<AcceptError>,
) -> Vec<Result<(), StoreError>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let count = rows.len();
    match dispatch.store.accept_batch_by(deadline, rows).await {
        Ok(recorded) => recorded,
        Err(error) => {
            failure.get_or_init(|| AcceptError::StoreAway(error.to_string()));
            vec![Err(error); count]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(error: PublishError) -> Result<Published, RejectedSubmission> {
        Err(AcceptError::Publish(error).reject(Uuid::nil()))
    }

    #[test]
    fn a_broker_that_took_nothing_of_a_part_is_away_for_the_others() {
        let not_sent = || rejected(PublishError::NotSent("it is away".to_owned()));
        let known = || Ok(Published::AlreadyAnswered(Uuid::nil()));
        let failure = |published: &[_]| broker_failure(published).map(ToString::to_string);
        assert!(failure(&[known(), not_sent()]).is_some_and(|error| error.contains("it is away")));
        assert_eq!(failure(&[Ok(Published::New(Uuid::nil())), not_sent()]), None);
        assert_eq!(failure(&[known(), known()]), None);
        let unroutable = rejected(PublishError::Unroutable("no queue".to_owned()));
        assert_eq!(failure(&[unroutable]), None, "the broker is there");
    }
}
