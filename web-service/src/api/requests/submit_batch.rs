//! `POST /api/v1/processData/batch`.

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde::Serialize;
use tracing::{debug, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::{
    http::{body, problem::Problem},
    openapi::schema::OtherMethod,
    requests::{
        submission::Line,
        submit::{refusal, trace},
    },
};
use crate::{api::state::State, dispatch::accept_batch};

pub(crate) const PATH: &str = "/api/v1/processData/batch";

/// The media types of newline-delimited JSON; there is no registered one.
const MEDIA: &[&str] =
    &["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];
/// How many lines a batch may have.
const LINES: usize = 10_000;
/// How many bytes a batch may have.
const BYTES: usize = 16 << 20;

/// What became of a line.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// Which line, from 1.
    line: usize,
    /// The status that it would have had alone.
    status: u16,
    /// Its request, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid")]
    request_id: Option<Uuid>,
    /// What is wrong with it, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// Takes many requests, one a line. A bad line fails alone.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "processBatch",
    tag = "requests",
    summary = "Hand in much work at once",
    params(
        ("traceparent" = Option<String>, Header, nullable = false,
            description = "The trace that all the requests belong to (W3C Trace Context); what is malformed is ignored")
    ),
    request_body(content = Line, content_type = "application/x-ndjson",
        description = "A JSON object a line; 10,000 lines and 16 MiB at most. Empty lines are passed over."),
    responses(
        (status = 200, description = "What became of each line, in order", body = Outcome,
            content_type = "application/x-ndjson"),
        (status = 400, description = "`unreadable`: the body broke off",
            body = Problem, content_type = "application/problem+json"),
        OtherMethod,
        (status = 408, description = "`too-slow`: the body did not arrive in time",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: too many bytes or lines",
            body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`: it is not `application/x-ndjson`",
            body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn batch(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let body = body::read(&request, payload, MEDIA, BYTES).await?;
    let lines = lines(&body)?;
    let limit = state.body_limit;
    let trace = trace(&request);
    let wishes = lines.iter().map(|(_, line)| match line.len() > limit {
        true => Err(Problem::too_large(limit)),
        false => Line::wish(line, trace.clone(), &state.callbacks),
    });
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for wish in wishes {
        match wish {
            Ok(wish) => {
                good.push(wish);
                problems.push(None);
            }
            Err(problem) => problems.push(Some(problem)),
        }
    }
    let mut accepted = accept_batch::accept_batch(&state.dispatch, &good).await.into_iter();
    debug!(lines = lines.len(), good = good.len(), "batch");
    let outcomes = lines.iter().zip(problems).map(|((number, _), problem)| match problem {
        Some(problem) => Outcome::bad(*number, problem),
        None => match accepted.next() {
            Some(Ok(id)) => Outcome::good(*number, id),
            Some(Err(refused)) => Outcome::bad(*number, refusal(&refused)),
            None => Outcome::bad(*number, Problem::unavailable("Nothing was sent. Try again.")),
        },
    });
    Ok(HttpResponse::Ok().content_type(MEDIA[0]).body(text(outcomes)))
}

impl Outcome {
    fn good(line: usize, id: Uuid) -> Self {
        Self { line, status: 202, request_id: Some(id), error: None }
    }

    fn bad(line: usize, problem: Problem) -> Self {
        let status = problem.status_code().as_u16();
        Self { line, status, request_id: None, error: Some(problem) }
    }
}

/// The lines that are not empty, with their numbers.
fn lines(body: &[u8]) -> Result<Vec<(usize, &[u8])>, Problem> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<_> = (1..).zip(lines).filter(|(_, line)| !line.is_empty()).collect();
    match lines.len() {
        0..=LINES => Ok(lines),
        many => Err(Problem::too_many_lines(many, LINES)),
    }
}

fn text(outcomes: impl Iterator<Item = Outcome>) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        match serde_json::to_string(&outcome) {
            Ok(json) => text.push_str(&json),
            Err(error) => warn!("an outcome can't be written: {error}"),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_empty_ones_are_passed_over() {
        let found = lines(b"a\n\n  \r\nb\r\n").unwrap();
        assert_eq!(found, [(1, b"a".as_slice()), (4, b"b")]);
        assert!(lines(b"").unwrap().is_empty());
    }

    #[test]
    fn there_is_a_most_of_lines() {
        assert!(lines("a\n".repeat(LINES).as_bytes()).is_ok());
        assert!(lines("a\n".repeat(LINES + 1).as_bytes()).is_err());
    }
}
