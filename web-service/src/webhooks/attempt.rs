//! One attempt from its beginning to its mark in the store.

use std::{sync::Arc, time::Duration};

use pipeline::contract::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::views::request::View;
use crate::webhooks::{
    LEASE, retry_schedule,
    sender::{Answer, Letter, Sender},
};
use store::{AttemptOutcome, AttemptReport, Found, LeasedCallback, Record, Store, StoreError};

/// What a receiver gets.
#[derive(Serialize)]
struct Body<'v> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
    data: &'v View,
}

/// Tries to deliver a callback and notes what came of it. Gives how long the receiver took.
pub(crate) async fn run(
    store: Store,
    sender: Option<Arc<Sender>>,
    taken: LeasedCallback,
) -> Duration {
    let mut took = Duration::ZERO;
    let (fate, error) = match letter(&store, &taken).await {
        Err(error) => {
            // It is due again after the lease.
            debug!(requestId = %taken.id, "a callback waits: {error}");
            return took;
        }
        Ok(None) => (AttemptOutcome::Dropped, None),
        Ok(Some(letter)) => {
            let began = Instant::now();
            let answer = answer(sender, letter).await;
            took = began.elapsed();
            let fate = fate(&answer, taken.attempt);
            log(&taken, &answer, &fate);
            (fate, error(answer))
        }
    };
    let attempted = AttemptReport { id: taken.id, lease: taken.lease, fate, error };
    // After the lease it is no longer ours to say.
    let _ = timeout(LEASE, note(&store, attempted)).await;
    took
}

/// What the receiver says. Without a sender, nobody asks it.
async fn answer(sender: Option<Arc<Sender>>, letter: Letter) -> Answer {
    match sender {
        Some(sender) => sender.send(letter).await,
        None => Answer::failed("WEBHOOK_SECRET is not set".to_owned()),
    }
}

async fn letter(store: &Store, taken: &LeasedCallback) -> Result<Option<Letter>, StoreError> {
    let Found::Record(request) = store.get(taken.id).await? else { return Ok(None) };
    let Some(callback) = request.summary.callback.clone() else { return Ok(None) };
    // It was replayed: its next end is told anew.
    if !request.summary.status.is_final() || request.summary.run != taken.run {
        return Ok(None);
    }
    let status = request.summary.status.as_str();
    let id = format!("{}-{}-{status}", taken.id, taken.run);
    let body = body(*request, taken.ended_at);
    Ok(Some(Letter { url: callback.url, id, body }))
}

fn body(request: Record, ended_at: Timestamp) -> String {
    let kind = format!("request.{}", request.summary.status.as_str());
    let data = &View::of(request).without_callback();
    serde_json::to_string(&Body { kind, timestamp: ended_at, data })
        .expect("texts, numbers and checked JSON are always JSON")
}

/// What becomes of a callback after this answer.
fn fate(answer: &Answer, attempt: u32) -> AttemptOutcome {
    match answer {
        Answer::Delivered(_) => AttemptOutcome::Delivered,
        Answer::Gone => AttemptOutcome::GivenUp,
        Answer::Failed { retry_after, .. } => match retry_schedule::pause(attempt, *retry_after) {
            Some(pause) => AttemptOutcome::Again(pause),
            None => AttemptOutcome::GivenUp,
        },
    }
}

fn error(answer: Answer) -> Option<String> {
    match answer {
        Answer::Delivered(_) => None,
        Answer::Gone => Some("the receiver answered 410: it wants no more".to_owned()),
        Answer::Failed { reason, .. } => Some(reason),
    }
}

fn log(taken: &LeasedCallback, answer: &Answer, fate: &AttemptOutcome) {
    let LeasedCallback { id, host, attempt, .. } = taken;
    let given_up = *fate == AttemptOutcome::GivenUp;
    match answer {
        Answer::Delivered(status) => {
            info!(requestId = %id, host, attempt, status = status.as_u16(), "callback delivered");
        }
        Answer::Gone => {
            warn!(requestId = %id, host, attempt, status = 410, given_up, "callback refused");
        }
        Answer::Failed { status, reason, .. } => {
            let status = status.map(|status| status.as_u16());
            warn!(requestId = %id, host, attempt, status, reason, given_up, "callback failed");
        }
    }
}

/// Notes what came of an attempt, as soon as the store is there.
async fn note(store: &Store, attempted: AttemptReport) {
    while let Err(StoreError::Unavailable(_)) = store.record_attempt(attempted.clone()).await {
        store.until_up().await;
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn what_failed_is_tried_again_until_it_is_given_up() {
        assert_eq!(fate(&Answer::Delivered(StatusCode::OK), 1), AttemptOutcome::Delivered);
        assert_eq!(fate(&Answer::Gone, 1), AttemptOutcome::GivenUp);
        let failed = Answer::failed("no".to_owned());
        assert!(
            matches!(fate(&failed, 1), AttemptOutcome::Again(pause) if (1000..=2000).contains(&pause.as_millis()))
        );
        assert_eq!(fate(&failed, 35), AttemptOutcome::GivenUp);
        let retry_after = Some(Duration::from_secs(30));
        let busy = Answer::Failed { status: None, reason: String::new(), retry_after };
        assert_eq!(fate(&busy, 1), AttemptOutcome::Again(Duration::from_secs(30)));
    }
}
