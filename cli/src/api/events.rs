//! The stream of what happens to a request, as server-sent events.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use reqwest::{Response, header};
use sse_stream::{Sse, SseByteStream};
use tokio::time::timeout;

use super::Request;

/// The service sends something at least every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

type Parsed = Result<Sse, sse_stream::Error>;

/// The events of one connection.
pub(crate) struct Events(Pin<Box<dyn Stream<Item = Parsed>>>);

/// Something that happened to a request.
#[derive(Debug)]
pub(crate) enum Event {
    /// The request has changed; it looks so now.
    Status(Box<Request>),
    /// Its worker tells something, in JSON.
    Progress(String),
}

impl Events {
    /// The events in an answer; none if it is of another kind.
    pub(super) fn of(answer: Response) -> Option<Self> {
        let kind = answer.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
        let good = kind.starts_with("text/event-stream");
        good.then(|| Self(Box::pin(SseByteStream::new(answer.bytes_stream()))))
    }

    /// The next event; none when the connection has ended, whether in order or not.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let Ok(Some(Ok(sse))) = timeout(SILENCE, self.0.next()).await else { return None };
            if let Some(event) = Event::of(sse) {
                return Some(event);
            }
        }
    }
}

impl Event {
    /// An event of a name we know, with data as it should be.
    fn of(sse: Sse) -> Option<Self> {
        let data = sse.data?;
        match sse.event.as_deref() {
            Some("status") => serde_json::from_str(&data).ok().map(Self::Status),
            Some("progress") => Some(Self::Progress(data)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn known_events_come_in_order_and_the_rest_is_passed_over() {
        let status = r#"{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"queued"}"#;
        let text = format!(
            ": keep-alive\n\nevent: status\ndata: {status}\n\nevent: other\ndata: {{}}\n\n\
             event: status\ndata: nonsense\n\nevent: progress\ndata: {{\"progress\":\ndata: 1}}\n\n\
             event: status\ndata: cut o"
        );
        let chunks = text.into_bytes().chunks(7).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        let mut events = Events(Box::pin(SseByteStream::new(
            chunks.map(|chunk| chunk.map(std::io::Cursor::new)),
        )));
        assert!(
            matches!(events.next().await, Some(Event::Status(request)) if request.json() == status)
        );
        assert!(
            matches!(events.next().await, Some(Event::Progress(data)) if data == "{\"progress\":\n1}")
        );
        assert!(events.next().await.is_none());
    }
}
