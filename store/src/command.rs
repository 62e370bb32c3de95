//! Commands: what a `Store` asks of its backend. Both backends match on these enums, so that neither can
//! lack an operation.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use pipeline::contract::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    error::StoreError,
    model::{
        attempt::Attempt,
        bulk_run::{BulkRun, BulkRunReport, LeaseBulkRuns, NewBulkRun, Reported},
        callback::{AttemptReport, LeaseCallbacks, Leases},
        count::Count,
        error_group::{ErrorGroup, GroupId},
        filter::RequestFilter,
        idempotency::{Claim, Claimed, IdempotencyKeyHash, ReleaseClaim},
        inspection::Inspection,
        open_request::OpenRequest,
        overview::Overview,
        page::{Page, RequestQuery},
        parked::{DeleteParked, NewParked, ParkedMessage, ParkedQuery},
        replay::{Discard, Replay},
        request::{Cancel, Ended, Found, NewRequest, Origin, ScheduledRetry, Summary},
        retention::{Cleared, Expiry},
        retry_now::{AwaitedAttempt, BeginRetry, NoteRetry, Reissue},
        stats::{Stats, StatsQuery},
        worker_result::{Applied, WorkerResult},
    },
};

/// Where the answer goes. Dropping it means that the store is unavailable; its health has the reason.
pub(crate) struct Reply<T> {
    caller: oneshot::Sender<Result<T, StoreError>>,
    /// What is done with the answer before the caller has it.
    first: Option<First<T>>,
}

type First<T> = Box<dyn FnOnce(&T) + Send>;

impl<T> Reply<T> {
    /// A reply, and where its caller receives the answer.
    pub(crate) fn channel() -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (caller, answer) = oneshot::channel();
        (Self { caller, first: None }, answer)
    }

    /// Does this first with an answer that is no error, in the thread that sends it.
    pub(crate) fn first(self, first: impl FnOnce(&T) + Send + 'static) -> Self {
        Self { first: Some(Box::new(first)), ..self }
    }

    /// Whether the caller has stopped waiting: nobody sees the answer of a read then.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    /// Sends the answer.
    pub(crate) fn send(self, answer: Result<T, StoreError>) {
        if let (Ok(answer), Some(first)) = (&answer, self.first) {
            // A panic has been logged. It must not end the thread that writes.
            let _ = catch_unwind(AssertUnwindSafe(|| first(answer)));
        }
        // The caller may have waited long enough.
        let _ = self.caller.send(answer);
    }
}

/// A command that writes. The answer is sent after the commit.
pub(crate) enum Write {
    Accept(NewRequest, Reply<()>),
    AcceptBatch(Vec<NewRequest>, Reply<Vec<Result<(), StoreError>>>),
    Claim(Claim, Reply<Claimed>),
    ReleaseClaim(IdempotencyKeyHash, Uuid, ReleaseClaim, Reply<()>),
    ApplyResults(Vec<WorkerResult>, Reply<Vec<Applied>>),
    Park(Vec<NewParked>, Reply<Vec<Applied>>),
    RecordRetries(Vec<ScheduledRetry>, Reply<()>),
    Cancel(Uuid, Reply<Cancel>),
    /// Notes that a request which has failed in this run is about to be replayed.
    NoteReplay(Uuid, u32, Reply<Replay>),
    /// Replays a request that has failed in this run.
    Replay(Uuid, u32, Reply<Replay>),
    /// Notes that the attempt that a request waits for is about to be published.
    NoteRetry(Uuid, AwaitedAttempt, Reissue, Reply<NoteRetry>),
    /// Begins the run of such an attempt.
    BeginRetry(Uuid, u32, Reissue, Reply<BeginRetry>),
    Discard(Uuid, Reply<Discard>),
    DeleteParked(i64, Reply<DeleteParked>),
    Expire(Expiry, Reply<Cleared>),
    LeaseCallbacks(LeaseCallbacks, Reply<Leases>),
    RecordAttempt(AttemptReport, Reply<()>),
    RetryCallback(Uuid, Reply<bool>),
    BeginBulkRun(NewBulkRun, Reply<()>),
    LeaseBulkRuns(LeaseBulkRuns, Reply<Vec<BulkRun>>),
    ReportBulkRun(BulkRunReport, Reply<Reported>),
    StopBulkRun(Uuid, Reply<bool>),
    /// Writes nothing; the answer shows that the store can be reached.
    Ping(Reply<()>),
}

/// A command that reads.
pub(crate) enum Read {
    Get(Uuid, Reply<Found>),
    GetMany(Vec<Uuid>, Reply<Vec<Summary>>),
    GetEnded(Vec<Uuid>, Reply<Vec<Ended>>),
    /// The attempts at a request that failed, the latest first, this many at most.
    FailedAttempts(Uuid, u32, Reply<Vec<Attempt>>),
    GetOrigin(Uuid, Reply<Origin>),
    List(RequestQuery, Reply<Page>),
    Count(RequestFilter, Reply<Count>),
    /// Error groups, only those in which requests are failed now, or all; this many at most.
    ListGroups(bool, u32, Reply<Vec<ErrorGroup>>),
    GetGroup(GroupId, Reply<Option<ErrorGroup>>),
    ListParked(ParkedQuery, Reply<Vec<ParkedMessage>>),
    GetParked(i64, Reply<Option<ParkedMessage>>),
    /// How long until the next callback is due that goes to none of these hosts.
    NextCallbackIn(Vec<String>, Reply<Option<Duration>>),
    GetBulkRun(Uuid, Reply<Option<BulkRun>>),
    /// The latest bulk runs, this many at most.
    ListBulkRuns(u32, Reply<Vec<BulkRun>>),
    /// How long until the next bulk run is due.
    NextBulkRunIn(Reply<Option<Duration>>),
    Overview(Reply<Overview>),
    /// The open requests above this id, and how many at most.
    Open(Uuid, u32, Reply<Vec<OpenRequest>>),
    /// How many open requests are below this id.
    OpenBefore(String, Uuid, Reply<u32>),
    Stats(StatsQuery, Reply<Stats>),
    Clock(Reply<Timestamp>),
    Inspect(Reply<Inspection>),
}
