//! `POST /api/v1/processData/batch`: submits a batch of requests, one a line.

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use pipeline::{contract::encoding, log_messages::ACCEPTED_BATCH};
use serde::Serialize;
use tracing::{info, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::{
        http::{
            body::{self, BodyRules},
            idempotency_key, json_body,
            problem::Problem,
            problem_type::ProblemType,
            responses::{BodyNotTaken, BodyRejected, MethodNotAllowed},
            trace,
        },
        requests::{rejected, submission::BatchLine},
        state::State,
    },
    dispatch::{
        accept_batch::accept_batch,
        submission::{RejectedSubmission, Submission},
    },
};

pub(crate) const PATH: &str = "/api/v1/processData/batch";

/// The most lines in a batch. Empty lines do not count.
const MAX_LINES: usize = 10_000;
/// The longest batch.
const MAX_BATCH_BYTES: usize = 16 << 20;
/// The media types of newline-delimited JSON; none is registered.
const MEDIA_TYPES: &[&str] =
    &["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];

/// The outcome of a line.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// The number of the line, from 1.
    line: usize,
    /// The status that a single request would have had.
    status: u16,
    /// The id of the request, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid")]
    request_id: Option<Uuid>,
    /// Why it was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// Submits many requests, one a line. A bad line fails alone.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "processBatch",
    tag = "requests",
    summary = "Submit a batch of requests",
    params(
        ("traceparent" = Option<String>, Header, nullable = false,
            description = "The trace that all the requests belong to (W3C Trace Context). A malformed one is ignored")
    ),
    request_body(content = BatchLine, content_type = "application/x-ndjson",
        description = "One JSON object a line; 10,000 lines and 16 MiB at most, and `BODY_LIMIT` for each line. \
            Empty lines are skipped."),
    responses(
        BodyRejected,
        (status = 200, description = "The outcome of each line, in order", body = Outcome,
            content_type = "application/x-ndjson"),
        (status = 400, description = "`not-json`: the batch is in another encoding; `unreadable`: it broke off; `wrong-key`: it has an \
            `Idempotency-Key`, where each line has its own", body = Problem, content_type = "application/problem+json"),
        BodyNotTaken,
        MethodNotAllowed
    )
)]
pub(crate) async fn batch(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    idempotency_key::none_of_a_batch(&request)?;
    let rules = BodyRules {
        media_types: MEDIA_TYPES,
        max_bytes: MAX_BATCH_BYTES,
        too_large: batch_too_large,
    };
    let body = body::read(&request, payload, &rules, &state.body_memory, &state.drain).await?;
    let lines = lines(&body)?;
    let trace = trace::parent(&request);
    let mut submissions = Vec::new();
    let parse = |line| -> Result<Submission<'_>, Problem> {
        check_length(line, state.body_limit)?;
        BatchLine::submission(line, trace.clone(), &state.submissions)
            .map_err(json_body::without_line)
    };
    let parsed: Vec<_> = lines
        .iter()
        .map(|(number, line)| (*number, parse(line).map(|parsed| submissions.push(parsed))))
        .collect();
    let accepted = accept_batch(&state.dispatch, &submissions).await;
    log(&accepted, parsed.len());
    let mut accepted = accepted.into_iter();
    let outcomes = parsed.into_iter().map(|(number, parsed)| {
        let accepted = parsed.and_then(|()| {
            let accepted = accepted.next().expect("there is an outcome for each submission");
            accepted.map_err(|rejection| rejected::problem(&rejection))
        });
        Outcome::new(number, accepted)
    });
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPES[0]).body(ndjson(outcomes)))
}

/// Logs a batch in one line, and with a second one why a part of it was not accepted.
fn log(outcomes: &[Result<Uuid, RejectedSubmission>], lines: usize) {
    let requests = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let rejected = lines - requests;
    info!(requests, rejected, "{ACCEPTED_BATCH}");
    if let Some(RejectedSubmission { error, .. }) = outcomes.iter().find_map(|o| o.as_ref().err()) {
        let rejected = outcomes.len() - requests;
        warn!(requests = rejected, %error, "requests of a batch not accepted");
    }
}

impl Outcome {
    fn new(line: usize, accepted: Result<Uuid, Problem>) -> Self {
        match accepted {
            Ok(id) => Self { line, status: 202, request_id: Some(id), error: None },
            Err(problem) => {
                let status = problem.status_code().as_u16();
                Self { line, status, request_id: None, error: Some(problem) }
            }
        }
    }
}

/// The lines that are not empty, with their numbers. Each may begin with a byte order mark, as where files were
/// joined.
fn lines(body: &[u8]) -> Result<Vec<(usize, &[u8])>, Problem> {
    if let Some(name) = encoding::other_encoding(body) {
        let detail = format!("The batch can't be read: it is {name}, not UTF-8.");
        return Err(Problem::new(ProblemType::NotJson, detail));
    }
    let line = |line| encoding::without_mark(line).trim_ascii();
    let lines = body.split(|byte| *byte == b'\n').map(line);
    let lines: Vec<_> = (1..).zip(lines).filter(|(_, line)| !line.is_empty()).collect();
    match lines.len() {
        0..=MAX_LINES => Ok(lines),
        count => Err(Problem::new(
            ProblemType::TooLarge,
            format!("The batch has {count} lines; a batch has at most {MAX_LINES}: split it."),
        )),
    }
}

fn check_length(line: &[u8], max_bytes: usize) -> Result<(), Problem> {
    match line.len() <= max_bytes {
        true => Ok(()),
        false => Err(Problem::new(
            ProblemType::TooLarge,
            format!("The line is longer than {max_bytes} bytes (BODY_LIMIT)."),
        )),
    }
}

fn batch_too_large(max_bytes: usize) -> Problem {
    let detail = format!(
        "The batch is longer than {max_bytes} bytes, the limit of every batch whatever BODY_LIMIT is: split it."
    );
    Problem::new(ProblemType::TooLarge, detail)
}

/// The outcomes as newline-delimited JSON.
fn ndjson(outcomes: impl Iterator<Item = Outcome>) -> String {
    let json = outcomes.map(|outcome| {
        serde_json::to_string(&outcome).expect("texts and numbers are always JSON") + "\n"
    });
    json.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_empty_ones_are_skipped() {
        let found = lines(b"a\n\n  \r\nb\r\n").unwrap();
        assert_eq!(found, [(1, b"a".as_slice()), (4, b"b")]);
        assert!(lines(b"").unwrap().is_empty());
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_another_encoding_is_named() {
        let found = lines("\u{feff}a\nb\n\u{feff}c\n\u{feff}\r\n".as_bytes()).unwrap();
        assert_eq!(found, [(1, b"a".as_slice()), (2, b"b"), (3, b"c")]);
        let utf16: Vec<u8> = "{\"data\":1}\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let error = lines(&utf16).unwrap_err().to_string();
        assert!(error.contains("UTF-16"), "{error}");
    }

    #[test]
    fn each_limit_has_an_error_that_names_it() {
        assert!(lines("a\n".repeat(MAX_LINES).as_bytes()).is_ok());
        let too_many = lines("a\n".repeat(MAX_LINES + 1).as_bytes()).unwrap_err();
        assert!(too_many.to_string().contains("10001 lines; a batch has at most 10000"));
        let too_long = batch_too_large(MAX_BATCH_BYTES).to_string();
        assert!(too_long.contains("16777216 bytes, the limit of every batch"), "{too_long}");
        assert!(check_length(b"abc", 3).is_ok());
        assert!(check_length(b"abcd", 3).unwrap_err().to_string().contains("(BODY_LIMIT)"));
    }
}
