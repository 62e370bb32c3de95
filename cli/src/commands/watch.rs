//! `slowlane watch`: prints every change of a request until it has ended.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::sleep;
use uuid::Uuid;

use super::request_text;
use crate::{
    api::{
        client::Client,
        event_stream::Event,
        request::{Request, Status},
    },
    arguments::Format,
    exit::{Exit, Failure},
    output,
    text::{escape_controls, one_line, shorten},
};

/// The pause before a stream that was lost is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);

/// Prints the events of a request until its end. A stream that was opened again begins with the present
/// state, which is printed only if it has changed.
pub(super) async fn run(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let mut last = String::new();
    loop {
        let mut events = client.events(id).await?;
        while let Some(event) = events.next().await {
            let line = line(&event, format);
            if line != last {
                output::line(&line)?;
                last = line;
            }
            if let Event::Status(request) = event
                && request.status.is_final()
            {
                return end(&request, format);
            }
        }
        sleep(REOPEN_PAUSE).await;
    }
}

fn end(request: &Request, format: Format) -> Result<Exit, Failure> {
    if format == Format::Text && request.status == Status::Completed {
        output::line(request_text::result(request))?;
    }
    Ok(Exit::of(request.status))
}

fn line(event: &Event, format: Format) -> String {
    match (event, format) {
        (Event::Status(request), Format::Json) => one_line(request.json()).into_owned(),
        (Event::Progress(json), Format::Json) => one_line(json).into_owned(),
        (Event::Status(request), Format::Text) => state(request),
        (Event::Progress(json), Format::Text) => progress(json),
    }
}

fn state(request: &Request) -> String {
    let details = &request.details;
    let mut parts = vec![request_text::status(request.status, 10)];
    if request.error.is_some() {
        parts.push(request_text::error(request));
    } else if !request.status.is_final() {
        let some = |name: &str, text: &Option<String>| {
            text.as_ref().map(|text| format!("{name} {}", escape_controls(text, &[])))
        };
        parts.extend(some("by", &details.worker));
        parts.extend(details.progress.as_ref().map(|progress| progress.get().to_owned()));
        parts.extend((details.attempts > 1).then(|| format!("attempt {}", details.attempts)));
        let after = details.last_error.as_ref();
        parts.extend(after.map(|error| format!("after {}", shorten(error))));
        parts.extend(some("again at", &details.next_attempt_at));
    }
    parts.join("  ").trim_end().to_owned()
}

/// What a worker reports about its work.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Progress {
    progress: Option<Box<RawValue>>,
    message: Option<String>,
}

fn progress(json: &str) -> String {
    let reported: Progress = serde_json::from_str(json).unwrap_or_default();
    let parts = [
        Some(request_text::status(Status::Processing, 10)),
        reported.progress.map(|progress| progress.get().to_owned()),
        reported.message.map(|message| escape_controls(&message, &[]).into_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(rest: &str) -> Request {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        serde_json::from_str(&format!("{{\"requestId\":\"{id}\",{rest}}}")).unwrap()
    }

    #[test]
    fn a_state_is_one_line_with_what_is_known() {
        let retried = request(
            "\"status\":\"queued\",\"attempts\":2,\"lastError\":\"boom\",\"nextAttemptAt\":\"T\"",
        );
        assert_eq!(state(&retried), "queued      attempt 2  after boom  again at T");
        let failed = request(
            "\"status\":\"failed\",\"attempts\":3,\"error\":{\"code\":\"c\",\"message\":\"m\"}",
        );
        assert_eq!(state(&failed), "failed      m (c)");
        assert_eq!(state(&request("\"status\":\"completed\"")), "completed");
    }

    #[test]
    fn progress_is_shown_as_the_worker_counts_it() {
        let line = progress(r#"{"progress":0.25,"message":"page 5\u0007","worker":"w"}"#);
        assert_eq!(line, "processing  0.25  page 5\\u{7}");
        assert_eq!(progress("nonsense"), "processing");
    }
}
