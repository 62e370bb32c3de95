//! News of requests: told to those who wait here and to the other web services, and heard from them.

use std::sync::Arc;

use pipeline::{
    broker::{Announcer, Broker, Heard},
    contract::{Event, FinalStatus, FinishedRequest, Moment},
};
use tokio_util::sync::CancellationToken;

use crate::{
    state::NAME,
    store::{Applied, Ending, Status},
    waiters::Waiters,
};

/// Tells what was committed.
#[derive(Clone)]
pub struct News {
    /// Who waits here.
    pub waiters: Waiters,
    /// For those elsewhere. They may miss it, and look by themselves.
    pub announcer: Announcer,
}

impl News {
    /// Tells what became of results: who waits for a request is woken if it is final now, or gone;
    /// the other web services hear of what is new.
    pub fn tell<'a>(&self, results: impl Iterator<Item = (&'a Ending, &'a Applied)> + Clone) {
        let over = |(ending, applied): (&Ending, &Applied)| {
            let goes_on = matches!(applied, Applied::OlderRun | Applied::BadRow(_));
            (!goes_on).then_some(ending.id)
        };
        self.waiters.wake(results.clone().filter_map(over));
        let first = results.filter(|(_, applied)| **applied == Applied::First);
        let ended: Vec<_> = first
            .filter_map(|(ending, _)| {
                let status = final_status(ending.end.status())?;
                Some(FinishedRequest { request_id: ending.id, status })
            })
            .collect();
        for event in Event::finished(Moment::now(), &ended) {
            self.announcer.announce(&event.message(NAME));
        }
    }
}

fn final_status(status: Status) -> Option<FinalStatus> {
    match status {
        Status::Completed => Some(FinalStatus::Completed),
        Status::Failed => Some(FinalStatus::Failed),
        Status::Cancelled => Some(FinalStatus::Cancelled),
        Status::Queued => None,
    }
}

/// Wakes those who wait here for what ended elsewhere, until told to stop.
pub async fn hear(broker: Arc<Broker>, waiters: Waiters, stop: CancellationToken) {
    let mut listener = broker.listen(true);
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => break,
            heard = listener.next() => heard,
        };
        match heard {
            // Something may have been said while nobody listened.
            Some(Heard::Listening) => waiters.wake_all(),
            Some(Heard::Event(Event::Finished(finished))) => {
                waiters.wake(finished.requests.iter().map(|request| request.request_id));
            }
            Some(Heard::Event(Event::Job(_)) | Heard::Control(_)) => {}
            None => stop.cancelled().await,
        }
    }
    listener.close().await;
}
