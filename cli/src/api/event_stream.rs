//! Server-sent events of a request: its changes of status and its progress.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use reqwest::{Response, header};
use sse_stream::{Sse, SseByteStream};
use tokio::time::timeout;

use super::{
    progress::Progress,
    request::{Request, Status},
};

/// How long a stream may be silent before it counts as lost. The service sends something every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);

type Parsed = Result<Sse, sse_stream::Error>;

/// The events of one connection.
pub(crate) struct EventStream(Pin<Box<dyn Stream<Item = Parsed>>>);

/// Something that happened to a request.
#[derive(Debug)]
pub(crate) enum Event {
    /// The request has changed; this is its present state.
    Status(Box<Request>),
    /// What its worker reports.
    Progress(Progress),
}

impl EventStream {
    /// The events in a response; `None` if its content type is another one.
    pub(super) fn of(response: Response) -> Option<Self> {
        let content_type = response.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
        let is_stream = content_type.starts_with("text/event-stream");
        is_stream.then(|| Self(Box::pin(SseByteStream::new(response.bytes_stream()))))
    }

    /// The next event; `None` when the stream has ended or the connection is lost.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let Ok(Some(Ok(sse))) = timeout(SILENCE_TIMEOUT, self.0.next()).await else {
                return None;
            };
            if let Some(event) = Event::of(sse) {
                return Some(event);
            }
        }
    }
}

impl Event {
    /// The event, if its name is known and its data can be read.
    fn of(sse: Sse) -> Option<Self> {
        let data = sse.data?;
        match sse.event.as_deref() {
            Some("status") => serde_json::from_str(&data).ok().map(Self::Status),
            Some("progress") => Some(Self::Progress(Progress::parse(data))),
            _ => None,
        }
    }

    /// The status of the request then.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Status(request) => request.status,
            Self::Progress(_) => Status::Processing,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn known_events_come_in_order_and_others_are_skipped() {
        let status = r#"{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"queued"}"#;
        let text = format!(
            ": keep-alive\n\nevent: status\ndata: {status}\n\nevent: other\ndata: {{}}\n\n\
             event: status\ndata: nonsense\n\nevent: progress\ndata: {{\"progress\":\ndata: 1}}\n\n\
             event: status\ndata: cut o"
        );
        let chunks = text.into_bytes().chunks(7).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        let mut events = EventStream(Box::pin(SseByteStream::new(
            chunks.map(|chunk| chunk.map(std::io::Cursor::new)),
        )));
        assert!(
            matches!(events.next().await, Some(Event::Status(request)) if request.json() == status)
        );
        assert!(
            matches!(events.next().await, Some(Event::Progress(told)) if told.json == "{\"progress\":\n1}" && told.progress == Some(1.0))
        );
        assert!(events.next().await.is_none());
    }
}
