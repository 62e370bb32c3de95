//! What the front asks of whoever works behind it. Both stores match on these, so that neither can
//! lack an operation.

use std::time::Duration;

use pipeline::contract::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    callbacks::{AttemptReport, LeaseCallbacks, LeasedCallback},
    claim::{Claim, Claimed, IdempotencyKeyHash, ReleaseClaim},
    ending::{Applied, WorkerResult},
    error::StoreError,
    failed::{Discard, Origin, Replay},
    listing::{List, Page},
    parked::{DeleteParked, Parked, ParkedMessage, ParkedQuery},
    request::{Cancel, Cleared, Ended, Expiry, Found, NewRequest, Retrying, Summary},
};

/// Where the answer goes. To drop it means that the store is away; the reason stands in its health.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Something that changes the store. The answer is sent when it is on disk.
pub(super) enum Write {
    Accept(NewRequest, Reply<()>),
    AcceptAll(Vec<NewRequest>, Reply<Vec<Result<(), StoreError>>>),
    Claim(Claim, Reply<Claimed>),
    ReleaseClaim(IdempotencyKeyHash, Uuid, ReleaseClaim, Reply<()>),
    Finish(Vec<WorkerResult>, Reply<Vec<Applied>>),
    Park(Vec<Parked>, Reply<Vec<Applied>>),
    Retrying(Vec<Retrying>, Reply<()>),
    Cancel(Uuid, Reply<Cancel>),
    /// The next run of a request that has failed in this one.
    Replay(Uuid, u32, Reply<Replay>),
    Discard(Uuid, Reply<Discard>),
    DeleteParked(i64, Reply<DeleteParked>),
    Expire(Expiry, Reply<Cleared>),
    TakeCallbacks(LeaseCallbacks, Reply<Vec<LeasedCallback>>),
    AttemptReport(AttemptReport, Reply<()>),
    RetryCallback(Uuid, Reply<bool>),
    /// Changes nothing: is it there?
    Ping(Reply<()>),
}

/// Something that only looks.
pub(super) enum Read {
    Get(Uuid, Reply<Found>),
    GetMany(Vec<Uuid>, Reply<Vec<Summary>>),
    /// Those that have ended or expired.
    Ended(Vec<Uuid>, Reply<Vec<Ended>>),
    Origin(Uuid, Reply<Origin>),
    Clock(Reply<Timestamp>),
    List(List, Reply<Page>),
    /// In how long the next one is due that goes to none of these hosts.
    NextCallback(Vec<String>, Reply<Option<Duration>>),
    Parked(ParkedQuery, Reply<Vec<ParkedMessage>>),
    ParkedMessage(i64, Reply<Option<ParkedMessage>>),
}
