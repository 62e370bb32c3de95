//! A request that was accepted here, and what the result of its first attempt makes of it.

use pipeline::{contract::Timestamp, topology::RequestType};
use store::{Record, ResultOutcome, Status, Summary, WorkerResult};
use uuid::Uuid;

use crate::{dispatch::submission::Submission, views::request::RequestView};

/// What is known of a request that was accepted here.
#[derive(Debug, Clone)]
pub(crate) struct AcceptedRequest {
    id: Uuid,
    request_type: RequestType,
    accepted_at: Timestamp,
    /// Whether the store may know more of it: of its callback, or that another call with its idempotency key has recorded it.
    is_shared: bool,
}

impl AcceptedRequest {
    /// The request of a submission that was accepted under its own id.
    pub(crate) fn of(submission: &Submission<'_>, accepted_at: Timestamp) -> Self {
        Self {
            id: submission.id,
            request_type: submission.request_type.clone(),
            accepted_at,
            is_shared: submission.callback.is_some() || submission.key.is_some(),
        }
    }

    /// The request as the store has it once it has stored this result, and has no history of it, without reading it again.
    /// None if the store may know more.
    pub(crate) fn ended_by(&self, result: &WorkerResult) -> Option<RequestView> {
        let WorkerResult { id, outcome, run, attempt, deliveries, worker, .. } = result;
        let ResultOutcome::Completed(json) = outcome else { return None };
        let is_first = *id == self.id && *run == Some(0) && *attempt == 1;
        // The store replaces NUL characters.
        let is_stored_as_it_is = worker.as_ref().is_none_or(|worker| !worker.contains('\0'));
        if !is_first || !is_stored_as_it_is || self.is_shared {
            return None;
        }
        let summary = Summary {
            id: self.id,
            status: Status::Completed,
            kind: self.request_type.to_string(),
            owner: None,
            run: 0,
            attempts: *attempt,
            deliveries: *deliveries,
            accepted_at: Some(self.accepted_at),
            started_at: result.started_at,
            finished_at: Some(result.finished_at?),
            settled_at: None,
            worker: worker.clone(),
            error: None,
            last_error: None,
            next_attempt_at: None,
            callback: None,
        };
        let view = RequestView::from(Record { summary, result: Some(json.to_vec()) });
        // What is no JSON is left to the store.
        view.processing_results.is_some().then_some(view)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::contract::ErrorBody;

    use super::*;

    fn accepted() -> AcceptedRequest {
        AcceptedRequest {
            id: Uuid::now_v7(),
            request_type: RequestType::DEFAULT,
            accepted_at: Timestamp::now(),
            is_shared: false,
        }
    }

    fn result(id: Uuid) -> WorkerResult {
        WorkerResult {
            id,
            request_type: RequestType::DEFAULT,
            outcome: ResultOutcome::Completed(b"{\"n\":1e400}".as_slice().into()),
            run: Some(0),
            attempt: 1,
            deliveries: 2,
            worker: Some("host:1/1".to_owned()),
            started_at: Some(Timestamp::now()),
            finished_at: Some(Timestamp::now()),
        }
    }

    #[test]
    fn the_first_success_is_the_end_of_a_request() {
        let request = accepted();
        let ended = request.ended_by(&result(request.id)).unwrap();
        assert!(ended.is_final() && ended.deliveries == 2);
        assert!(ended.json().contains("\"processingResults\":{\"n\":1e400}"), "{}", ended.json());
    }

    #[test]
    fn what_the_store_may_know_better_is_left_to_it() {
        let request = accepted();
        let of = |change: fn(&mut WorkerResult)| {
            let mut result = result(request.id);
            change(&mut result);
            request.ended_by(&result).is_some()
        };
        assert!(of(|_| {}));
        assert!(!of(|it| it.id = Uuid::now_v7()));
        assert!(!of(|it| it.run = None));
        assert!(!of(|it| it.run = Some(1)));
        assert!(!of(|it| it.attempt = 2));
        assert!(!of(|it| it.finished_at = None));
        assert!(!of(|it| it.worker = Some("a\0".to_owned())));
        assert!(!of(|it| it.outcome = ResultOutcome::Completed(b"no".as_slice().into())));
        assert!(!of(|it| it.outcome = ResultOutcome::Failed(ErrorBody::new("x", ""))));
        let shared = AcceptedRequest { is_shared: true, ..request.clone() };
        assert!(shared.ended_by(&result(request.id)).is_none());
    }
}
