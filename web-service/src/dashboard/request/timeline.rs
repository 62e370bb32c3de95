//! The timeline of a request: its steps in their order, decided from what is stored and known of it.

use maud::{Markup, html};
use pipeline::contract::Timestamp;

use crate::{
    dashboard::format::{age, duration, time},
    views::{
        attempt::{AttemptOutcome, AttemptView},
        callback::CallbackStatus,
        request::{RequestStatus, RequestView},
    },
};

/// What a step means for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is over.
    Past,
    /// It happens now.
    Now,
    /// It is awaited.
    Next,
    /// Something failed.
    Bad,
}

/// A step of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) title: String,
    pub(super) at: Option<Timestamp>,
    pub(super) detail: Option<String>,
    /// The code and the message of what failed.
    pub(super) error: Option<(String, String)>,
}

impl Step {
    fn new(kind: Kind, title: impl Into<String>, at: Option<Timestamp>) -> Self {
        Self { kind, title: title.into(), at, detail: None, error: None }
    }

    fn with(self, detail: Option<String>) -> Self {
        Self { detail, ..self }
    }
}

/// The steps of a request with these attempts, the earliest first.
pub(super) fn steps(view: &RequestView, attempts: &[AttemptView]) -> Vec<Step> {
    let accepted = match view.accepted_at {
        Some(at) => Step::new(Kind::Past, "Accepted", Some(at)),
        None => Step::new(Kind::Past, "Published by another program", None),
    };
    let mut run = attempts.first().map_or(view.run, |first| first.run);
    let mut steps = vec![accepted];
    for attempt in attempts {
        if attempt.run > run {
            run = attempt.run;
            steps.push(Step::new(Kind::Past, format!("Run {run}: replayed, or retried now"), None));
        }
        steps.push(step(attempt));
    }
    steps.extend(present(view, attempts));
    steps.extend(callback(view));
    steps
}

fn step(attempt: &AttemptView) -> Step {
    let (kind, how) = match attempt.outcome {
        AttemptOutcome::Running => (Kind::Now, "is running"),
        AttemptOutcome::Completed => (Kind::Past, "completed"),
        AttemptOutcome::Failed => (Kind::Bad, "failed"),
        AttemptOutcome::Timeout => (Kind::Bad, "took too long"),
        AttemptOutcome::GivenUp => (Kind::Bad, "was given up"),
    };
    let took = attempt.started_at.zip(attempt.ended_at);
    let took = took.map(|(start, end)| duration(end.saturating_duration_since(start)));
    let delivery = (attempt.delivery > 1).then(|| format!("delivery {}", attempt.delivery));
    let words: Vec<_> = [attempt.worker.clone(), took, delivery].into_iter().flatten().collect();
    Step {
        kind,
        title: format!("Attempt {} {how}", attempt.attempt),
        at: attempt.ended_at.or(attempt.started_at),
        detail: Some(words.join(", ")).filter(|words| !words.is_empty()),
        error: attempt.error.as_ref().map(|error| (error.code.clone(), error.message.clone())),
    }
}

/// What it waits for, or how it ended.
fn present(view: &RequestView, attempts: &[AttemptView]) -> Option<Step> {
    let is_told = |outcome| {
        attempts.last().is_some_and(|last| last.outcome == outcome && last.run == view.run)
    };
    match view.status {
        RequestStatus::Processing if is_told(AttemptOutcome::Running) => None,
        RequestStatus::Processing => Some(Step::new(Kind::Now, "In work", view.started_at)),
        RequestStatus::Queued => Some(match view.waits_until() {
            Some(at) => Step::new(Kind::Next, "Next attempt", Some(at)),
            None => Step::new(Kind::Next, "Waits for a worker", None),
        }),
        RequestStatus::Completed if is_told(AttemptOutcome::Completed) => None,
        RequestStatus::Completed => Some(Step::new(Kind::Past, "Completed", view.finished_at)),
        RequestStatus::Cancelled => Some(Step::new(Kind::Past, "Cancelled", view.finished_at)),
        RequestStatus::Failed => Some(
            Step::new(Kind::Bad, "Failed", view.finished_at)
                .with(view.error.as_ref().map(|error| error.code.clone())),
        ),
    }
}

fn callback(view: &RequestView) -> Option<Step> {
    let callback = view.callback.as_ref()?;
    Some(match callback.status {
        CallbackStatus::Delivered => {
            Step::new(Kind::Past, "Callback delivered", callback.delivered_at)
        }
        CallbackStatus::Failed => {
            Step::new(Kind::Bad, "Callback given up", None).with(callback.last_error.clone())
        }
        CallbackStatus::Pending => Step::new(Kind::Next, "Callback", callback.next_attempt_at)
            .with(callback.last_error.clone()),
    })
}

/// The timeline as HTML.
pub(super) fn markup(steps: &[Step]) -> Markup {
    html! {
        ol.timeline {
            @for step in steps {
                li class=(match step.kind { Kind::Past => "past", Kind::Now => "now", Kind::Next => "next", Kind::Bad => "bad" }) {
                    span.what { (step.title) }
                    @if let Some(at) = step.at {
                        span.when { (time(at)) @if step.kind == Kind::Now { ", " (age(at)) } }
                    }
                    @if let Some(detail) = &step.detail { span.detail { (detail) } }
                    @if let Some((code, message)) = &step.error { span.detail { b.code { (code) } " " (message) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::{Status, Summary};

    use super::*;
    use crate::samples;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + second * 1000)
    }

    fn summary(status: Status) -> Summary {
        Summary { accepted_at: Some(at(0)), ..samples::summary(status) }
    }

    fn attempt(run: u32, attempt: u32, outcome: AttemptOutcome) -> AttemptView {
        AttemptView {
            run,
            attempt,
            delivery: 1,
            outcome,
            worker: Some("a:1/1".into()),
            started_at: Some(at(1)),
            ended_at: Some(at(3)),
            error: None,
            next_attempt_at: None,
        }
    }

    fn titles(summary: Summary, attempts: &[AttemptView]) -> Vec<String> {
        steps(&summary.into(), attempts).into_iter().map(|step| step.title).collect()
    }

    #[test]
    fn a_request_is_accepted_waits_and_ends() {
        assert_eq!(titles(summary(Status::Queued), &[]), ["Accepted", "Waits for a worker"]);
        let attempts = [attempt(0, 1, AttemptOutcome::Completed)];
        assert_eq!(
            titles(summary(Status::Completed), &attempts),
            ["Accepted", "Attempt 1 completed"]
        );
        let foreign = Summary { accepted_at: None, ..summary(Status::Cancelled) };
        assert_eq!(titles(foreign, &[]), ["Published by another program", "Cancelled"]);
    }

    #[test]
    fn attempts_stand_in_their_order_with_what_follows() {
        let attempts = [
            attempt(0, 1, AttemptOutcome::Failed),
            attempt(0, 2, AttemptOutcome::Timeout),
            attempt(1, 1, AttemptOutcome::Failed),
        ];
        let retried =
            |next| Summary { run: 1, next_attempt_at: Some(next), ..summary(Status::Queued) };
        let waiting = retried(Timestamp::now() + Duration::from_secs(60));
        let expected = [
            "Accepted",
            "Attempt 1 failed",
            "Attempt 2 took too long",
            "Run 1: replayed, or retried now",
            "Attempt 1 failed",
            "Next attempt",
        ];
        assert_eq!(titles(waiting, &attempts), expected);
        assert_eq!(titles(retried(at(9)), &attempts)[5], "Waits for a worker", "it is due");
        let steps = steps(&summary(Status::Failed).into(), &attempts[..1]);
        assert_eq!(steps[1].detail.as_deref(), Some("a:1/1, 2.0 s"));
    }
}
