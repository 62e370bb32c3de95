//! `GET /api/v1/requests/{id}/events`.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, Responder, http::Method, web};
use actix_web_lab::sse;
use tokio::sync::mpsc;

use crate::api::state::State;
use crate::api::{
    http::problem::Problem,
    openapi::schema::{NoRequest, OtherMethod, StoreAway, StreamEvent},
    requests::{
        follow::{Follower, Told},
        get::parse_id,
    },
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}/events";

/// Something is sent this often, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A request as it changes, as server-sent events named `status`, and how far the work on it is, as
/// events named `progress`; ends with the request.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "followRequest",
    tag = "requests",
    summary = "Follow a request",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 200, description = "Server-sent events (each as the schema says) named `status`, with the request as JSON in `data`: \
            first as it is now, then at every change; and `progress`, with `requestId`, `progress`, `message` and `at`. \
            The stream closes after the final state",
            body = StreamEvent, content_type = "text/event-stream"),
        NoRequest,
        OtherMethod,
        StoreAway
    )
)]
pub(crate) async fn stream(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let follower = Follower::of(state, id).await?;
    if request.method() == Method::HEAD {
        let (_, nothing) = mpsc::channel(1);
        return Ok(answer(&request, nothing));
    }
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
    Ok(answer(&request, received))
}

fn answer(request: &HttpRequest, events: mpsc::Receiver<sse::Event>) -> HttpResponse {
    let stream = sse::Sse::from_infallible_receiver(events).with_keep_alive(KEEP_ALIVE);
    stream.respond_to(request).map_into_boxed_body()
}
