//! Submits one line of the input, waits for its end, and makes its line of the output.

use std::{ops::RangeInclusive, time::Duration};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::{input_file::Line, open_lines::OpenLines};
use crate::{
    api::{
        client::Client,
        error::CallError,
        request::{Request, Status},
        submission::Submission,
    },
    text,
};

/// The problem of a type that the service does not have.
const UNKNOWN_TYPE: &str = "unknown-type";
/// How many requests are looked at in a second, at most: their failed attempts are shown.
const MAX_POLLS_PER_SECOND: u64 = 10;
/// How often the request of a line is looked at, if there are few or many.
const POLL_SECONDS: RangeInclusive<u64> = 2..=10;

/// The result of a line.
#[derive(Debug)]
pub(super) struct LineResult {
    /// The line of the output, without its line break.
    pub(super) json: String,
    /// The number of the line in the input, from 1.
    pub(super) line: u64,
    pub(super) completed: bool,
}

/// Submits the lines of a run, and waits for their ends.
pub(super) struct LineClient<'a> {
    client: &'a Client,
    /// The type of the requests, if one was given.
    kind: Option<&'a str>,
    open: &'a OpenLines,
    /// How often the request of a line is looked at, at least.
    poll: Duration,
}

impl<'a> LineClient<'a> {
    /// For so many lines at a time, as requests of this type. What is known of them until their ends is noted in `open`.
    pub(super) fn new(
        client: &'a Client,
        kind: Option<&'a str>,
        open: &'a OpenLines,
        concurrency: usize,
    ) -> Self {
        Self { client, kind, open, poll: poll_interval(concurrency) }
    }

    /// Submits a line and waits for its end.
    ///
    /// # Errors
    /// If the error concerns more than this line; a rejection of its data is a result.
    pub(super) async fn submit(
        &self,
        line: Line,
        idempotency_key: &str,
    ) -> Result<LineResult, CallError> {
        let submission = Submission { kind: self.kind, ..Submission::new(&line.data) };
        let id = match self.client.submit(&submission, idempotency_key).await {
            Ok(id) => id,
            Err(CallError::Rejected { status: 400 | 413 | 422, problem_type, detail })
                if problem_type != UNKNOWN_TYPE =>
            {
                return Ok(failed(line.number, None, &problem_type, &detail));
            }
            // Other rejections, as of the type, would meet every line.
            Err(error) => return Err(error),
        };
        self.wait(line.number, id).await
    }

    /// Waits for the end of the request of a line, and notes meanwhile what is known of it.
    ///
    /// # Errors
    /// If the error concerns more than this line.
    pub(super) async fn wait(&self, line: u64, id: Uuid) -> Result<LineResult, CallError> {
        let note = |request: &Request| self.open.note(line, request);
        match self.client.wait_showing(id, None, self.poll, note).await {
            Ok(request) => Ok(ended(line, &request)),
            Err(CallError::NotFound(detail)) => Ok(failed(line, Some(id), "not-found", &detail)),
            Err(error) => Err(error),
        }
    }
}

fn poll_interval(concurrency: usize) -> Duration {
    let (few, many) = POLL_SECONDS.into_inner();
    Duration::from_secs((concurrency as u64 / MAX_POLLS_PER_SECOND).clamp(few, many))
}

/// A line of the output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputLine<'a> {
    line: u64,
    request_id: Option<Uuid>,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_results: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
}

fn ended(line: u64, request: &Request) -> LineResult {
    let result = request.result().and_then(|json| serde_json::from_str(json).ok());
    line_result(&OutputLine {
        line,
        request_id: Some(request.id),
        status: request.status.as_str(),
        processing_results: result,
        error: request.error_json(),
    })
}

/// The service rejected the data, or no longer knows the request.
fn failed(line: u64, request_id: Option<Uuid>, code: &str, message: &str) -> LineResult {
    let error = to_raw_value(&serde_json::json!({ "code": code, "message": message })).ok();
    let status = Status::Failed.as_str();
    line_result(&OutputLine { line, request_id, status, processing_results: None, error })
}

fn line_result(output: &OutputLine<'_>) -> LineResult {
    let json = serde_json::to_string(output).expect("strings, numbers and checked JSON serialize");
    LineResult {
        json: text::one_line(&json).into_owned(),
        line: output.line,
        completed: output.status == Status::Completed.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_are_looked_at_less_often() {
        let seconds = [1, 16, 50, 256].map(|lines| poll_interval(lines).as_secs());
        assert_eq!(seconds, [2, 2, 5, 10]);
    }
}
