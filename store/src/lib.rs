//! Requests by id, in SQLite or PostgreSQL: the only crate that contains SQL.
//!
//! A [`Store`] puts commands into queues, from which a backend takes them: SQLite (one thread that
//! writes, a few that read) or PostgreSQL (a few connections). A backend takes all commands that wait in
//! a queue and executes them together, so concurrent callers share a commit, and a single caller waits
//! for nobody.
//!
//! The store may be unavailable for any length of time, also at the start. Meanwhile every call fails at
//! once; when it is back, calls succeed again. What was answered is on disk.
//!
//! To read it from the outside in: `model` has the data and the decisions, `operations` what a [`Store`]
//! can do, `queue` and `command` how a call reaches the backend, `backend` what that hands over, `sqlite`
//! and `postgres` the two backends, `sql` what their statements share.

mod backend;
mod command;
#[cfg(test)]
mod conformance;
mod error;
mod health;
mod metrics;
mod migrations;
mod model;
mod operations;
mod options;
mod postgres;
mod queue;
mod sql;
mod sqlite;

use std::{fmt, sync::Arc};

use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};

use crate::{backend::Backend, metrics::StoreMetrics};

pub use error::{BadUrl, StoreError};
pub use health::Health;
pub use model::{
    attempt::{Attempt, AttemptEnd, FoundAttempts, MAX_ATTEMPTS_TOLD},
    bulk_run::{BulkRun, BulkRunReport, LeaseBulkRuns, NewBulkRun, Reported},
    callback::{
        AttemptOutcome, AttemptReport, Callback, CallbackStatus, CallbackTarget, LeaseCallbacks,
        LeasedCallback, Leases,
    },
    count::{Count, MAX_COUNT},
    error_group::{BadGroupId, ErrorGroup, GroupId},
    error_pattern::error_pattern,
    filter::{BadIdPrefix, IdPrefix, RequestFilter},
    idempotency::{Claim, Claimed, IdempotencyKeyHash, ReleaseClaim},
    inspection::Inspection,
    open_request::OpenRequest,
    overview::{COUNT_LIMIT, OldestRequest, Overview},
    page::{BadCursor, Cursor, Page, RequestQuery},
    parked::{DeleteParked, NewParked, ParkedFilter, ParkedMessage, ParkedQuery},
    replay::{Discard, Replay},
    request::{
        Cancel, End, Ended, Found, NewRequest, Origin, Record, ScheduledRetry, Status, Summary,
    },
    retention::{Cleared, Expiry},
    retry_now::{AwaitedAttempt, BeginRetry, NoteRetry, Reissue},
    send_capacity::SendCapacity,
    stats::{Bucket, Counts, Stats, StatsRange, Totals},
    worker_result::{Applied, ResultOutcome, WorkerResult},
};
pub use options::StoreOptions;

/// A store of requests. Clones are the same store; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    options: StoreOptions,
    callback_due: Arc<Notify>,
    metrics: StoreMetrics,
}

impl Store {
    /// Opens the store that a `DATABASE_URL` names: `sqlite:FILE` or `postgres://...`. It is opened in
    /// the background, and tried again until that succeeds. Needs a Tokio runtime.
    ///
    /// # Errors
    /// Only if the URL names no store.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self, BadUrl> {
        Self::check_url(url)?;
        let backend = match url.starts_with("sqlite:") {
            true => sqlite::open(url, options)?,
            false => postgres::open(url, options)?,
        };
        Ok(Self {
            backend,
            options: options.clone(),
            callback_due: Arc::default(),
            metrics: StoreMetrics::default(),
        })
    }

    /// Checks whether a `DATABASE_URL` names a store, without opening it.
    ///
    /// # Errors
    /// The same as of [`Store::open`].
    pub fn check_url(url: &str) -> Result<(), BadUrl> {
        let options = StoreOptions::default();
        match url.split_once(':') {
            Some(("sqlite", _)) => sqlite::check_url(url, &options),
            Some(("postgres" | "postgresql", _)) => postgres::check_url(url, &options),
            _ => Err(BadUrl("it must begin with sqlite: or postgres://".to_owned())),
        }
    }

    /// The present health, and its changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.backend.health.subscribe()
    }

    /// Waits until the store answers.
    pub async fn until_up(&self) {
        self.backend.health.until(|health| *health == Health::Up).await;
    }

    /// How many commits were made so far. Beside the number of rows it shows how many share one.
    pub fn commits(&self) -> u64 {
        self.backend.health.commits()
    }

    /// Adds the metrics of the store to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Is notified after every operation here that may have made a callback due, also if the operation
    /// had no answer or had been done before: then an earlier answer was lost.
    pub fn callback_due(&self) -> Arc<Notify> {
        self.callback_due.clone()
    }

    /// Closes the store, if this is the last clone of it: waits until all connections are closed, but no
    /// longer than the timeout. A SQLite file is then complete without its log; without closing, nothing
    /// is lost either.
    pub async fn close(self) {
        self.backend.close(self.options.timeout).await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("health", &*self.health().borrow()).finish()
    }
}
