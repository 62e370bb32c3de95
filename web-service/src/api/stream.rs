//! `GET /api/v1/requests/{id}/events`.

use std::time::Duration;

use actix_web::{HttpResponse, Responder, get, web};
use actix_web_lab::sse;
use tokio::sync::mpsc;

use super::{Problem, requests::parse_id, watch};
use crate::state::State;

/// Something is sent this often, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A request as it changes, as server-sent events named `status`; ends with the request.
#[get("/api/v1/requests/{id}/events")]
pub(super) async fn stream(
    request: actix_web::HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let first = watch::look(&state, id).await?;
    let (events, received) = mpsc::channel::<sse::Event>(4);
    actix_web::rt::spawn(async move {
        let told = watch::follow(&state, id, first, async |json| {
            events.send(sse::Data::new(json).event("status").into()).await.is_ok()
        });
        tokio::select! {
            () = told => {}
            () = events.closed() => {}
        }
    });
    let stream = sse::Sse::from_infallible_receiver(received).with_keep_alive(KEEP_ALIVE);
    Ok(stream.respond_to(&request).map_into_boxed_body())
}
