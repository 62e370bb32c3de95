//! Accepting many requests at once.

use std::collections::HashMap;

use futures_util::{StreamExt, future::join_all, stream};
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::state::State;
use crate::dispatch::accept::{AcceptError, Refused, Wish, claim, end, send};
use store::{NewRequest, StoreError};

/// How many requests of a batch are published at once: far fewer than the publisher has places for,
/// so that single requests find theirs beside a batch.
const AT_ONCE: usize = 256;

/// Accepts as [`crate::dispatch::accept::accept`] does, many at once: their publishes overlap, and one commit records them all. The outcomes are in
/// the order of the wishes.
pub async fn accept_all(state: &State, wishes: &[Wish<'_>]) -> Vec<Result<Uuid, Refused>> {
    let first = first_of_key(wishes);
    let is_first = |(at, _): &(usize, &Wish<'_>)| first[*at] == *at;
    let different: Vec<_> = wishes.iter().enumerate().filter(is_first).map(|(_, w)| w).collect();
    let mut accepted = accept_different(state, &different).await.into_iter();
    let mut outcomes: Vec<Result<Uuid, Refused>> = Vec::with_capacity(wishes.len());
    for (at, wish) in wishes.iter().enumerate() {
        outcomes.push(match first[at] {
            first if first == at => accepted.next().expect("one outcome for each of them"),
            first => same_again(wish, &outcomes[first]),
        });
    }
    outcomes
}

/// For each wish the place of the first one with its key and body: often its own.
fn first_of_key(wishes: &[Wish<'_>]) -> Vec<usize> {
    let mut seen = HashMap::new();
    let first = |(at, wish): (usize, &Wish<'_>)| match &wish.key {
        Some(key) => *seen.entry((key.name, key.digest)).or_insert(at),
        None => at,
    };
    wishes.iter().enumerate().map(first).collect()
}

/// What to say to a wish that stands in the same batch as the first one with its key and body.
fn same_again(wish: &Wish<'_>, first: &Result<Uuid, Refused>) -> Result<Uuid, Refused> {
    match first {
        Ok(id) => Ok(*id),
        Err(Refused { error: AcceptError::OtherBody, .. }) => {
            Err(AcceptError::OtherBody.of(wish.id))
        }
        Err(_) => Err(AcceptError::Busy.of(wish.id)),
    }
}

async fn accept_different(state: &State, wishes: &[&Wish<'_>]) -> Vec<Result<Uuid, Refused>> {
    let claimed = join_all(wishes.iter().map(|wish| claim(state, wish))).await;
    let sending = wishes.iter().zip(claimed).map(async |(wish, claimed)| {
        send(state, wish, claimed, Instant::now() + state.publish_timeout).await
    });
    let sent: Vec<_> = stream::iter(sending).buffered(AT_ONCE).collect().await;
    let rows = sent.iter().flatten().filter_map(|(_, row)| row.clone()).collect();
    let mut recorded = record_all(state, rows).await.into_iter();
    let ended = wishes.iter().zip(sent).map(|(wish, sent)| {
        let is_recorded = matches!(sent, Ok((_, Some(_)))).then(|| recorded.next()).flatten();
        end(state, wish, sent, is_recorded.unwrap_or(Ok(())))
    });
    join_all(ended).await
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
