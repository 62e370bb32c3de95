//! Runs of bulk actions: each begins after some seconds, in which it can be undone, and does one request after the other.
//!
//! They are kept in memory: a run ends with its web service, and what it has done stays done.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{ResponseError, http::StatusCode, web};
use futures_util::{StreamExt, stream};
use pipeline::contract::Timestamp;
use store::Cursor;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

use crate::{
    api::{http::problem::Problem, requests::list, state::State},
    dashboard::{
        actions::{Action, perform},
        bulk::plan::{Plan, Selection},
    },
};

/// How long a run can be undone before it begins.
const UNDO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it waits while the broker or the store is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How many requests it reads at once, and how many it works on.
const PAGE_SIZE: usize = 100;
const CONCURRENCY: usize = 8;
/// How many runs are remembered.
const MAX_RUNS: usize = 50;

/// The runs of this web service.
#[derive(Default)]
pub(crate) struct BulkRuns(Mutex<VecDeque<Arc<BulkRun>>>);

/// A run.
pub(in crate::dashboard) struct BulkRun {
    pub(in crate::dashboard) id: Uuid,
    pub(in crate::dashboard) plan: Plan,
    /// How many requests the dry run found.
    pub(in crate::dashboard) count: u32,
    pub(in crate::dashboard) is_capped: bool,
    progress: Mutex<Progress>,
    stop: CancellationToken,
}

/// How far a run is.
#[derive(Debug, Clone)]
pub(in crate::dashboard) struct Progress {
    pub(in crate::dashboard) phase: Phase,
    pub(in crate::dashboard) begins_at: Timestamp,
    /// How many requests it has changed.
    pub(in crate::dashboard) done: u64,
    /// How many it left as they were, since they had changed meanwhile.
    pub(in crate::dashboard) skipped: u64,
    /// Why it waits, if it does.
    pub(in crate::dashboard) trouble: Option<String>,
}

/// What a run does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dashboard) enum Phase {
    Waiting,
    Running,
    Finished,
    Undone,
    Aborted,
}

impl Phase {
    /// Whether it does nothing any more.
    pub(in crate::dashboard) fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Undone | Self::Aborted)
    }
}

impl BulkRuns {
    /// Begins a run for the requests of a plan up to `newest`, and returns its id.
    pub(in crate::dashboard) fn begin(
        &self,
        plan: Plan,
        count: u32,
        is_capped: bool,
        newest: Option<Uuid>,
        state: web::Data<State>,
    ) -> Uuid {
        let progress = Progress {
            phase: Phase::Waiting,
            begins_at: Timestamp::now() + UNDO_TIMEOUT,
            done: 0,
            skipped: 0,
            trouble: None,
        };
        let (id, stop) = (Uuid::now_v7(), state.drain.child_token());
        let run = BulkRun { id, plan, count, is_capped, progress: Mutex::new(progress), stop };
        let run = Arc::new(run);
        let mut runs = self.runs();
        runs.push_front(run.clone());
        runs.truncate(MAX_RUNS);
        drop(runs);
        actix_web::rt::spawn(run.run(newest, state));
        id
    }

    /// The run with this id, if it is remembered.
    pub(in crate::dashboard) fn get(&self, id: Uuid) -> Option<Arc<BulkRun>> {
        self.runs().iter().find(|run| run.id == id).cloned()
    }

    fn runs(&self) -> MutexGuard<'_, VecDeque<Arc<BulkRun>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BulkRun {
    /// How far it is.
    pub(in crate::dashboard) fn progress(&self) -> Progress {
        self.locked().clone()
    }

    /// Undoes it before it begins, or aborts it. What it is doing at the moment is still done.
    pub(in crate::dashboard) fn stop(&self) {
        self.stop.cancel();
    }

    async fn run(self: Arc<Self>, newest: Option<Uuid>, state: web::Data<State>) {
        let (id, action, count) = (self.id, self.plan.action.name(), self.count);
        let waited = self.stop.run_until_cancelled(sleep(UNDO_TIMEOUT)).await;
        if waited.is_none() {
            self.enter(Phase::Undone);
            return;
        }
        info!(bulk = %id, action, count, "a bulk action begins");
        self.enter(Phase::Running);
        let finished = match &self.plan.selection {
            Selection::Ids(ids) => self.perform_all(ids.clone(), &state).await,
            Selection::Filters(_) => self.perform_filtered(newest, &state).await,
        };
        self.enter(if finished { Phase::Finished } else { Phase::Aborted });
        let Progress { done, skipped, .. } = self.progress();
        info!(bulk = %id, action, done, skipped, finished, "a bulk action has ended");
    }

    /// Does page after page of what the filters choose, the newest first. Returns false if it was aborted.
    async fn perform_filtered(&self, newest: Option<Uuid>, state: &web::Data<State>) -> bool {
        let after_newest = newest.map(|id| Uuid::from_u128(id.as_u128().saturating_add(1)));
        let mut cursor = after_newest.map(|id| Cursor::after(id).to_string());
        loop {
            let Some(query) = self.plan.query(PAGE_SIZE, cursor.clone()) else { return true };
            let page = match list::page_of(state, query).await {
                Ok(page) => page,
                Err(problem) => match self.wait(&problem).await {
                    true => continue,
                    false => return false,
                },
            };
            let ids = page.items.iter().map(|request| request.request_id).collect();
            if !self.perform_all(ids, state).await {
                return false;
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return true,
            }
        }
    }

    /// Does it with these requests, some at the same time. Returns false if it was aborted.
    async fn perform_all(&self, ids: Vec<Uuid>, state: &web::Data<State>) -> bool {
        let each = stream::iter(ids).map(|id| self.perform_one(self.plan.action, id, state));
        each.buffer_unordered(CONCURRENCY).all(std::future::ready).await
    }

    /// Does it with a request, as often as it takes. Returns false if it was aborted.
    async fn perform_one(&self, action: Action, id: Uuid, state: &web::Data<State>) -> bool {
        loop {
            if self.stop.is_cancelled() {
                return false;
            }
            match perform(action, id.to_string(), state.clone()).await {
                Ok(()) => {
                    let mut progress = self.locked();
                    progress.done += 1;
                    progress.trouble = None;
                    return true;
                }
                Err(problem) if problem.status_code() == StatusCode::SERVICE_UNAVAILABLE => {
                    if !self.wait(&problem).await {
                        return false;
                    }
                }
                Err(_) => {
                    self.locked().skipped += 1;
                    return true;
                }
            }
        }
    }

    /// Waits before the next attempt. Returns false if it was aborted.
    async fn wait(&self, problem: &Problem) -> bool {
        self.locked().trouble = Some(problem.detail().to_owned());
        self.stop.run_until_cancelled(sleep(RETRY_INTERVAL)).await.is_some()
    }

    fn enter(&self, phase: Phase) {
        self.locked().phase = phase;
    }

    fn locked(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
