//! An attempt at a request as JSON.

use pipeline::contract::{ErrorBody, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{events::jobs::job::Job, views::failure::Failure};
use store::{Attempt, AttemptEnd};

/// An attempt at a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
pub(crate) struct AttemptView {
    /// 0, and one more for each replay and each retry now.
    pub(crate) run: u32,
    /// From 1.
    pub(crate) attempt: u32,
    /// Which delivery of the attempt it was, from 1: more if workers were lost before.
    pub(crate) delivery: u32,
    pub(crate) outcome: AttemptOutcome,
    /// `host:pid/slot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub(crate) worker: Option<String>,
    /// By the worker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// By the worker's clock, else by the store's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Failure)]
    pub(crate) error: Option<Failure>,
    /// When the next attempt was to begin, if one followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) next_attempt_at: Option<Timestamp>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AttemptOutcome {
    /// It has not ended.
    Running,
    Completed,
    Failed,
    /// It took longer than `JOB_TIMEOUT`.
    Timeout,
    /// Its message was given up (`poison`, `delivery_limit`, `expired`): no worker has said that it failed.
    GivenUp,
}

impl AttemptView {
    /// The attempt that a worker is working on.
    pub(crate) fn running(job: &Job) -> Self {
        Self {
            run: job.execution.run,
            attempt: job.execution.attempt,
            delivery: job.execution.delivery,
            outcome: AttemptOutcome::Running,
            worker: job.worker.clone(),
            started_at: job.started_at,
            ended_at: None,
            error: None,
            next_attempt_at: None,
        }
    }

    /// Whether it is an execution of the same attempt.
    pub(crate) fn is_same_attempt(&self, other: &Self) -> bool {
        (self.run, self.attempt) == (other.run, other.attempt)
    }
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            run: attempt.run,
            attempt: attempt.attempt,
            delivery: attempt.delivery,
            outcome: attempt.end().into(),
            worker: attempt.worker,
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            error: attempt.error.map(|error: ErrorBody| error.into()),
            next_attempt_at: attempt.next_attempt_at,
        }
    }
}

impl From<AttemptEnd> for AttemptOutcome {
    fn from(end: AttemptEnd) -> Self {
        match end {
            AttemptEnd::Completed => Self::Completed,
            AttemptEnd::Failed => Self::Failed,
            AttemptEnd::TimedOut => Self::Timeout,
            AttemptEnd::GivenUp => Self::GivenUp,
        }
    }
}
