//! One line's way: sent, waited for, and made into a line of the output.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::{super::submit, Line};
use crate::{
    api::{CallError, Client, Request, Status},
    output,
};

/// What became of a line.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The line of the output, without its end.
    pub(super) json: String,
    /// The number of the line in the input.
    pub(super) line: u64,
    pub(super) completed: bool,
}

/// A line of the output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    line: u64,
    request_id: Option<Uuid>,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_results: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
}

/// Sends a line and waits for its end.
///
/// # Errors
/// If the service can't be asked; what is wrong with this line alone is an outcome.
pub(super) async fn run(client: &Client, line: Line, key: &str) -> Result<Outcome, CallError> {
    let body = submit::body(&line.data, None, None)
        .map_err(|_| CallError::Foreign("checked JSON is not JSON any more".to_owned()))?;
    let id = match client.submit(&body, key).await {
        Ok(id) => id,
        Err(CallError::Refused { status: 400 | 413 | 422, kind, said }) => {
            return Ok(refused(line.number, None, &kind, &said));
        }
        // What is wrong with more than this line, as a missing right, would be wrong with all.
        Err(error) => return Err(error),
    };
    match client.wait(id, None).await {
        Ok(request) => Ok(ended(line.number, &request)),
        Err(CallError::Missing(said)) => Ok(refused(line.number, Some(id), "not-found", &said)),
        Err(error) => Err(error),
    }
}

fn ended(line: u64, request: &Request) -> Outcome {
    let result = request.result().and_then(|json| serde_json::from_str(json).ok());
    let written = Written {
        line,
        request_id: Some(request.id),
        status: request.status.word(),
        processing_results: result,
        error: request.error_json(),
    };
    outcome(&written)
}

/// The service would not take it, or knows nothing of it any more.
fn refused(line: u64, request_id: Option<Uuid>, code: &str, message: &str) -> Outcome {
    let error = to_raw_value(&serde_json::json!({ "code": code, "message": message })).ok();
    let status = Status::Failed.word();
    outcome(&Written { line, request_id, status, processing_results: None, error })
}

fn outcome(written: &Written<'_>) -> Outcome {
    let json = serde_json::to_string(written).expect("texts, numbers and checked JSON are JSON");
    Outcome {
        json: output::one_line(&json).into_owned(),
        line: written.line,
        completed: written.status == Status::Completed.word(),
    }
}
