//! `GET /api/v1/parked`, and one message of it: what came to the failed queue, as it came.

use std::str;

use actix_web::{HttpResponse, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use pipeline::contract::{Timestamp, headers};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::state::State;
use crate::api::{
    http::problem::Problem,
    openapi::schema::{NoMessage, OtherMethod, StoreAway},
};
use store::{DeleteParked, ParkedFilter, ParkedMessage, ParkedQuery};

pub(super) const PATH: &str = "/api/v1/parked";
pub(super) const ONE: &str = "/api/v1/parked/{number}";

/// How many messages a page has, unless the caller says.
const USUAL: u32 = 50;
/// How many messages a page has at most.
const MOST: u32 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Those of this request; without it, those that belong to no request.
    #[param(value_type = String, required = false, format = "uuid")]
    request: Option<String>,
    /// How many a page has at most.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// The `nextCursor` of the page before. What it is made of may change with any release.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

/// A message that nobody could work on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ParkedMessage)]
struct Message {
    number: i64,
    /// The request it belongs to, if it names a request of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid")]
    request_id: Option<Uuid>,
    /// In which run of its request it came.
    run: u32,
    /// For programs: why it was given up, as in the `error.code` of a request.
    reason: String,
    /// For people.
    error: String,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    /// Its headers, as far as they are Slowlane's own.
    #[schema(value_type = Object)]
    headers: Box<RawValue>,
    /// How many bytes the body has.
    size: u64,
    /// The body, if it is text; in a list its first 1000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    text: Option<String>,
    /// The body, if it is no text; in a list its first 1000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, content_encoding = "base64")]
    base64: Option<String>,
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ParkedPage)]
struct Page {
    /// Messages with the beginnings of their bodies, the latest first.
    items: Vec<Message>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Messages that came to the failed queue: those that belong to no request, or those of one. The latest
/// first, page by page.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "listParked",
    tag = "failed requests",
    summary = "List parked messages",
    params(Query),
    responses(
        (status = 200, description = "A page", body = Page),
        (status = 400, description = "`wrong-query`: a parameter is unknown or out of its limits",
            body = Problem, content_type = "application/problem+json"),
        OtherMethod,
        StoreAway
    )
)]
pub(super) async fn list(
    request: actix_web::HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string());
    let query = query.map_err(|error| Problem::wrong_query(error.to_string()))?;
    let wanted = parse(&query)?;
    let limit = wanted.limit as usize;
    // One more tells whether there is another page.
    let found = state.store.parked(ParkedQuery { limit: wanted.limit + 1, ..wanted }).await;
    let mut found = found.map_err(|error| Problem::unavailable(format!("{error}.")))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| last.number.to_string());
    let items = found.into_iter().map(Message::of).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor }))
}

/// A message with its whole body.
#[utoipa::path(
    get,
    path = ONE,
    operation_id = "getParked",
    tag = "failed requests",
    summary = "Look at a parked message",
    params(("number" = i64, Path, minimum = 1, description = "The message's `number`")),
    responses(
        (status = 200, description = "The message", body = Message),
        NoMessage,
        OtherMethod,
        StoreAway
    )
)]
pub(super) async fn get(
    number: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    match state.store.parked_message(parse_number(&number)?).await {
        Ok(Some(message)) => Ok(HttpResponse::Ok().json(Message::of(message))),
        Ok(None) => Err(Problem::unknown_message()),
        Err(error) => Err(Problem::unavailable(format!("{error}."))),
    }
}

/// Clears a message away that belongs to no request.
#[utoipa::path(
    delete,
    path = ONE,
    operation_id = "discardParked",
    tag = "failed requests",
    summary = "Clear a parked message away",
    params(("number" = i64, Path, minimum = 1, description = "The message's `number`")),
    responses(
        (status = 204, description = "It is gone"),
        NoMessage,
        OtherMethod,
        (status = 409, description = "`belongs-to-request`: it goes with its request",
            body = Problem, content_type = "application/problem+json"),
        StoreAway
    )
)]
pub(super) async fn discard(
    number: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let number = parse_number(&number)?;
    match state.store.unpark(number).await {
        Ok(DeleteParked::Done) => {
            info!(number, "a parked message was discarded");
            Ok(HttpResponse::NoContent().finish())
        }
        Ok(DeleteParked::Belongs(id)) => Err(Problem::belongs_to_request(id)),
        Ok(DeleteParked::Unknown) => Err(Problem::unknown_message()),
        Err(error) => Err(Problem::unavailable(format!("{error}."))),
    }
}

fn parse(query: &Query) -> Result<ParkedQuery, Problem> {
    let limit = match query.limit.as_deref().map(str::parse) {
        None => USUAL,
        Some(Ok(limit @ 1..=MOST)) => limit,
        Some(_) => return Err(Problem::wrong_query(format!("limit is a number from 1 to {MOST}"))),
    };
    let below = query.cursor.as_deref().map(str::parse).transpose();
    let below = below.map_err(|_| Problem::wrong_query("cursor is the nextCursor of a page"))?;
    let id = query.request.as_deref().map(Uuid::try_parse).transpose();
    let id = id.map_err(|_| Problem::wrong_query("request is the requestId of a request"))?;
    Ok(ParkedQuery { whose: id.map_or(ParkedFilter::Nobody, ParkedFilter::Request), below, limit })
}

fn parse_number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::unknown_message())
}

impl Message {
    fn of(message: ParkedMessage) -> Self {
        let text = text(&message.body, message.size).map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(&message.body));
        Self {
            number: message.number,
            request_id: message.request,
            run: run(&message.headers),
            reason: message.reason,
            error: message.error,
            received_at: message.received_at,
            headers: RawValue::from_string(message.headers).unwrap_or_default(),
            size: message.size,
            text,
            base64,
        }
    }
}

/// The body as text, if it is text. One that was cut may end within a character.
fn text(body: &[u8], size: u64) -> Option<&str> {
    match str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(error) => {
            let is_cut = error.error_len().is_none() && (body.len() as u64) < size;
            let good = &body[..error.valid_up_to()];
            is_cut.then(|| str::from_utf8(good).ok()).flatten()
        }
    }
}

/// The run that stands in a message's headers.
fn run(kept: &str) -> u32 {
    let kept: Value = serde_json::from_str(kept).unwrap_or_default();
    let run = match &kept[headers::RUN] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    run.and_then(|run| u32::try_from(run).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_or_base64() {
        assert_eq!(text("grün".as_bytes(), 5), Some("grün"));
        let cut = &"grün".as_bytes()[..3];
        assert_eq!((text(cut, 5), text(cut, 3)), (Some("gr"), None));
        assert_eq!(text(b"\xffabc", 9), None);
    }

    #[test]
    fn the_run_is_what_the_headers_say() {
        assert_eq!(run(r#"{"slowlane-run":3}"#), 3);
        assert_eq!(run(r#"{"slowlane-run":"4"}"#), 4);
        for none in ["{}", "", r#"{"slowlane-run":-1}"#, r#"{"slowlane-run":null}"#] {
            assert_eq!(run(none), 0, "{none}");
        }
    }
}
