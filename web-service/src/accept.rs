//! Accepting requests: claim the idempotency key, publish, confirm, commit the row, and only then say
//! so.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, future::join_all, stream};
use pipeline::{
    broker::PublishError,
    contract::{Request, RequestId, TraceParent},
};
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    state::{NAME, State},
    store::{Claim, Claimed, KeyName, Millis, NewRequest, StoreError, Target, Unclaim, now},
};

/// The type of work that requests have.
const KIND: &str = "default";
/// A call with a key that has had no answer for this long after its time is taken to be dead.
const GRACE: Duration = Duration::from_secs(2);
/// How many requests of a batch are published at once: far fewer than the publisher has places for,
/// so that single requests find theirs beside a batch.
const AT_ONCE: usize = 256;

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
    pub name: KeyName,
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
    fn of(self, id: Uuid) -> Refused {
        Refused { id, error: self }
    }

    /// What is to become of the key. What may have been sent keeps its id, be it by this call or by the
    /// one before, from which the id was taken over.
    fn unclaim(&self, is_taken_over: bool) -> Option<Unclaim> {
        match self {
            Self::Busy | Self::OtherBody => None,
            Self::NotRecorded(_) | Self::Publish(PublishError::Unknown(_)) => Some(Unclaim::Leave),
            Self::StoreAway(_) | Self::Publish(_) if is_taken_over => Some(Unclaim::Leave),
            Self::StoreAway(_) | Self::Publish(_) => Some(Unclaim::Forget),
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
    let id = match claim(state, wish).await? {
        Claimed::Mine(id) => id,
        Claimed::Answered(id) => return Ok(id),
        Claimed::Busy => return Err(AcceptError::Busy.of(wish.id)),
        Claimed::OtherBody => return Err(AcceptError::OtherBody.of(wish.id)),
    };
    let outcome = match publish(state, id, wish, deadline).await {
        Ok(at) => {
            let recorded = state.store.accept_by(deadline, row(id, wish, at)).await;
            recorded.map_err(|error| not_recorded(state, error, || row(id, wish, at)))
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => Ok(id),
        Err(error) => {
            unclaim(state, id, wish, &error).await;
            Err(error.of(id))
        }
    }
}

/// The same for many: their publishes overlap, and one commit records them all. The outcomes are in
/// the order of the wishes.
pub async fn accept_all(state: &State, wishes: &[Wish<'_>]) -> Vec<Result<Uuid, Refused>> {
    let mut seen = HashSet::new();
    // Another wish with the same key is answered like the first, so it waits for that.
    let is_again: Vec<bool> = wishes
        .iter()
        .map(|wish| wish.key.as_ref().is_some_and(|key| !seen.insert(key.name)))
        .collect();
    let first = wishes.iter().zip(&is_again).filter(|(_, again)| !**again).map(|(wish, _)| wish);
    let mut first = accept_different(state, &first.collect::<Vec<_>>()).await.into_iter();
    let mut outcomes = Vec::with_capacity(wishes.len());
    for (wish, is_again) in wishes.iter().zip(is_again) {
        outcomes.push(match is_again {
            true => accept(state, wish).await,
            false => first.next().expect("one outcome for each of them"),
        });
    }
    outcomes
}

async fn accept_different(state: &State, wishes: &[&Wish<'_>]) -> Vec<Result<Uuid, Refused>> {
    let claimed = join_all(wishes.iter().map(|wish| claim(state, wish))).await;
    let sending = wishes.iter().zip(claimed).map(async |(wish, claimed)| match claimed? {
        Claimed::Mine(id) => {
            let deadline = Instant::now() + state.publish_timeout;
            match publish(state, id, wish, deadline).await {
                Ok(at) => Ok((id, Some(row(id, wish, at)))),
                Err(error) => {
                    unclaim(state, id, wish, &error).await;
                    Err(error.of(id))
                }
            }
        }
        Claimed::Answered(id) => Ok((id, None)),
        Claimed::Busy => Err(AcceptError::Busy.of(wish.id)),
        Claimed::OtherBody => Err(AcceptError::OtherBody.of(wish.id)),
    });
    let sent: Vec<_> = stream::iter(sending).buffered(AT_ONCE).collect().await;
    let rows = sent.iter().flatten().filter_map(|(_, row)| row.clone()).collect();
    let mut recorded = record_all(state, rows).await.into_iter();
    let mut outcomes = Vec::with_capacity(wishes.len());
    for (wish, sent) in wishes.iter().zip(sent) {
        outcomes.push(match sent {
            Err(refused) => Err(refused),
            Ok((id, None)) => Ok(id),
            Ok((id, Some(row))) => match recorded.next().expect("one outcome for each of them") {
                Ok(()) => Ok(id),
                Err(error) => {
                    let error = not_recorded(state, error, || row);
                    unclaim(state, id, wish, &error).await;
                    Err(error.of(id))
                }
            },
        });
    }
    outcomes
}

/// Says which id to send a wish under, if it is to be sent.
async fn claim(state: &State, wish: &Wish<'_>) -> Result<Claimed, Refused> {
    let store = state.store_part();
    if !store.ok {
        return Err(AcceptError::StoreAway(store.detail).of(wish.id));
    }
    let Some(Key { name, digest }) = wish.key.clone() else { return Ok(Claimed::Mine(wish.id)) };
    let patience = state.publish_timeout + GRACE;
    let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
    let claim = Claim { name, digest, id: wish.id, patience };
    let claimed = state.store.claim(claim).await;
    claimed.map_err(|error| AcceptError::StoreAway(error.to_string()).of(wish.id))
}

/// Gives a key up whose request was not accepted. If that fails too, the next call waits a little.
async fn unclaim(state: &State, id: Uuid, wish: &Wish<'_>, error: &AcceptError) {
    if let (Some(key), Some(how)) = (&wish.key, error.unclaim(id != wish.id)) {
        let _given_up_or_too_old_in_a_while = state.store.unclaim(key.name, id, how).await;
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
    let message = Request::message(NAME, &RequestId::from(id), wish.data, &wish.trace);
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

async fn record_all(state: &State, rows: Vec<NewRequest>) -> Vec<Result<(), StoreError>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let count = rows.len();
    match state.store.accept_all(rows).await {
        Ok(recorded) => recorded,
        Err(error) => vec![Err(error); count],
    }
}

/// What to say of a row that the store did not take, which is tried again behind the caller's back.
fn not_recorded(state: &State, error: StoreError, row: impl FnOnce() -> NewRequest) -> AcceptError {
    match error {
        StoreError::Unavailable(reason) => {
            state.late.record(row());
            AcceptError::NotRecorded(reason)
        }
        StoreError::Refused(reason) => AcceptError::NotRecorded(reason),
    }
}
