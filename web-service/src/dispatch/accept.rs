//! Accepting requests: claim the idempotency key, publish, confirm, commit the row, and only then say
//! so.

use std::time::Duration;

use pipeline::{
    broker::PublishError,
    contract::{Request, RequestId, TraceParent},
};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::api::state::State;
use store::{
    Claim, Claimed, IdempotencyKeyHash, Millis, NewRequest, ReleaseClaim, StoreError, Target, now,
};

/// The type of work that requests have.
const KIND: &str = "default";
/// A call with a key that has had no answer for this long after its time is taken to be dead.
const GRACE: Duration = Duration::from_secs(2);
/// How long a caller waits until the key of a request that was not accepted is given up.
const MOMENT: Duration = Duration::from_millis(300);

/// A request that a client wants accepted.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The id it gets, unless its key stands for another already.
    pub id: Uuid,
    /// What to work on.
    pub data: &'a RawValue,
    /// The trace it belongs to.
    pub trace: TraceParent,
    /// How long it may wait for its work to begin.
    pub expires_in: Option<Duration>,
    /// Where to tell of its end.
    pub callback: Option<Target>,
    /// What makes several calls one request.
    pub key: Option<Key>,
}

/// An idempotency key, and a digest of the body it stands for.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key.
    pub name: IdempotencyKeyHash,
    /// The digest.
    pub digest: [u8; 32],
}

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The broker did not confirm it.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The store is away; nothing was sent.
    #[error("the store is unavailable: {0}")]
    StoreAway(String),
    /// The broker has it, but the store did not say that it has it too. Its row will be made in a
    /// while, or by its result.
    #[error("the broker has the request, but the store did not record it: {0}")]
    NotRecorded(String),
    /// Another call with the same key is being answered.
    #[error("another call with the same idempotency key is being answered")]
    Busy,
    /// The key stands for another body.
    #[error("the idempotency key stands for another body")]
    OtherBody,
}

/// A request that was not accepted.
#[derive(Debug)]
pub struct Refused {
    /// Its id, under which it may be done all the same.
    pub id: Uuid,
    /// Why.
    pub error: AcceptError,
}

impl AcceptError {
    pub(crate) fn of(self, id: Uuid) -> Refused {
        Refused { id, error: self }
    }

    /// What is to become of the key. What may have been sent keeps its id, be it by this call or by the
    /// one before, from which the id was taken over.
    fn unclaim(&self, is_taken_over: bool) -> Option<ReleaseClaim> {
        match self {
            Self::Busy | Self::OtherBody => None,
            Self::NotRecorded(_) | Self::Publish(PublishError::Unknown(_)) => {
                Some(ReleaseClaim::Leave)
            }
            Self::StoreAway(_) | Self::Publish(_) if is_taken_over => Some(ReleaseClaim::Leave),
            Self::StoreAway(_) | Self::Publish(_) => Some(ReleaseClaim::Forget),
        }
    }
}

/// Hands a request to the broker, and records it once that was confirmed. After that a look at the
/// store finds it, through every web service. Gives its id.
///
/// # Errors
/// See [`AcceptError`]. In all cases but [`AcceptError::NotRecorded`] and
/// [`PublishError::Unknown`] nothing was done.
pub async fn accept(state: &State, wish: &Wish<'_>) -> Result<Uuid, Refused> {
    let deadline = Instant::now() + state.publish_timeout;
    let claimed = claim(state, wish).await;
    let sent = send(state, wish, claimed, deadline).await;
    let recorded = match &sent {
        Ok((_, Some(row))) => state.store.accept_by(deadline, row.clone()).await,
        Ok((_, None)) | Err(_) => Ok(()),
    };
    end(state, wish, sent, recorded).await
}

/// Says which id to send a wish under, if it is to be sent.
pub(crate) async fn claim(state: &State, wish: &Wish<'_>) -> Result<Claimed, Refused> {
    let store = state.store_part();
    if !store.ok {
        return Err(AcceptError::StoreAway(store.detail).of(wish.id));
    }
    let Some(Key { name, digest }) = wish.key.clone() else { return Ok(Claimed::Proceed(wish.id)) };
    let patience = state.publish_timeout + GRACE;
    let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
    let claim = Claim { name, digest, id: wish.id, patience };
    let claimed = state.store.claim(claim).await;
    claimed.map_err(|error| AcceptError::StoreAway(error.to_string()).of(wish.id))
}

/// Sends what its claim lets be sent. Gives the row that is to be recorded then.
pub(crate) async fn send(
    state: &State,
    wish: &Wish<'_>,
    claimed: Result<Claimed, Refused>,
    deadline: Instant,
) -> Result<(Uuid, Option<NewRequest>), Refused> {
    let id = match claimed? {
        Claimed::Proceed(id) => id,
        Claimed::Answered(id) => return Ok((id, None)),
        Claimed::Busy => return Err(AcceptError::Busy.of(wish.id)),
        Claimed::OtherBody => return Err(AcceptError::OtherBody.of(wish.id)),
    };
    match publish(state, id, wish, deadline).await {
        Ok(at) => Ok((id, Some(row(id, wish, at)))),
        Err(error) => {
            unclaim(state, id, wish, &error).await;
            Err(error.of(id))
        }
    }
}

/// What to say of a wish when all is done.
pub(crate) async fn end(
    state: &State,
    wish: &Wish<'_>,
    sent: Result<(Uuid, Option<NewRequest>), Refused>,
    recorded: Result<(), StoreError>,
) -> Result<Uuid, Refused> {
    match (sent?, recorded) {
        ((id, Some(row)), Err(error)) => {
            let error = not_recorded(state, error, row);
            unclaim(state, id, wish, &error).await;
            Err(error.of(id))
        }
        ((id, _), _) => Ok(id),
    }
}

/// Gives a key up whose request was not accepted. The caller's time may be over: it waits for that only a
/// moment, and if it fails, the next call waits a little.
async fn unclaim(state: &State, id: Uuid, wish: &Wish<'_>, error: &AcceptError) {
    if let (Some(key), Some(how)) = (&wish.key, error.unclaim(id != wish.id)) {
        let (store, name) = (state.store.clone(), key.name);
        let unclaim = tokio::spawn(async move { store.unclaim(name, id, how).await });
        let _given_up_or_too_old_in_a_while = timeout(MOMENT, unclaim).await;
    }
}

/// Publishes a request and waits for the confirm. Gives the moment when it was accepted.
async fn publish(
    state: &State,
    id: Uuid,
    wish: &Wish<'_>,
    deadline: Instant,
) -> Result<Millis, AcceptError> {
    let accepted_at = now();
    let message = Request::message(&RequestId::from(id), wish.data, &wish.trace);
    let message = match wish.expires_in {
        Some(after) => message.expiring(after),
        None => message,
    };
    state.publisher.publish(&message, deadline).await?;
    Ok(accepted_at)
}

fn row(id: Uuid, wish: &Wish<'_>, accepted_at: Millis) -> NewRequest {
    NewRequest {
        id,
        kind: KIND.to_owned(),
        owner: None,
        request_data: wish.data.get().as_bytes().to_vec(),
        accepted_at,
        trace: Some(wish.trace.as_str().to_owned()),
        callback: wish.callback.clone(),
    }
}

/// What to say of a row that the store did not take, which is tried again behind the caller's back.
fn not_recorded(state: &State, error: StoreError, row: NewRequest) -> AcceptError {
    match error {
        StoreError::Unavailable(reason) => {
            state.late.record(row);
            AcceptError::NotRecorded(reason)
        }
        StoreError::Refused(reason) => AcceptError::NotRecorded(reason),
    }
}
