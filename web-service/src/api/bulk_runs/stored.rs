//! Bulk runs in the store: begins one, and reads them.

use std::time::Duration;

use pipeline::contract::Timestamp;
use serde::{Deserialize, Serialize};
use store::{BulkRun, Cursor, NewBulkRun};
use uuid::Uuid;

use crate::api::{
    bulk_runs::{
        plan::{Plan, Preview, Seen},
        progress::Progress,
    },
    http::{problem::Problem, problem_type::ProblemType},
    state::State,
};

/// A plan with what its dry run has found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub(crate) plan: Plan,
    /// How many requests there were.
    pub(crate) count: u32,
    /// Whether there may have been more.
    pub(crate) is_capped: bool,
    /// When the dry run was. None if another release has written it.
    #[serde(default)]
    pub(crate) seen_at: Option<Timestamp>,
}

/// A run with its plan and its progress.
#[derive(Debug)]
pub(crate) struct StoredRun {
    pub(crate) id: Uuid,
    pub(crate) order: Order,
    pub(crate) progress: Progress,
    pub(crate) is_stop_asked: bool,
    pub(crate) created_at: Timestamp,
}

impl StoredRun {
    /// What has failed later is not meant: nobody had seen it when the run was ordered.
    pub(crate) fn meant_until(&self) -> Timestamp {
        self.order.seen_at.unwrap_or(self.created_at)
    }

    /// The run, unless another release has written it in another form.
    pub(crate) fn read(run: &BulkRun) -> serde_json::Result<Self> {
        Ok(Self {
            id: run.id,
            order: serde_json::from_str(&run.plan)?,
            progress: serde_json::from_str(&run.progress)?,
            is_stop_asked: run.is_stop_asked,
            created_at: run.created_at,
        })
    }
}

/// Begins a run for the requests of a plan that were `seen`, after a time in which it can be undone. The same order with the same id
/// begins one run only.
///
/// # Errors
/// 422 if the id is that of a run with another plan, 503 if the store is unavailable.
pub(crate) async fn begin(
    state: &State,
    id: Uuid,
    plan: Plan,
    preview: &Preview,
    seen: Seen,
    due_in: Duration,
) -> Result<StoredRun, Problem> {
    let Preview { count, is_capped, .. } = *preview;
    let order = Order { plan, count, is_capped, seen_at: Some(seen.at) };
    let above = seen.newest.map(|id| Uuid::from_u128(id.as_u128().saturating_add(1)));
    let cursor = above.map(|id| Cursor::after(id).to_string());
    let progress = Progress::beginning(Timestamp::now() + due_in, cursor);
    let run = NewBulkRun { id, plan: json(&order), progress: json(&progress), due_in };
    state.store.begin_bulk_run(run).await?;
    state.bulk_run_due.notify_one();
    match get(state, id).await? {
        Some(stored) if stored.order.plan == order.plan => Ok(stored),
        _ => Err(Problem::new(
            ProblemType::RunIdReused,
            format!("{id} is the runId of another action: use a new one for a new action."),
        )),
    }
}

/// The run with this id.
///
/// # Errors
/// 503 if the store is unavailable.
pub(crate) async fn get(state: &State, id: Uuid) -> Result<Option<StoredRun>, Problem> {
    let run = state.store.bulk_run(id).await?;
    Ok(run.and_then(|run| StoredRun::read(&run).ok()))
}

/// The latest runs, so many at most.
///
/// # Errors
/// 503 if the store is unavailable.
pub(crate) async fn latest(state: &State, limit: u32) -> Result<Vec<StoredRun>, Problem> {
    let runs = state.store.bulk_runs(limit).await?;
    Ok(runs.iter().filter_map(|run| StoredRun::read(run).ok()).collect())
}

/// Asks to stop a run, before it begins or in the middle.
///
/// # Errors
/// 503 if the store is unavailable.
pub(crate) async fn stop(state: &State, id: Uuid) -> Result<(), Problem> {
    state.store.stop_bulk_run(id).await?;
    state.bulk_run_due.notify_one();
    Ok(())
}

/// Any of these as JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists are always JSON")
}
