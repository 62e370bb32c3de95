//! Where requests live by id: the only place that knows SQL.
//!
//! [`Store`] is a front that puts commands into queues. Behind them works either SQLite (one thread
//! that writes, a few that read) or PostgreSQL (a few connections). Whoever works takes all that
//! waits in its queue and does it in one go, so callers that ask at the same time share a commit,
//! and a single one waits for nobody.
//!
//! The store may go away for as long as it likes, also at the start. Meanwhile every call fails at
//! once; when it is back, calls succeed again. What was answered is on disk.

mod asking;
mod callbacks;
mod claim;
mod command;
#[cfg(test)]
mod conformance;
mod ending;
mod error;
mod failed;
mod health;
mod listing;
mod parked;
mod postgres;
mod request;
mod schema;
mod sql;
mod sqlite;
mod text;

use std::{fmt, sync::Arc, time::Duration};

use command::{Read, Write};
use health::Monitor;
use pipeline::contract::Timestamp;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout},
};
use uuid::Uuid;

pub use callbacks::{
    AttemptOutcome, AttemptReport, Callback, CallbackStatus, LeaseCallbacks, LeasedCallback,
    SendCapacity, Target,
};
pub use claim::{Claim, Claimed, IdempotencyKeyHash, ReleaseClaim};
pub use ending::{Applied, ResultOutcome, WorkerResult};
pub use error::{BadUrl, StoreError};
pub use failed::{Discard, Origin, Replay};
pub use health::Health;
pub use listing::{BadCursor, Cursor, List, Page};
pub use parked::{DeleteParked, Parked, ParkedFilter, ParkedMessage, ParkedQuery};
pub use request::{
    Cancel, Cleared, Ended, Expiry, Found, NewRequest, Record, Retrying, Status, Summary,
};

/// How many commands wait in a queue before callers wait to put theirs in.
const QUEUE: usize = 2048;

/// How to treat a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How long a caller waits for an answer at most.
    pub patience: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { patience: Duration::from_secs(5) }
    }
}

/// A store of requests. Clones are the same store; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    /// Apart from the other writes, so that a store that can do two things at once does.
    accepts: mpsc::Sender<Write>,
    writes: mpsc::Sender<Write>,
    reads: mpsc::Sender<Read>,
    health: Monitor,
    /// Rung after whatever may have made a callback due; also if that was not answered, or had been done
    /// already: then an earlier answer was lost.
    bell: Arc<Notify>,
    patience: Duration,
    workers: Workers,
}

/// Those who work behind the queues.
#[derive(Clone)]
struct Workers {
    /// Ends with the last of them.
    here: watch::Receiver<()>,
    /// Ends what does not end by itself.
    _tasks: Arc<dyn Send + Sync>,
}

impl Store {
    /// Opens the store that a `DATABASE_URL` names: `sqlite:FILE` or `postgres://...`. It is opened
    /// in the background, and tried again until it succeeds. Needs a Tokio runtime.
    ///
    /// # Errors
    /// Only if the URL is of no use.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self, BadUrl> {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme);
        match scheme {
            Some("sqlite") => sqlite::open(url, options),
            Some("postgres" | "postgresql") => postgres::open(url, options),
            _ => Err(BadUrl("it must begin with sqlite: or postgres://".to_owned())),
        }
    }

    /// Records a request. If its result came first, the final state stays as it is; if it has expired
    /// already, that stays.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it may be recorded all the same, and can be tried again.
    /// [`StoreError::Refused`] if this very request can't be stored.
    pub async fn accept(&self, request: NewRequest) -> Result<(), StoreError> {
        self.accept_within(self.patience, request).await
    }

    /// The same, for a caller who does not wait beyond a moment. A store that does not answer by
    /// then is taken to be away, unless it had hardly any time.
    ///
    /// # Errors
    /// As [`Store::accept`].
    pub async fn accept_by(
        &self,
        deadline: Instant,
        request: NewRequest,
    ) -> Result<(), StoreError> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.accept_within(left.min(self.patience), request).await
    }

    async fn accept_within(
        &self,
        patience: Duration,
        mut request: NewRequest,
    ) -> Result<(), StoreError> {
        text::clean_request(&mut request);
        let call = request.callback.is_some();
        let command = |reply| Write::Accept(request, reply);
        let accepted = self.change(&self.accepts, patience, command).await;
        if call {
            self.bell.notify_one();
        }
        accepted
    }

    /// Records many requests in one transaction, and says of each whether it could be stored.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], as [`Store::accept`].
    pub async fn accept_all(
        &self,
        mut requests: Vec<NewRequest>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        requests.iter_mut().for_each(text::clean_request);
        let bytes = requests.iter().map(|request| request.request_data.len()).sum();
        let call = requests.iter().any(|request| request.callback.is_some());
        let accepted = self.change_many(bytes, |reply| Write::AcceptAll(requests, reply)).await;
        if call {
            self.bell.notify_one();
        }
        accepted
    }

    /// Decides which of several calls with the same idempotency key sends its request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the same claim can be made again.
    pub async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.change(&self.accepts, self.patience, |reply| Write::Claim(claim, reply)).await
    }

    /// Says that the request under this key and id was not accepted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; then the next call with the key has to wait a little.
    pub async fn unclaim(
        &self,
        name: IdempotencyKeyHash,
        id: Uuid,
        how: ReleaseClaim,
    ) -> Result<(), StoreError> {
        let command = |reply| Write::ReleaseClaim(name, id, how, reply);
        self.change(&self.accepts, self.patience, command).await
    }

    /// Applies results, all in one transaction, and says what became of each. The first final
    /// result of a run wins; a result without a row makes its own.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; then none, or unnoticed all, are stored, and the same results
    /// can be given again.
    pub async fn apply_results(
        &self,
        mut results: Vec<WorkerResult>,
    ) -> Result<Vec<Applied>, StoreError> {
        results.iter_mut().for_each(text::clean_finished);
        let bytes = results.iter().filter_map(|row| row.end.result()).map(<[u8]>::len).sum();
        let applied = self.change_many(bytes, |reply| Write::Finish(results, reply)).await;
        self.bell.notify_one();
        applied
    }

    /// Keeps messages that were handed to the failed queue, and ends their requests, all in one
    /// transaction. The same message given twice is kept once. Says what became of each message's
    /// request; of one without a request, whether it came for the first time.
    ///
    /// # Errors
    /// As [`Store::apply_results`].
    pub async fn park(&self, mut messages: Vec<Parked>) -> Result<Vec<Applied>, StoreError> {
        messages.iter_mut().for_each(text::clean_parked);
        let bytes = messages.iter().map(|message| message.body.len()).sum();
        let applied = self.change_many(bytes, |reply| Write::Park(messages, reply)).await;
        self.bell.notify_one();
        applied
    }

    /// Notes attempts that failed and will be repeated. Old news, those of another run, and those of
    /// requests that are final, change nothing.
    ///
    /// # Errors
    /// As [`Store::apply_results`]. News that the store can't take are passed over.
    pub async fn record_retries(&self, mut news: Vec<Retrying>) -> Result<(), StoreError> {
        news.iter_mut().for_each(text::clean_retrying);
        self.change_many(0, |reply| Write::Retrying(news, reply)).await
    }

    /// Ends a request as cancelled, unless it is final.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it may be cancelled all the same.
    pub async fn cancel(&self, id: Uuid) -> Result<Cancel, StoreError> {
        let cancel =
            self.change(&self.writes, self.patience, |reply| Write::Cancel(id, reply)).await;
        self.bell.notify_one();
        cancel
    }

    /// Clears away a small batch of what is over: requests that ended long ago leave a tombstone.
    /// To be called again while [`Cleared::reached`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn expire(&self, expiry: Expiry) -> Result<Cleared, StoreError> {
        self.change_many(0, |reply| Write::Expire(expiry, reply)).await
    }

    /// Asks the store to its face whether it takes writes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.change(&self.accepts, self.patience, Write::Ping).await
    }

    /// What is known under an id, with the result.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn get(&self, id: Uuid) -> Result<Found, StoreError> {
        self.look(|reply| Read::Get(id, reply)).await
    }

    /// How far these requests have come, without their results and in any order. Those that are
    /// not there are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn get_many(&self, ids: Vec<Uuid>) -> Result<Vec<Summary>, StoreError> {
        self.look(|reply| Read::GetMany(ids, reply)).await
    }

    /// Those of these requests that have ended, in any order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ended(&self, ids: Vec<Uuid>) -> Result<Vec<Ended>, StoreError> {
        self.look(|reply| Read::Ended(ids, reply)).await
    }

    /// The moment it is now, by the clock that tells when requests ended and expire. It is the same
    /// for all web services on this store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn clock(&self) -> Result<Timestamp, StoreError> {
        self.look(Read::Clock).await
    }

    /// A page of requests, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list(&self, mut list: List) -> Result<Page, StoreError> {
        text::clean_list(&mut list);
        self.look(|reply| Read::List(list, reply)).await
    }

    /// How the store is, now and whenever that changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// How many commits were made so far. Beside the number of rows it tells how many share one.
    pub fn commits(&self) -> u64 {
        self.health.commits()
    }

    /// Waits until the store answers.
    pub async fn until_up(&self) {
        self.health.until(|health| *health == Health::Up).await;
    }

    /// Closes the store, if this is the only handle to it: waits a moment until all connections are
    /// closed, so that a file is complete without the log beside it. Nothing is lost without it.
    pub async fn close(self) {
        let Self { accepts, writes, reads, mut workers, patience, .. } = self;
        // They end when nobody can ask them any more.
        drop((accepts, writes, reads));
        let gone = async { while workers.here.changed().await.is_ok() {} };
        let _ = timeout(patience, gone).await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("health", &*self.health.subscribe().borrow()).finish()
    }
}
