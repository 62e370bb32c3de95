//! `GET /api/v1/requests/{id}/events`.

use std::time::Duration;

use actix_web::{HttpResponse, Responder, get, web};
use actix_web_lab::sse;
use tokio::sync::mpsc;

use super::{
    Problem,
    follow::{Follower, Told},
    requests::parse_id,
};
use crate::state::State;

/// Something is sent this often, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A request as it changes, as server-sent events named `status`, and how far the work on it is, as
/// events named `progress`; ends with the request.
#[get("/api/v1/requests/{id}/events")]
pub(super) async fn stream(
    request: actix_web::HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let follower = Follower::of(state, id).await?;
    // One at a time: who reads slowly is told the latest, not all there was.
    let (events, received) = mpsc::channel::<sse::Event>(1);
    actix_web::rt::spawn(async move {
        let told = follower.run(async |told| {
            let event = match told {
                Told::Status(json) => sse::Data::new(json).event("status"),
                Told::Progress(json) => sse::Data::new(json).event("progress"),
            };
            events.send(event.into()).await.is_ok()
        });
        tokio::select! {
            () = told => {}
            () = events.closed() => {}
        }
    });
    let stream = sse::Sse::from_infallible_receiver(received).with_keep_alive(KEEP_ALIVE);
    Ok(stream.respond_to(&request).map_into_boxed_body())
}
