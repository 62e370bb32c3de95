//! Why a request has not ended, or how it has: reasons in their order, and when its work may begin. Pure decisions.

pub mod facts;
#[cfg(test)]
mod samples;
mod waiting;

use pipeline::contract::Progress;
use store::{Callback, CallbackStatus, Status, Summary};

use crate::{
    events::jobs::job::Job,
    why::{
        facts::{Facts, Reason, Why, counted},
        waiting::waiting,
    },
};

/// Why a request is where it is.
pub fn why(facts: &Facts) -> Why {
    let mut why = match (&facts.job, facts.request.status) {
        (_, Status::Completed | Status::Failed | Status::Cancelled) => ended(facts),
        (Some(job), Status::Queued) => in_work(job),
        (None, Status::Queued) => waiting(facts),
    };
    if !facts.request.status.is_final()
        && facts.request.next_attempt_at.is_none_or(|at| at <= facts.now)
    {
        why.reasons.extend(earlier_failure(&facts.request));
    }
    why
}

fn ended(facts: &Facts) -> Why {
    let request = &facts.request;
    let at = request.finished_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let by = request.worker.as_ref().map(|worker| format!(" by {worker}")).unwrap_or_default();
    let attempt = format!("in attempt {}{by}", request.attempts.max(1));
    let reason = match (request.status, &request.error) {
        (Status::Completed, _) => {
            Reason::new("completed", format!("It was completed{at}, {attempt}."))
        }
        (Status::Cancelled, _) => Reason::new("cancelled", format!("It was cancelled{at}.")),
        (_, Some(error)) => Reason::new(
            "failed",
            format!("It failed{at}, {attempt}: {} ({}).", error.message, error.code),
        ),
        _ => Reason::new("failed", format!("It failed{at}, {attempt}.")),
    };
    let callback = request.callback.as_ref().map(callback);
    Why::of([Some(reason), callback].into_iter().flatten().collect())
}

fn callback(callback: &Callback) -> Reason {
    let error = callback.last_error.as_ref();
    let error = error.map(|error| format!(", the last one failed: {error}")).unwrap_or_default();
    let attempts = counted(callback.attempts, "attempt was", "attempts were");
    match callback.status {
        CallbackStatus::Pending => {
            let next = callback.next_attempt_at;
            let next = next.map(|at| format!("; the next is at {at}")).unwrap_or_default();
            let text = format!("Its callback is pending: {attempts} made{error}{next}.");
            Reason::new("callback-pending", text)
        }
        CallbackStatus::Delivered => {
            Reason::new("callback-delivered", "Its callback was delivered.")
        }
        CallbackStatus::Failed => {
            let text = format!("Its callback was given up: {attempts} made{error}.");
            Reason::new("callback-failed", text)
        }
    }
}

fn in_work(job: &Job) -> Why {
    let worker = job.worker.as_deref().unwrap_or("A worker");
    let since = job.started_at.map(|at| format!(" since {at}")).unwrap_or_default();
    let progress = job.progress.as_ref();
    let percent = progress.and_then(|it| it.value).map(Progress::fraction);
    let percent = percent.map(|part| format!(", {:.0} % are done", part * 100.0));
    let message = progress.and_then(|it| it.message.as_ref()).map(|text| format!(" ({text})"));
    let text = format!(
        "{worker} works on it{since}, in attempt {}{}{}.",
        job.execution.attempt,
        percent.unwrap_or_default(),
        message.unwrap_or_default()
    );
    let suspect = job.is_suspect().then(|| {
        let text = format!(
            "It was delivered {} times in this attempt. Unless connections were lost, workers have died of it, and it runs \
             alone in its process.",
            job.execution.delivery
        );
        Reason::new("suspect", text)
    });
    Why::of([Some(Reason::new("in-work", text)), suspect].into_iter().flatten().collect())
}

fn earlier_failure(request: &Summary) -> Option<Reason> {
    let error = request.last_error.as_ref()?;
    Some(Reason::new("failed-before", format!("An earlier attempt failed: {error}.")))
}

#[cfg(test)]
mod tests {
    use pipeline::{contract::ErrorBody, topology::RequestType};

    use super::*;
    use crate::{
        events::jobs::job::{ExecutionId, Progress as JobProgress},
        why::samples::{at, facts, request, waits},
    };

    fn codes(facts: &Facts) -> Vec<&'static str> {
        why(facts).reasons.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn an_attempt_that_failed_before_is_told_once_the_next_one_is_due() {
        let retried = Summary {
            attempts: 2,
            last_error: Some("503 from upstream".into()),
            next_attempt_at: Some(at(90)),
            ..request(Status::Queued)
        };
        assert_eq!(codes(&facts(retried.clone())), ["waits-for-time"]);
        let due = Summary { next_attempt_at: Some(at(-1)), ..retried };
        assert_eq!(codes(&facts(due)), ["waits-for-worker", "failed-before"]);
    }

    #[test]
    fn work_on_it_is_told_with_its_worker_attempt_and_progress() {
        let job = |delivery| Job {
            request_type: RequestType::DEFAULT,
            execution: ExecutionId { run: 0, attempt: 2, delivery },
            worker: Some("a:1/1".into()),
            started_at: Some(at(-10)),
            progress: Some(JobProgress {
                value: Some(Progress::Fraction(0.4)),
                message: Some("page 4".into()),
                at: at(-1),
            }),
        };
        let told = why(&Facts { job: Some(job(1)), ..waits() });
        let expected = "a:1/1 works on it since 2023-11-14T22:13:10.000Z, in attempt 2, 40 % are done (page 4).";
        assert_eq!(told.reasons, [Reason::new("in-work", expected)]);
        assert_eq!(told.begins, None);
        assert_eq!(codes(&Facts { job: Some(job(3)), ..waits() }), ["in-work", "suspect"]);
    }

    #[test]
    fn what_has_ended_is_told_with_its_end_and_its_callback() {
        let mut failed = request(Status::Failed);
        failed.error = Some(ErrorBody::new("permanent", "no such invoice"));
        failed.attempts = 1;
        failed.finished_at = Some(at(-5));
        let told = why(&facts(failed.clone()));
        let expected =
            "It failed at 2023-11-14T22:13:15.000Z, in attempt 1: no such invoice (permanent).";
        assert_eq!(told.reasons, [Reason::new("failed", expected)]);
        failed.callback = Some(Callback {
            url: "https://a".into(),
            status: CallbackStatus::Pending,
            attempts: 3,
            last_error: Some("500".into()),
            next_attempt_at: Some(at(60)),
            delivered_at: None,
        });
        let told = why(&facts(failed.clone()));
        let expected = "Its callback is pending: 3 attempts were made, the last one failed: 500; \
            the next is at 2023-11-14T22:14:20.000Z.";
        assert_eq!(told.reasons[1], Reason::new("callback-pending", expected));
        assert_eq!(codes(&facts(request(Status::Cancelled))), ["cancelled"]);
        assert_eq!(codes(&facts(request(Status::Completed))), ["completed"]);
    }
}
