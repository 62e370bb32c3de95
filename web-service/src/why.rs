//! Why a request has not ended, or how it has: reasons in their order, and when its work may begin. Pure decisions.

use std::time::Duration;

use pipeline::{
    contract::{Progress, Timestamp},
    health::QueueCounts,
};
use store::{Callback, CallbackStatus, Status, Summary};

use crate::events::jobs::job::Job;

/// What is known of the system when somebody asks for a request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The present time.
    pub now: Timestamp,
    /// The request.
    pub request: Summary,
    /// The work on it, if a worker claims it.
    pub job: Option<Job>,
    /// Why the broker can't be used, if so.
    pub broker_away: Option<String>,
    /// What was counted in the queue of requests; none if it is not known.
    pub queue: Option<QueueCounts>,
    /// How many open requests were accepted before it and are not worked on; none if it is not known.
    pub before: Option<u32>,
    /// How many requests ended in a second lately.
    pub ended_per_second: Option<f64>,
    /// The work of all workers, as far as they have told.
    pub work: WorkInHand,
}

/// What the workers do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkInHand {
    /// How many work on a request.
    pub busy: usize,
    /// When the work began that goes on for the longest time.
    pub longest_since: Option<Timestamp>,
    /// How many work on a request of which workers may have died.
    pub suspects: usize,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The reasons, the most important first. There is always one.
    pub reasons: Vec<Reason>,
    /// When the work may begin; none if it has begun, or that can't be told.
    pub begins: Option<Begins>,
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For programs.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// When the work may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begins {
    /// The time.
    pub at: Timestamp,
    /// Whether it follows from the rate of the last minute. Else it is the time that the request waits for.
    pub is_estimate: bool,
}

/// How long a message may be on its way before its queue is looked at.
const ON_THE_WAY: Duration = Duration::from_secs(10);
/// From which delivery on a request runs alone, since two workers may have died of it.
pub const SUSPECT_DELIVERY: u32 = 3;
/// An estimate beyond this is none.
const MAX_ESTIMATE: Duration = Duration::from_secs(7 * 24 * 3600);

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

impl Reason {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl Why {
    fn of(reasons: Vec<Reason>) -> Self {
        Self { reasons, begins: None }
    }
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
    let attempts = callback.attempts;
    match callback.status {
        CallbackStatus::Pending => {
            let next = callback.next_attempt_at;
            let next = next.map(|at| format!("; the next is at {at}")).unwrap_or_default();
            let text =
                format!("Its callback is pending: {attempts} attempts were made{error}{next}.");
            Reason::new("callback-pending", text)
        }
        CallbackStatus::Delivered => {
            Reason::new("callback-delivered", "Its callback was delivered.")
        }
        CallbackStatus::Failed => {
            let text = format!("Its callback was given up: {attempts} attempts were made{error}.");
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
    let suspect = (job.execution.delivery >= SUSPECT_DELIVERY).then(|| {
        let text = format!(
            "It was delivered {} times in this attempt, so workers may have died of it: it runs alone in its process.",
            job.execution.delivery
        );
        Reason::new("suspect", text)
    });
    Why::of([Some(Reason::new("in-work", text)), suspect].into_iter().flatten().collect())
}

fn waiting(facts: &Facts) -> Why {
    let request = &facts.request;
    let away = facts.broker_away.as_ref().map(|reason| {
        let text = format!(
            "The broker is away: {reason}. The request is stored, and goes on when the broker is back."
        );
        Reason::new("broker-away", text)
    });
    if let Some(at) = request.next_attempt_at.filter(|at| *at > facts.now) {
        let error = request.last_error.as_ref();
        let error = error.map(|error| format!(": {error}")).unwrap_or_default();
        let (attempts, next) = (request.attempts, request.attempts.saturating_add(1));
        let text = format!("Attempt {attempts} failed{error}. Attempt {next} begins at {at}.");
        let reasons = [away, Some(Reason::new("waits-for-time", text))];
        let begins = facts.broker_away.is_none().then_some(Begins { at, is_estimate: false });
        return Why { reasons: reasons.into_iter().flatten().collect(), begins };
    }
    match (away, facts.queue) {
        (Some(away), _) => Why::of(vec![away]),
        (None, None) => Why::of(vec![Reason::new(
            "not-known",
            "It waits for a worker. What the queue holds is not known at present.",
        )]),
        (None, Some(queue)) => waits_for_worker(facts, queue),
    }
}

fn waits_for_worker(facts: &Facts, queue: QueueCounts) -> Why {
    let QueueCounts { waiting, consumers } = queue;
    let request = &facts.request;
    let since = request.next_attempt_at.or(request.accepted_at);
    let is_old = since.is_some_and(|at| facts.now.saturating_duration_since(at) > ON_THE_WAY);
    // When a later run was published is not known.
    let is_due = is_old && request.run == 0;
    let WorkInHand { busy, suspects, .. } = facts.work;
    if consumers == 0 && suspects > 0 {
        let text = format!(
            "No worker takes requests at present: {suspects} of {busy} works alone in its process on a request of which \
             workers may have died."
        );
        return Why::of(vec![Reason::new("workers-paused", text)]);
    }
    if consumers == 0 && busy == 0 {
        let text =
            format!("No worker consumes requests, and {waiting} wait: start processor-service.");
        return Why::of(vec![Reason::new("no-worker", text)]);
    }
    if waiting == 0 && is_due {
        let text = "The queue is empty, and no worker reports this request: its message may be missing, which slowlane \
            verify finds out.";
        return Why::of(vec![Reason::new("may-be-missing", text)]);
    }
    let ahead = ahead(facts, waiting);
    let longest = facts.work.longest_since;
    let longest = longest.map(|at| format!(", the longest since {at}")).unwrap_or_default();
    let rate = facts.ended_per_second.filter(|rate| *rate > 0.0);
    let pace = rate.map(|rate| format!(" About {} end in a minute.", rounded(rate * 60.0)));
    let text = format!(
        "It waits for a free worker: {} before it. {} requests, {} known to be busy{longest}.{}",
        counted(ahead, "request waits", "requests wait"),
        counted(consumers, "worker consumes", "workers consume"),
        counted(u32::try_from(busy).unwrap_or(u32::MAX), "is", "are"),
        pace.unwrap_or_default()
    );
    let begins = rate.and_then(|rate| estimate(facts.now, ahead, rate));
    Why { reasons: vec![Reason::new("waits-for-worker", text)], begins }
}

fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// How many requests wait before this one, as far as it can be told. A later attempt or run stands behind those that
/// were accepted after it.
fn ahead(facts: &Facts, waiting: u32) -> u32 {
    let request = &facts.request;
    let is_first = request.run == 0 && request.attempts == 0;
    let others = waiting.saturating_sub(1);
    facts.before.filter(|_| is_first).map_or(others, |before| before.min(others))
}

fn estimate(now: Timestamp, ahead: u32, per_second: f64) -> Option<Begins> {
    let wait = Duration::try_from_secs_f64(f64::from(ahead.saturating_add(1)) / per_second).ok()?;
    (wait <= MAX_ESTIMATE).then(|| Begins { at: now + wait, is_estimate: true })
}

fn rounded(count: f64) -> String {
    if count < 10.0 { format!("{count:.1}") } else { format!("{count:.0}") }
}

fn earlier_failure(request: &Summary) -> Option<Reason> {
    let error = request.last_error.as_ref()?;
    Some(Reason::new("failed-before", format!("An earlier attempt failed: {error}.")))
}

#[cfg(test)]
mod tests {
    use pipeline::contract::ErrorBody;
    use uuid::Uuid;

    use super::*;
    use crate::events::jobs::job::{ExecutionId, Progress as JobProgress};

    const NOW: i64 = 1_700_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(NOW + seconds * 1000)
    }

    fn request(status: Status) -> Summary {
        Summary {
            id: Uuid::nil(),
            status,
            kind: "default".into(),
            owner: None,
            run: 0,
            attempts: 0,
            deliveries: 0,
            accepted_at: Some(at(-60)),
            started_at: None,
            finished_at: None,
            worker: None,
            error: None,
            last_error: None,
            next_attempt_at: None,
            callback: None,
        }
    }

    fn facts(request: Summary) -> Facts {
        Facts {
            now: at(0),
            request,
            job: None,
            broker_away: None,
            queue: Some(QueueCounts { waiting: 40, consumers: 4 }),
            before: Some(9),
            ended_per_second: Some(2.0),
            work: WorkInHand { busy: 4, longest_since: Some(at(-30)), suspects: 0 },
        }
    }

    fn waits() -> Facts {
        facts(request(Status::Queued))
    }

    fn codes(facts: &Facts) -> Vec<&'static str> {
        why(facts).reasons.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn a_request_that_waits_for_a_worker_has_a_place_and_an_estimate() {
        let told = why(&waits());
        let expected = "It waits for a free worker: 9 requests wait before it. 4 workers consume requests, 4 are known to \
            be busy, the longest since 2023-11-14T22:12:50.000Z. About 120 end in a minute.";
        assert_eq!(told.reasons, [Reason::new("waits-for-worker", expected)]);
        assert_eq!(told.begins, Some(Begins { at: at(5), is_estimate: true }));
        // Later attempts and runs stand behind those that came after.
        let again = Summary { run: 1, ..request(Status::Queued) };
        let told = why(&facts(again));
        assert!(told.reasons[0].text.contains("39 requests wait before it"), "{told:?}");
        assert_eq!(told.begins.unwrap().at, at(20));
        let unknown = Facts { ended_per_second: Some(0.0), ..waits() };
        assert_eq!(why(&unknown).begins, None);
        assert_eq!(why(&Facts { ended_per_second: None, ..waits() }).begins, None);
        assert_eq!(why(&Facts { ended_per_second: Some(1e-6), ..waits() }).begins, None);
    }

    #[test]
    fn without_workers_nothing_is_estimated() {
        let none = Some(QueueCounts { waiting: 40, consumers: 0 });
        let idle = Facts { queue: none, work: WorkInHand::default(), ..waits() };
        assert_eq!((codes(&idle), why(&idle).begins), (vec!["no-worker"], None));
        let suspects = WorkInHand { busy: 1, suspects: 1, longest_since: None };
        let paused = Facts { queue: none, work: suspects, ..waits() };
        assert_eq!((codes(&paused), why(&paused).begins), (vec!["workers-paused"], None));
        // They may be between two requests.
        assert_eq!(codes(&Facts { queue: none, ..waits() }), ["waits-for-worker"]);
    }

    #[test]
    fn a_request_that_is_in_no_queue_may_be_missing() {
        let empty = Some(QueueCounts { waiting: 0, consumers: 4 });
        assert_eq!(codes(&Facts { queue: empty, ..waits() }), ["may-be-missing"]);
        let fresh = Summary { accepted_at: Some(at(-1)), ..request(Status::Queued) };
        assert_eq!(codes(&Facts { queue: empty, ..facts(fresh) }), ["waits-for-worker"]);
    }

    #[test]
    fn a_broker_that_is_away_is_the_reason() {
        let away = Facts { broker_away: Some("connection refused".into()), ..waits() };
        assert_eq!((codes(&away), why(&away).begins), (vec!["broker-away"], None));
        assert!(why(&away).reasons[0].text.contains("connection refused"));
        assert_eq!(codes(&Facts { queue: None, ..waits() }), ["not-known"]);
    }

    #[test]
    fn a_request_that_waits_for_its_next_attempt_begins_at_its_time() {
        let retried = Summary {
            attempts: 2,
            last_error: Some("503 from upstream".into()),
            next_attempt_at: Some(at(90)),
            ..request(Status::Queued)
        };
        let told = why(&facts(retried.clone()));
        let expected =
            "Attempt 2 failed: 503 from upstream. Attempt 3 begins at 2023-11-14T22:14:50.000Z.";
        assert_eq!(told.reasons, [Reason::new("waits-for-time", expected)]);
        assert_eq!(told.begins, Some(Begins { at: at(90), is_estimate: false }));
        let away = Facts { broker_away: Some("x".into()), ..facts(retried.clone()) };
        assert_eq!(
            (codes(&away), why(&away).begins),
            (vec!["broker-away", "waits-for-time"], None)
        );
        let due = Summary { next_attempt_at: Some(at(-1)), ..retried };
        assert_eq!(codes(&facts(due)), ["waits-for-worker", "failed-before"]);
    }

    #[test]
    fn work_on_it_is_told_with_its_worker_attempt_and_progress() {
        let job = |delivery| Job {
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
