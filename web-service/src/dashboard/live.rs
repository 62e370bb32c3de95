//! `GET /live`: a stream that tells open pages that something has changed, at most once a second.
//!
//! It does not tell what: each page asks for itself again, and changes where it differs. So a page shows the same whether
//! it was opened now or has been open all night, and a lost event does no harm.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use sse_stream::Sse;
use tokio::{sync::mpsc, time::sleep};

use crate::api::{requests::event_stream, state::State, status::Status};

pub(super) const PATH: &str = "/live";

/// How often it is looked whether something has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// The stream.
pub(super) async fn stream(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let (events, received) = mpsc::channel(1);
    // HEAD has the same headers and no events.
    if request.method() != Method::HEAD {
        actix_web::rt::spawn(send_changes(state, events));
    }
    event_stream::response(&request, received)
}

/// Sends an event at once, and whenever something has changed, until the client has gone or the service stops.
async fn send_changes(state: web::Data<State>, events: mpsc::Sender<Sse>) {
    let sending = async {
        let mut sent = None;
        loop {
            let now = fingerprint(&state).await;
            if sent != Some(now) {
                let event = Sse::default().event("changed").data(format!("{now:016x}"));
                if events.send(event).await.is_err() {
                    return;
                }
                sent = Some(now);
            }
            sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        () = sending => {}
        () = events.closed() => {}
        () = state.drain.cancelled() => {}
    }
}

/// Differs when what pages show has changed. It costs the store no more than the status does, which all share.
async fn fingerprint(state: &State) -> u64 {
    let status = Status::of(state).await;
    let mut hasher = DefaultHasher::new();
    state.jobs.changes().hash(&mut hasher);
    let shown = (&status.parts, &status.requests, &status.rates, &status.oldest, &status.queues);
    format!("{shown:?}").hash(&mut hasher);
    hasher.finish()
}
