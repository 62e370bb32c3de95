//! What the front asks of whoever works behind it. Both stores match on these, so that neither can
//! lack an operation.

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    callbacks::{Attempted, Take, Taken},
    claim::{Claim, Claimed, KeyName, Unclaim},
    ending::{Applied, Ending},
    error::StoreError,
    failed::{Discard, Origin, Replay},
    listing::{List, Page},
    parked::{Letters, Parked, ParkedMessage, Unpark},
    request::{Cancel, Cleared, Ended, Expiry, Found, Millis, NewRequest, Retrying, Summary},
};

/// Where the answer goes. To drop it means that the store is away; the reason stands in its health.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Something that changes the store. The answer is sent when it is on disk.
pub(super) enum Write {
    Accept(NewRequest, Reply<()>),
    AcceptAll(Vec<NewRequest>, Reply<Vec<Result<(), StoreError>>>),
    Claim(Claim, Reply<Claimed>),
    Unclaim(KeyName, Uuid, Unclaim, Reply<()>),
    Finish(Vec<Ending>, Reply<Vec<Applied>>),
    Park(Vec<Parked>, Reply<Vec<Applied>>),
    Retrying(Vec<Retrying>, Reply<()>),
    Cancel(Uuid, Reply<Cancel>),
    /// The next run of a request that has failed in this one.
    Replay(Uuid, u32, Reply<Replay>),
    Discard(Uuid, Reply<Discard>),
    Unpark(i64, Reply<Unpark>),
    Expire(Expiry, Reply<Cleared>),
    TakeCallbacks(Take, Reply<Vec<Taken>>),
    Attempted(Attempted, Reply<()>),
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
    Clock(Reply<Millis>),
    List(List, Reply<Page>),
    /// In how long the next one is due that goes to none of these hosts.
    NextCallback(Vec<String>, Reply<Option<Millis>>),
    Parked(Letters, Reply<Vec<ParkedMessage>>),
    ParkedMessage(i64, Reply<Option<ParkedMessage>>),
}
