//! `slowlane watch`: prints every change of a request until it has ended.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::request_text;
use crate::{
    api::{
        client::Client,
        event_stream::Event,
        progress::Progress,
        request::{Request, Status},
    },
    arguments::Format,
    exit::{Exit, Failure},
    output,
    text::{SHORT_ERROR_CHARS, escape_controls, one_line, short_error},
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
                match output::line(&line).map_err(Failure::from) {
                    // Nobody reads what is still to come.
                    Err(Failure::OutputClosed) => return Ok(Exit::of(event.status())),
                    printed => printed?,
                }
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
        output::answer(request_text::result(request))?;
    }
    Ok(Exit::of(request.status))
}

fn line(event: &Event, format: Format) -> String {
    match (event, format) {
        (Event::Status(request), Format::Json) => one_line(request.json()).into_owned(),
        (Event::Progress(reported), Format::Json) => one_line(&reported.json).into_owned(),
        (Event::Status(request), Format::Text) => state(request),
        (Event::Progress(reported), Format::Text) => progress(reported),
    }
}

fn state(request: &Request) -> String {
    let details = &request.details;
    let mut parts = vec![request_text::status(request.status, 10)];
    if request.error.is_some() {
        parts.push(request_text::error(request));
    } else if let Some(at) = details.next_attempt_at.as_ref().filter(|_| details.attempts > 0) {
        let (attempt, next) = (details.attempts, details.attempts + 1);
        let error = details.last_error.as_deref().map(|error| format!(": {}", short(error)));
        parts.push(format!("attempt {attempt} failed{}", error.unwrap_or_default()));
        parts.push(format!("attempt {next} begins at {}", escape_controls(at, &[])));
    } else if !request.status.is_final() {
        let worker = details.worker.as_ref();
        parts.extend(worker.map(|worker| format!("by {}", escape_controls(worker, &[]))));
        parts.extend(Progress::of(request).as_ref().map(request_text::progress));
        parts.extend((details.attempts > 1).then(|| format!("attempt {}", details.attempts)));
        let after = details.last_error.as_ref();
        parts.extend(after.map(|error| format!("after {}", short(error))));
    }
    parts.join("  ").trim_end().to_owned()
}

fn short(error: &str) -> String {
    short_error(error, SHORT_ERROR_CHARS)
}

fn progress(reported: &Progress) -> String {
    let status = request_text::status(Status::Processing, 10);
    format!("{status}  {}", request_text::progress(reported)).trim_end().to_owned()
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
        assert_eq!(state(&retried), "queued      attempt 2 failed: boom  attempt 3 begins at T");
        let failed = request(
            "\"status\":\"failed\",\"attempts\":3,\"error\":{\"code\":\"c\",\"message\":\"m\"}",
        );
        assert_eq!(state(&failed), "failed      m (c)");
        assert_eq!(state(&request("\"status\":\"completed\"")), "completed");
    }

    #[test]
    fn progress_is_shown_as_a_percentage() {
        let line = |json: &str| progress(&serde_json::from_str(json).unwrap());
        let counted =
            r#"{"progress":0.25,"progressCount":{"done":5,"total":20},"message":"page 5\u0007"}"#;
        assert_eq!(line(counted), "processing  5 of 20 (25%)  page 5\\u{7}");
        assert_eq!(line(r#"{"progress":0.25}"#), "processing  25%");
        assert_eq!(line("{}"), "processing");
    }
}
