//! `GET /api/v1/requests/{id}/events`: server-sent events of a request.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, Responder, http::Method, web};
use actix_web_lab::sse;
use tokio::sync::mpsc;

use crate::api::{
    http::{
        problem::Problem,
        request_id,
        responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
    },
    openapi::schema::StreamEvent,
    requests::follow::{Follower, Update},
    state::State,
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}/events";

/// The pause after which a comment is sent, so that no proxy takes the connection for dead.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Server-sent events: `status` with the request whenever it changes, and `progress` of the work on it. The
/// stream ends with the request.
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
        RequestNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn stream(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    let follower = Follower::new(state, id).await?;
    // Room for one event: a slow client receives the latest state, not every one.
    let (events, received) = mpsc::channel::<sse::Event>(1);
    // HEAD has the same headers and no events.
    if request.method() != Method::HEAD {
        actix_web::rt::spawn(send_updates(follower, events));
    }
    let stream = sse::Sse::from_infallible_receiver(received).with_keep_alive(KEEP_ALIVE_INTERVAL);
    Ok(stream.respond_to(&request).map_into_boxed_body())
}

/// Sends the updates of a request until it ends or the client has gone.
async fn send_updates(follower: Follower, events: mpsc::Sender<sse::Event>) {
    let sending = follower.run(async |update| {
        let event = match update {
            Update::Status(json) => sse::Data::new(json).event("status"),
            Update::Progress(json) => sse::Data::new(json).event("progress"),
        };
        events.send(event.into()).await.is_ok()
    });
    tokio::select! {
        () = sending => {}
        () = events.closed() => {}
    }
}
