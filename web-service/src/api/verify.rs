//! `GET /api/v1/verify`: which open requests have no message in the broker.

use actix_web::{HttpResponse, web};
use pipeline::contract::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::http::{
        problem::Problem,
        responses::{MethodNotAllowed, VerifyUnavailable},
    },
    verify::{
        Verified, Verifier,
        decide::{Missing, Observation, Reason},
    },
};

pub(crate) const PATH: &str = "/api/v1/verify";

/// The most requests in an answer.
const MAX_MISSING: usize = 10_000;

/// The open requests, compared with the messages in the broker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Verification {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// How many requests have not ended.
    open: usize,
    /// How many of them workers claim.
    in_work: usize,
    /// How many should have a message in the queue of requests of their type.
    waiting: usize,
    /// How many should have one in a retry queue.
    retrying: usize,
    /// How many messages the queues of requests held.
    messages_waiting: u32,
    /// How many messages the retry queues held.
    messages_retrying: u32,
    /// The requests whose message is missing.
    missing: Vec<MissingRequest>,
    /// How many there are.
    missing_count: usize,
    /// Whether there are more than are listed.
    is_cut: bool,
    /// What could not be seen.
    unseen: Vec<Unseen>,
}

/// A request whose message is missing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MissingRequest {
    #[schema(value_type = String, format = "uuid")]
    request_id: Uuid,
    run: u32,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    reason: MissingReason,
}

/// How it is known. `overtaken`: requests that came later were worked on. `too-few-messages`: the queues hold fewer
/// messages than requests wait, and this one is among the oldest.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum MissingReason {
    Overtaken,
    TooFewMessages,
}

/// Something that could not be seen, so that requests may be missing because of it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Unseen {
    code: &'static str,
    /// A sentence for people.
    detail: String,
}

/// Compares the open requests in the store with what the queues hold and what workers claim. It takes two seconds, and four if
/// something seems to be missing. Nothing is taken out of a queue. What it names can be published again.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "verify",
    tag = "health",
    summary = "Which open requests have no message",
    responses(
        (status = 200, description = "What is missing", body = Verification),
        VerifyUnavailable,
        MethodNotAllowed
    )
)]
pub(crate) async fn verify(verifier: web::Data<Verifier>) -> Result<HttpResponse, Problem> {
    let verified = verifier.verify().await;
    let verified = verified.as_ref();
    let verified = verified
        .as_ref()
        .map_err(|error| Problem::unavailable(format!("Nothing can be verified now: {error}.")))?;
    Ok(HttpResponse::Ok().json(Verification::from(verified)))
}

impl From<&Verified> for Verification {
    fn from(Verified { missing, seen }: &Verified) -> Self {
        let [waiting, retrying] = seen.expected();
        let held = seen.held();
        let unseen = unseen(seen, missing);
        let missing_count = missing.len();
        Self {
            at: Timestamp::now(),
            open: seen.open,
            in_work: seen.in_work,
            waiting,
            retrying,
            messages_waiting: held.requests.values().fold(0, |sum, it| sum.saturating_add(*it)),
            messages_retrying: held.retries,
            missing: missing.iter().take(MAX_MISSING).map(MissingRequest::from).collect(),
            missing_count,
            is_cut: missing_count > MAX_MISSING,
            unseen,
        }
    }
}

impl From<&Missing> for MissingRequest {
    fn from(Missing { request, reason }: &Missing) -> Self {
        Self {
            request_id: request.id,
            run: request.run,
            attempts: request.attempts,
            accepted_at: request.accepted_at,
            next_attempt_at: request.next_attempt_at,
            reason: match reason {
                Reason::Overtaken => MissingReason::Overtaken,
                Reason::TooFewMessages => MissingReason::TooFewMessages,
            },
        }
    }
}

/// What an observation can't show.
fn unseen(seen: &Observation, missing: &[Missing]) -> Vec<Unseen> {
    let mut unseen = Vec::new();
    let mut add = |code, detail| unseen.push(Unseen { code, detail });
    if seen.is_storing() {
        add(
            "results-wait",
            "Results wait to be stored all the time: which requests are done can't be told. Verify again later."
                .to_owned(),
        );
    }
    let (expected, more) = seen.surplus();
    let missing = missing.iter().filter(|it| it.reason == Reason::TooFewMessages).count();
    if more > 0 && expected > missing {
        add(
            "hidden",
            format!(
                "{expected} requests waited all the time, and the queues hold {more} more messages: of newer, cancelled or \
                 replaced requests, or of other programs. As many could be missing behind them. Verify again when fewer wait."
            ),
        );
    }
    if seen.is_cut {
        add(
            "too-many",
            "There are more open requests than are looked at; the oldest were.".to_owned(),
        );
    }
    unseen
}

#[cfg(test)]
mod tests {
    use pipeline::topology::RequestType;

    use super::*;
    use crate::verify::decide::Sample;

    fn codes(sample: [u32; 3], is_overtaken: bool) -> Vec<&'static str> {
        let [requests, retries, results] = sample;
        let requests = [(RequestType::DEFAULT, requests)].into();
        let samples = vec![Sample { requests, retries, results }; 3];
        let stayed = [1, 2].map(|id| store::OpenRequest {
            id: Uuid::from_u128(id),
            request_type: RequestType::DEFAULT,
            run: 0,
            attempts: 0,
            accepted_at: None,
            next_attempt_at: None,
        });
        let overtaken = is_overtaken.then_some(RequestType::DEFAULT).into_iter().collect();
        let seen = Observation { overtaken, ..Observation::sample(&stayed, samples) };
        unseen(&seen, &[]).iter().map(|it| it.code).collect()
    }

    #[test]
    fn what_can_not_be_seen_is_said() {
        assert_eq!(codes([2, 0, 0], false), [""; 0]);
        assert_eq!(codes([2, 1, 0], false), ["hidden"]);
        assert_eq!(codes([2, 1, 0], true), [""; 0], "none of these is one of the two");
        assert_eq!(codes([2, 0, 1], false), ["results-wait"]);
    }
}
