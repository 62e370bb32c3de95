//! A bulk run under lease: does batch after batch, and reports after each part of one.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pipeline::contract::Timestamp;
use store::{BulkRunReport, Reported, StoreError};
use tokio::time::{Instant, sleep};
use tracing::info;
use uuid::Uuid;

use crate::{
    api::{
        bulk_runs::{
            batch::{Phase, Step},
            plan::Selection,
            stored::{StoredRun, json},
        },
        http::problem::Problem,
        requests::list,
        state::State,
    },
    bulk_driver::{
        perform::{Ordered, perform},
        watching::{Watch, Watching},
    },
};

/// How long a run belongs to this web service after a report, beside the time that a part of a batch may take.
const MIN_LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long it waits while the broker or the store is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How often it is looked at which of the replayed requests have ended.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// How often it reports in the middle of a batch.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// How often it reports while it waits for the end of what it has replayed, and nothing changes: each report writes the whole
/// batch, and tells whether somebody has asked to stop.
const WAITING_REPORT_INTERVAL: Duration = Duration::from_secs(3);
/// How many requests it reads at once, and on how many it acts.
const PAGE_SIZE: usize = 500;
const CONCURRENCY: usize = 16;

/// A run that this web service does.
pub(super) struct LeasedRun {
    state: Arc<State>,
    run: StoredRun,
    lease: Uuid,
    /// Whether the rest of the batch may have been done already, after the last report of who had the run before.
    is_taken_over: bool,
    reported_at: Instant,
    watching: Watching,
    /// There while it watches.
    watch: Option<Watch>,
    /// What others have seen of it since.
    reported: Seen,
}

/// How many requests were changed, how many of them have ended, and why the run waits.
type Seen = (u64, u64, Option<String>);

/// Why it does not go on.
enum Left {
    /// The web service stops, or another one has the run.
    Elsewhere,
    StopAsked,
}

/// How long a run belongs to this web service after a report: longer than a part of a batch takes, which waits for the store
/// and then for the broker.
pub(super) fn lease_duration(state: &State) -> Duration {
    MIN_LEASE_DURATION + 2 * state.dispatch.timeout
}

/// What others see of a run while it waits.
fn seen(run: &StoredRun) -> Seen {
    (run.progress.done, run.progress.ended(), run.progress.trouble.clone())
}

impl LeasedRun {
    pub(super) fn new(state: Arc<State>, run: StoredRun, lease: Uuid, watching: Watching) -> Self {
        let is_taken_over = run.progress.items.iter().any(|item| !item.is_done);
        let reported = seen(&run);
        let reported_at = Instant::now();
        Self { state, run, lease, is_taken_over, reported_at, watching, watch: None, reported }
    }

    /// Goes on until the run is over, the service stops, or another one has the run.
    pub(super) async fn drive(mut self) {
        let (id, action) = (self.run.id, self.run.order.plan.action.name());
        let has_begun = self.run.progress.phase != Phase::Waiting;
        if self.run.is_stop_asked {
            return self.end(if has_begun { Phase::Aborted } else { Phase::Undone }).await;
        }
        if !has_begun {
            self.run.progress.phase = Phase::Running;
            info!(bulk = %id, action, count = self.run.order.count, "a bulk action begins");
        } else {
            info!(bulk = %id, action, "a bulk action goes on here");
        }
        loop {
            let step = self.run.progress.next(self.run.order.plan.is_canary);
            self.watch = match step {
                Step::Watch => self.watch.take().or_else(|| Some(self.watching.begin())),
                Step::Choose(_) | Step::Perform | Step::End(_) => None,
            };
            let pause = match step {
                Step::End(phase) => return self.end(phase).await,
                Step::Choose(count) => self.choose(count).await,
                Step::Perform => self.perform().await,
                Step::Watch => self.watch().await,
            };
            if self.is_report_due(step)
                && let Err(left) = self.report(false, lease_duration(&self.state)).await
            {
                match left {
                    Left::Elsewhere => return,
                    Left::StopAsked => return self.end(Phase::Aborted).await,
                }
            }
            if let Some(pause) = pause {
                let _stopped = self.state.drain.run_until_cancelled(sleep(pause)).await;
            }
            if self.state.drain.is_cancelled() {
                let _given_back = self.report(false, Duration::ZERO).await;
                return;
            }
        }
    }

    fn is_report_due(&self, step: Step) -> bool {
        let age = self.reported_at.elapsed();
        match step {
            Step::Perform => age > REPORT_INTERVAL || self.run.progress.trouble.is_some(),
            Step::Watch => age > WAITING_REPORT_INTERVAL || self.reported != seen(&self.run),
            Step::Choose(_) | Step::End(_) => true,
        }
    }

    /// Chooses the next requests of the batch. Returns how long to wait, if it failed.
    async fn choose(&mut self, count: usize) -> Option<Duration> {
        let chosen = match self.run.order.plan.selection.clone() {
            Selection::Ids(ids) => self.choose_ids(&ids, count).await,
            Selection::Filters(_) => self.choose_filtered(count).await,
        };
        self.run.progress.trouble = chosen.err().map(|problem| problem.detail().to_owned());
        self.run.progress.trouble.is_some().then_some(RETRY_INTERVAL)
    }

    async fn choose_ids(&mut self, ids: &[Uuid], count: usize) -> Result<(), Problem> {
        let progress = &mut self.run.progress;
        let some: Vec<_> = ids.iter().copied().skip(progress.taken).take(count).collect();
        let found = self.state.store.get_many(some.clone()).await?;
        let run = |id: Uuid| found.iter().find(|it| it.id == id).map_or(0, |it| it.run);
        progress.choose(some.iter().map(|id| (*id, run(*id))));
        progress.taken += some.len();
        progress.is_exhausted = progress.taken >= ids.len();
        Ok(())
    }

    async fn choose_filtered(&mut self, count: usize) -> Result<(), Problem> {
        let progress = &mut self.run.progress;
        let query = self.run.order.plan.query(count.min(PAGE_SIZE), progress.cursor.clone());
        let query = query.ok_or_else(|| Problem::wrong_query("There is no such filter."))?;
        let page = list::page_of(&self.state, query).await?;
        progress.choose(page.items.iter().map(|request| (request.request_id, request.run)));
        progress.is_exhausted = page.next_cursor.is_none();
        progress.cursor = page.next_cursor.or(progress.cursor.take());
        Ok(())
    }

    /// Does the action with some requests of the batch. Returns how long to wait, if the broker or the store is away.
    async fn perform(&mut self) -> Option<Duration> {
        let (plan, is_taken_over) = (&self.run.order.plan, self.is_taken_over);
        let at = self.run.meant_until();
        let items = self.run.progress.items.iter().filter(|item| !item.is_done);
        let items: Vec<_> = items.take(CONCURRENCY).copied().collect();
        let found = self.state.store.get_many(items.iter().map(|item| item.id).collect()).await;
        let outcomes = match found {
            Err(error) => {
                self.run.progress.trouble = Some(error.to_string());
                return Some(RETRY_INTERVAL);
            }
            Ok(found) => {
                let each = items.iter().map(async |item| {
                    let now = found.iter().find(|request| request.id == item.id);
                    let order = Ordered { action: plan.action, at, is_taken_over };
                    (item.id, perform(&self.state, order, *item, now).await)
                });
                join_all(each).await
            }
        };
        self.run.progress.trouble = None;
        let is_canary = plan.is_canary;
        for (id, outcome) in outcomes {
            self.run.progress.performed(id, outcome, is_canary);
        }
        self.is_taken_over &= self.run.progress.items.iter().any(|item| !item.is_done);
        self.run.progress.trouble.is_some().then_some(RETRY_INTERVAL)
    }

    /// Looks which of the replayed requests have ended, and returns how long to wait for the others.
    async fn watch(&mut self) -> Option<Duration> {
        let ids: Vec<_> = self.run.progress.items.iter().map(|item| item.id).collect();
        self.run.progress.trouble = None;
        for part in ids.chunks(PAGE_SIZE) {
            match self.state.store.get_many(part.to_vec()).await {
                Ok(found) => self.run.progress.watched(part, &found),
                Err(error) => {
                    self.run.progress.trouble = Some(error.to_string());
                    return Some(RETRY_INTERVAL);
                }
            }
        }
        Some(WATCH_INTERVAL)
    }

    async fn end(&mut self, phase: Phase) {
        self.run.progress.phase = phase;
        self.run.progress.ended_at = Some(Timestamp::now());
        self.run.progress.trouble = None;
        let progress = &self.run.progress;
        let (id, action, done, skipped) =
            (self.run.id, self.run.order.plan.action.name(), progress.done, progress.skipped);
        let (completed, failed) = (progress.completed, progress.failed);
        info!(bulk = %id, action, ?phase, done, skipped, completed, failed, "a bulk action has ended");
        let _ended = self.report(true, Duration::ZERO).await;
    }

    /// Reports, as often as it takes: nothing more is done before the store knows what was done.
    async fn report(&mut self, is_over: bool, due_in: Duration) -> Result<(), Left> {
        loop {
            let report = BulkRunReport {
                id: self.run.id,
                lease: self.lease,
                progress: json(&self.run.progress),
                is_over,
                due_in,
            };
            match self.state.store.report_bulk_run(report).await {
                Ok(Reported::GoOn) => break,
                Ok(Reported::StopAsked) => return Err(Left::StopAsked),
                Ok(Reported::NotLeased) | Err(StoreError::Refused(_)) => {
                    return Err(Left::Elsewhere);
                }
                Err(StoreError::Unavailable(_)) => {
                    let again = async {
                        sleep(REPORT_INTERVAL).await;
                        self.state.store.until_up().await;
                    };
                    if self.state.drain.run_until_cancelled(again).await.is_none() {
                        return Err(Left::Elsewhere);
                    }
                }
            }
        }
        (self.reported_at, self.reported) = (Instant::now(), seen(&self.run));
        Ok(())
    }
}
