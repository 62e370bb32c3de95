//! Errors of submissions, replays and retries: what a client is told when its request was not accepted.

use pipeline::broker::PublishError;
use tracing::warn;
use uuid::Uuid;

use crate::{
    api::http::{problem::Problem, problem_type::ProblemType},
    dispatch::{
        known_type::UnknownType,
        replay::ReplayError,
        retry_now::{NotWaiting, RetryNowError},
        submission::{AcceptError, RejectedSubmission},
    },
};

/// The problem of a submission that was not accepted, which is logged.
pub(crate) fn submission(rejected: &RejectedSubmission) -> Problem {
    let RejectedSubmission { id, error } = rejected;
    warn!(requestId = %id, %error, "request not accepted");
    problem(rejected)
}

/// The problem of a submission that was not accepted.
pub(crate) fn problem(RejectedSubmission { id, error }: &RejectedSubmission) -> Problem {
    match error {
        AcceptError::StoreAway(_) => {
            Problem::unavailable(format!("Nothing was sent, try again: {error}."))
        }
        AcceptError::NotRecorded(_) => Problem::outcome_unknown(
            *id,
            "The broker has the request, but it could not be stored. It will be processed.",
        ),
        AcceptError::KeyInUse => Problem::new(
            ProblemType::IdempotencyKeyInUse,
            "Another call with this idempotency key is being answered: try again in a moment, the \
             answer will be the same.",
        ),
        AcceptError::KeyReused => Problem::new(
            ProblemType::IdempotencyKeyReused,
            "The idempotency key was used with another body: use a new key for a new request, and the \
             same body for the same one.",
        ),
        AcceptError::Publish(error) => not_published(
            *id,
            error,
            "It may still be processed. If the call is repeated without the same Idempotency-Key, the work may be done twice.",
        ),
    }
}

/// The problem of a request that was not replayed.
pub(crate) fn replay(id: Uuid, error: &ReplayError) -> Problem {
    warn!(requestId = %id, %error, "request not replayed");
    match error {
        ReplayError::Unknown => Problem::unknown_request(id),
        ReplayError::Expired => Problem::expired(id),
        ReplayError::NotFailed(status) => Problem::not_failed(status.as_str()),
        ReplayError::NoData => Problem::new(
            ProblemType::NoData,
            "Another program published the request, and its message is not stored: let that program publish it again.",
        ),
        ReplayError::UnknownType(unknown) => unknown_type(unknown),
        ReplayError::StoreAway(_) => {
            Problem::unavailable(format!("Nothing was sent, try again: {error}."))
        }
        ReplayError::NotRecorded(_) => Problem::outcome_unknown(
            id,
            "The broker has the request, but the replay could not be stored. Make the same call again: it does no harm.",
        ),
        ReplayError::Publish(error) => {
            not_published(id, error, "Make the same call again: it does no harm.")
        }
    }
}

/// The problem of a request whose next attempt was not published.
pub(crate) fn retry_now(id: Uuid, error: &RetryNowError) -> Problem {
    warn!(requestId = %id, %error, "not published again");
    match error {
        RetryNowError::Unknown => Problem::unknown_request(id),
        RetryNowError::Expired => Problem::expired(id),
        RetryNowError::NotWaiting(why) => Problem::new(ProblemType::NotWaiting, not_waiting(*why)),
        RetryNowError::NoData => Problem::new(
            ProblemType::NoData,
            "Another program published it, and no message of it is stored: it begins when its time has come.",
        ),
        RetryNowError::UnknownType(unknown) => unknown_type(unknown),
        RetryNowError::StoreAway(_) => {
            Problem::unavailable(format!("Nothing was sent, try again: {error}."))
        }
        RetryNowError::NotRecorded(_) => Problem::outcome_unknown(
            id,
            "The broker has the attempt, but that could not be recorded. Make the same call again: it does no harm.",
        ),
        RetryNowError::Publish(error) => {
            not_published(id, error, "Make the same call again: it does no harm.")
        }
    }
}

/// The problem of a type for which there is no queue.
pub(crate) fn unknown_type(unknown: &UnknownType) -> Problem {
    Problem::new(ProblemType::UnknownType, format!("Nothing was sent: {unknown}."))
}

fn not_waiting(why: NotWaiting) -> String {
    match why {
        NotWaiting::Ended(status) => format!(
            "It is {}: only a request that waits for its next attempt can be retried now.",
            status.as_str()
        ),
        NotWaiting::Processing => "It is being worked on at present.".to_owned(),
        NotWaiting::Moved => "Another attempt or run of it has begun meanwhile.".to_owned(),
        NotWaiting::Due => {
            "It waits for a worker, not for a time: it begins as soon as a worker is free."
                .to_owned()
        }
    }
}

/// The problem of a message that the broker has not confirmed. `advice` tells what to do if it was sent.
fn not_published(id: Uuid, error: &PublishError, advice: &str) -> Problem {
    match error {
        PublishError::NotSent(reason) => {
            Problem::unavailable(format!("Nothing was sent, try again: {reason}."))
        }
        PublishError::Overloaded => {
            Problem::unavailable("Nothing was sent: too many requests are unconfirmed. Try again.")
        }
        PublishError::Nacked => Problem::unavailable("The broker rejected the request. Try again."),
        PublishError::Refused(_) => Problem::unavailable(
            "Nothing was accepted: the broker refused the request, because the service's user lacks the permission to \
             publish (write). The service's log has the details.",
        ),
        PublishError::Unroutable(missing) => {
            let detail = format!("The broker has no queue for the request: {missing}.");
            Problem::new(ProblemType::TopologyMissing, detail)
        }
        PublishError::Unknown(_) => {
            let sent = "The request was sent, but the broker has not confirmed it.";
            Problem::outcome_unknown(id, format!("{sent} {advice}"))
        }
        PublishError::TooLarge { max_bytes, .. } => Problem::message_too_large(*max_bytes),
        PublishError::Invalid(reason) => Problem::wrong_shape(reason.clone()),
    }
}
