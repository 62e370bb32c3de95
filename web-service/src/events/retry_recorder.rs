//! Attempts that failed and are repeated: noted in the store as well as it can be done in passing.

use pipeline::contract::{ErrorBody, JobEvent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::events::jobs::{
    Jobs,
    job::{Turn, shortened},
};
use store::{Retrying, Store};

/// How many wait to be noted. What comes beyond is not noted.
const QUEUE: usize = 1000;
/// How many are noted at once.
const BATCH: usize = 500;
/// The longest error that is kept, in bytes.
const LONGEST_ERROR: usize = 2000;

/// Takes them in.
#[derive(Debug)]
pub struct Retries(mpsc::Sender<Retrying>);

/// Puts them into the store.
#[derive(Debug)]
pub struct Notes(mpsc::Receiver<Retrying>);

/// The two ends of a queue of them.
pub fn retries() -> (Retries, Notes) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Retries(sender), Notes(receiver))
}

impl Retries {
    /// Has it noted, or passes it over if too many wait. Returns at once.
    pub fn note(&self, event: &JobEvent) {
        let Some(retrying) = retrying(event) else { return };
        if let Err(error) = self.0.try_send(retrying) {
            debug!(requestId = %event.request_id, "a retry is not noted: {error}");
        }
    }
}

impl Notes {
    /// Notes what comes, until told to stop. While the store is away, it is passed over: the result
    /// of the last attempt tells as much.
    pub async fn run(mut self, store: Store, jobs: Jobs, stop: CancellationToken) {
        loop {
            let mut news = Vec::new();
            tokio::select! {
                () = stop.cancelled() => return,
                some = self.0.recv_many(&mut news, BATCH) => if some == 0 { return },
            }
            let ids: Vec<_> = news.iter().map(|retrying| retrying.id).collect();
            match store.record_retries(news).await {
                Ok(()) => jobs.followers().wake(ids),
                Err(error) => debug!(retries = ids.len(), "retries are not noted: {error}"),
            }
        }
    }
}

/// What a worker tells of a failed attempt, in the store's terms; none if there can be no row for it.
fn retrying(event: &JobEvent) -> Option<Retrying> {
    let turn = Turn::of(event);
    Some(Retrying {
        id: event.request_id.uuid()?,
        run: turn.run,
        attempts: turn.attempt,
        last_error: event.error.as_ref().map(last_error).unwrap_or_default(),
        next_attempt_at: event.next_attempt_at,
    })
}

fn last_error(error: &ErrorBody) -> String {
    let text = if error.message.is_empty() { &error.code } else { &error.message };
    shortened(text, LONGEST_ERROR)
}

#[cfg(test)]
mod tests {
    use pipeline::contract::Event;

    use pipeline::contract::Timestamp;

    use super::*;

    fn read(body: &str) -> Option<Retrying> {
        match Event::parse("request.retrying", body.as_bytes()) {
            Ok(Some(Event::Job(event))) => retrying(&event),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_retry_is_noted_with_all_that_was_said() {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        let full = format!(
            r#"{{"requestId":"{id}","run":1,"attempt":2,"error":{{"code":"busy","message":"later"}},
                "nextAttemptAt":"1970-01-01T00:00:01.500Z"}}"#
        );
        let retrying = read(&full).unwrap();
        assert_eq!((retrying.run, retrying.attempts, &*retrying.last_error), (1, 2, "later"));
        assert_eq!(retrying.next_attempt_at, Some(Timestamp::from_millis(1500)));
        let sparse = format!(r#"{{"requestId":"{id}","attempt":-7,"error":{{"code":"busy"}}}}"#);
        let retrying = read(&sparse).unwrap();
        assert_eq!((retrying.run, retrying.attempts, &*retrying.last_error), (0, 1, "busy"));
        assert_eq!(read(r#"{"requestId":7}"#), None);
    }
}
