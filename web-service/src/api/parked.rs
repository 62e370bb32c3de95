//! `/api/v1/parked`: lists, shows and deletes messages from the failed queue.

mod message;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::{
    http::{
        page,
        problem::Problem,
        problem_type::ProblemType,
        responses::{MessageNotFound, MethodNotAllowed, StoreUnavailable, WrongQuery},
    },
    parked::message::ParkedMessageView,
    state::State,
};
use store::{DeleteParked, ParkedFilter, ParkedQuery};

pub(crate) const PATH: &str = "/api/v1/parked";
pub(crate) const MESSAGE_PATH: &str = "/api/v1/parked/{number}";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Only messages of this request; without it, those that belong to no request.
    #[param(value_type = String, required = false, format = "uuid")]
    request: Option<String>,
    /// The maximum number of items on a page.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// The `nextCursor` of the page before. Its format may change with any release.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ParkedPage)]
struct Page {
    /// Messages with the beginnings of their bodies, latest first.
    items: Vec<ParkedMessageView>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Messages from the failed queue: those of one request, or those that belong to no request. Latest first,
/// page by page.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "listParked",
    tag = "failed requests",
    summary = "List parked messages",
    params(Query),
    responses(
        (status = 200, description = "A page", body = Page),
        WrongQuery,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let query: Query = page::query(&request)?;
    let limit = page::limit(query.limit.as_deref())?;
    let below = page::cursor(query.cursor.as_deref())?;
    let id = query.request.as_deref().map(Uuid::try_parse).transpose();
    let id = id.map_err(|_| Problem::wrong_query("request is the requestId of a request"))?;
    let filter = id.map_or(ParkedFilter::WithoutRequest, ParkedFilter::OfRequest);
    let mut found =
        state.store.list_parked(ParkedQuery { filter, below, limit: limit + 1 }).await?;
    let next_cursor = page::cut(&mut found, limit).map(|last| last.number.to_string());
    let items = found.into_iter().map(ParkedMessageView::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor }))
}

/// A message with its whole body.
#[utoipa::path(
    get,
    path = MESSAGE_PATH,
    operation_id = "getParked",
    tag = "failed requests",
    summary = "Get a parked message",
    params(("number" = i64, Path, minimum = 1, description = "The message's `number`")),
    responses(
        (status = 200, description = "The message", body = ParkedMessageView),
        MessageNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn get(
    number: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let message = state.store.parked_message(parse_number(&number)?).await?;
    let message = message.ok_or_else(unknown_message)?;
    Ok(HttpResponse::Ok().json(ParkedMessageView::from(message)))
}

/// Deletes a message that belongs to no request.
#[utoipa::path(
    delete,
    path = MESSAGE_PATH,
    operation_id = "discardParked",
    tag = "failed requests",
    summary = "Delete a parked message",
    params(("number" = i64, Path, minimum = 1, description = "The message's `number`")),
    responses(
        (status = 204, description = "It is gone"),
        MessageNotFound,
        MethodNotAllowed,
        (status = 409, description = "`belongs-to-request`: it is deleted with its request",
            body = Problem, content_type = "application/problem+json"),
        StoreUnavailable
    )
)]
pub(crate) async fn discard(
    number: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let number = parse_number(&number)?;
    match state.store.delete_parked(number).await? {
        DeleteParked::Done => {
            info!(number, "parked message deleted");
            Ok(HttpResponse::NoContent().finish())
        }
        DeleteParked::BelongsTo(id) => {
            let detail = format!("It is kept as long as request {id}, and is deleted with it.");
            Err(Problem::new(ProblemType::BelongsToRequest, detail))
        }
        DeleteParked::Unknown => Err(unknown_message()),
    }
}

fn parse_number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| unknown_message())
}

fn unknown_message() -> Problem {
    let detail = "There is no parked message with this number, or it is gone.";
    Problem::new(ProblemType::NotFound, detail)
}
