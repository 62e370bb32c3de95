//! The timeline of a request: its steps in their order, decided from what is stored and known of it.

use maud::{Markup, html};
use pipeline::contract::Timestamp;

use crate::{
    dashboard::format::{age, time},
    views::{
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
}

impl Step {
    fn new(kind: Kind, title: impl Into<String>, at: Option<Timestamp>) -> Self {
        Self { kind, title: title.into(), at, detail: None }
    }

    fn with(self, detail: Option<String>) -> Self {
        Self { detail, ..self }
    }
}

/// The steps of a request, the earliest first.
pub(super) fn steps(view: &RequestView) -> Vec<Step> {
    let mut steps = vec![match view.accepted_at {
        Some(at) => Step::new(Kind::Past, "Accepted", Some(at)),
        None => Step::new(Kind::Past, "Published by another program", None),
    }];
    if let Some(error) = &view.last_error {
        let attempt = failed_attempt(view);
        steps.push(Step::new(Kind::Bad, attempt, None).with(Some(error.clone())));
    }
    steps.extend(present(view));
    steps.extend(callback(view));
    steps
}

/// The attempt that has failed last, which was not the last one.
fn failed_attempt(view: &RequestView) -> String {
    match view.status {
        RequestStatus::Queued if view.attempts > 0 => format!("Attempt {} failed", view.attempts),
        _ if view.attempts > 1 => format!("Attempt {} failed", view.attempts - 1),
        _ => "An earlier run failed".to_owned(),
    }
}

/// What it does now, or how it ended.
fn present(view: &RequestView) -> Vec<Step> {
    let began = |kind| {
        let title = format!("Attempt {} began", view.attempts.max(1));
        view.started_at.map(|at| Step::new(kind, title, Some(at)).with(view.worker.clone()))
    };
    let end = match view.status {
        RequestStatus::Processing => return began(Kind::Now).into_iter().collect(),
        RequestStatus::Queued => {
            return vec![match view.next_attempt_at {
                Some(at) => Step::new(Kind::Next, "Next attempt", Some(at)),
                None => Step::new(Kind::Next, "Waits for a worker", None),
            }];
        }
        RequestStatus::Completed => Step::new(Kind::Past, "Completed", view.finished_at),
        RequestStatus::Cancelled => Step::new(Kind::Past, "Cancelled", view.finished_at),
        RequestStatus::Failed => Step::new(Kind::Bad, "Failed", view.finished_at)
            .with(view.error.as_ref().map(|error| error.code.clone())),
    };
    began(Kind::Past).into_iter().chain([end]).collect()
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
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use store::{Status, Summary};

    use super::*;
    use crate::samples;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + second * 1000)
    }

    fn summary(status: Status) -> Summary {
        Summary { accepted_at: Some(at(0)), ..samples::summary(status) }
    }

    fn titles(summary: Summary) -> Vec<String> {
        steps(&summary.into()).into_iter().map(|step| step.title).collect()
    }

    #[test]
    fn a_request_is_accepted_waits_begins_and_ends() {
        assert_eq!(titles(summary(Status::Queued)), ["Accepted", "Waits for a worker"]);
        let ended = Summary {
            attempts: 1,
            started_at: Some(at(1)),
            finished_at: Some(at(2)),
            ..summary(Status::Completed)
        };
        assert_eq!(titles(ended), ["Accepted", "Attempt 1 began", "Completed"]);
        let foreign = Summary { accepted_at: None, ..summary(Status::Cancelled) };
        assert_eq!(titles(foreign), ["Published by another program", "Cancelled"]);
    }

    #[test]
    fn a_failed_attempt_stands_before_the_next_one() {
        let waiting = Summary {
            attempts: 2,
            last_error: Some("no luck".into()),
            next_attempt_at: Some(at(9)),
            ..summary(Status::Queued)
        };
        let steps = steps(&waiting.into());
        assert_eq!(steps[1].detail.as_deref(), Some("no luck"));
        let titles: Vec<_> = steps.iter().map(|step| step.title.as_str()).collect();
        assert_eq!(titles, ["Accepted", "Attempt 2 failed", "Next attempt"]);
    }
}
