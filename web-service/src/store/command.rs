//! What the front asks of whoever works behind it. Both stores match on these, so that neither can
//! lack an operation.

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    callbacks::{Attempted, Take, Taken},
    claim::{Claim, Claimed, KeyName, Unclaim},
    ending::{Applied, Ending},
    error::StoreError,
    listing::{List, Page},
    parked::{Parked, ParkedMessage},
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
    RequestData(Uuid, Reply<Option<Vec<u8>>>),
    Clock(Reply<Millis>),
    List(List, Reply<Page>),
    /// In how long the next one is due that goes to none of these hosts.
    NextCallback(Vec<String>, Reply<Option<Millis>>),
    Parked {
        below: i64,
        limit: u32,
        reply: Reply<Vec<ParkedMessage>>,
    },
}
