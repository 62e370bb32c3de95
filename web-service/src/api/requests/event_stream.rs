//! `GET /api/v1/requests/{id}/events`: server-sent events of a request.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        ConnectionType, Method, Version,
        header::{CacheControl, CacheDirective, HeaderName, HeaderValue},
    },
    web::{self, Bytes},
};
use futures_util::{Stream, stream};
use sse_stream::{EncodeError, Sse};
use tokio::{sync::mpsc, time::timeout};

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
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

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
            Each has an `id`. The stream closes after the final state: close your side then, or a browser connects again. \
            It closes, too, if the request is deleted meanwhile",
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
    let (events, received) = mpsc::channel(1);
    // HEAD has the same headers and no events.
    if request.method() != Method::HEAD {
        actix_web::rt::spawn(send_updates(follower, events));
    }
    Ok(response(&request, received))
}

/// A stream of these events, until their sender is dropped.
pub(crate) fn response(request: &HttpRequest, events: mpsc::Receiver<Sse>) -> HttpResponse {
    let mut response = HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(CacheControl(vec![CacheDirective::NoCache]))
        .streaming(encoded(events, KEEP_ALIVE_INTERVAL));
    prepare_for_proxies(request.version(), &mut response);
    response
}

/// The events as they are sent, with a comment after each pause of this length.
fn encoded(
    events: mpsc::Receiver<Sse>,
    pause: Duration,
) -> impl Stream<Item = Result<Bytes, EncodeError>> {
    stream::unfold(events, move |mut events| async move {
        let bytes = match timeout(pause, events.recv()).await {
            Ok(event) => event?.encode(),
            Err(_) => Ok(Bytes::from_static(KEEP_ALIVE)),
        };
        Some((bytes, events))
    })
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
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if version < Version::HTTP_11 {
        let head = response.head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

/// Sends the updates of a request until it ends or the client has gone.
async fn send_updates(follower: Follower, events: mpsc::Sender<Sse>) {
    let sending = follower.run(async |update| {
        let name = match update.kind {
            UpdateKind::Status => "status",
            UpdateKind::Progress => "progress",
        };
        let event = Sse::default().event(name).id(update.id).data(update.json);
        events.send(event).await.is_ok()
    });
    tokio::select! {
        () = sending => {}
        () = events.closed() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn events_are_sent_as_they_come_with_comments_in_between() {
        let (events, received) = mpsc::channel(1);
        let mut sent = pin!(encoded(received, Duration::from_millis(1)));
        events.send(Sse::default().event("status").id("0.1").data("{}")).await.unwrap();
        let event = sent.next().await.unwrap().unwrap();
        assert_eq!(event, "event: status\ndata: {}\nid: 0.1\n\n");
        assert_eq!(sent.next().await.unwrap().unwrap(), KEEP_ALIVE);
        drop(events);
        assert!(sent.next().await.is_none());
    }
}
