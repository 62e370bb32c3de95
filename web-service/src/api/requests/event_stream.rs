//! `GET /api/v1/requests/{id}/events`: server-sent events of a request.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::{
        ConnectionType, Method, Version,
        header::{self, HeaderName, HeaderValue},
    },
    web,
};
use actix_web_lab::sse;
use tokio::sync::mpsc;

use crate::api::{
    http::{
        problem::Problem,
        request_id,
        responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
    },
    openapi::schema::StreamEvent,
    requests::follow::{Follower, UpdateKind},
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
    params(
        ("id" = String, Path, format = "uuid", description = "The `requestId`"),
        ("Last-Event-ID" = Option<String>, Header, nullable = false,
            description = "The `id` of the last event that was received: browsers send it when they connect again")
    ),
    responses(
        (status = 200, description = "Server-sent events (each as the schema says) named `status`, with the request as JSON in `data`: \
            first as it is now, then at every change; and `progress`, with `requestId`, `progress`, `progressCount`, `message` and `at`. \
            Each has an `id`. The stream closes after the final state: close your side then, or a browser connects again",
            body = StreamEvent, content_type = "text/event-stream"),
        (status = 204, description = "With `Last-Event-ID`: the final state was received already. Browsers then connect no more"),
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
    if last_event_id(&request).is_some_and(|last| follower.has_ended_for(last)) {
        return Ok(HttpResponse::NoContent().finish());
    }
    // Room for one event: a slow client receives the latest state, not every one.
    let (events, received) = mpsc::channel::<sse::Event>(1);
    // HEAD has the same headers and no events.
    if request.method() != Method::HEAD {
        actix_web::rt::spawn(send_updates(follower, events));
    }
    Ok(response(&request, received))
}

/// A stream of these events, until their sender is dropped.
pub(crate) fn response(request: &HttpRequest, events: mpsc::Receiver<sse::Event>) -> HttpResponse {
    let stream = sse::Sse::from_infallible_receiver(events).with_keep_alive(KEEP_ALIVE_INTERVAL);
    let mut response = stream.respond_to(request).map_into_boxed_body();
    prepare_for_proxies(request.version(), &mut response);
    response
}

/// The id of the last event that a reconnecting client has received.
fn last_event_id(request: &HttpRequest) -> Option<&str> {
    let id = request.headers().get("last-event-id")?.to_str().ok()?;
    Some(id).filter(|id| !id.is_empty())
}

/// Makes the stream pass proxies event by event. nginx holds it back without this header, and speaks HTTP/1.0 to us unless
/// it is told otherwise: then the end of the connection is the end of the stream (RFC 9112, 6.1).
fn prepare_for_proxies(version: Version, response: &mut HttpResponse) {
    let headers = response.headers_mut();
    // The stream's library says "identity", which is no content coding (RFC 9110, 8.4.1).
    headers.remove(header::CONTENT_ENCODING);
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if version < Version::HTTP_11 {
        let head = response.head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

/// Sends the updates of a request until it ends or the client has gone.
async fn send_updates(follower: Follower, events: mpsc::Sender<sse::Event>) {
    let sending = follower.run(async |update| {
        let name = match update.kind {
            UpdateKind::Status => "status",
            UpdateKind::Progress => "progress",
        };
        let event = sse::Data::new(update.json).event(name).id(update.id);
        events.send(event.into()).await.is_ok()
    });
    tokio::select! {
        () = sending => {}
        () = events.closed() => {}
    }
}
