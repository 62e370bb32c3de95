//! `GET /api/v1/requests/{id}/data`: the data of a request as they were submitted.

use actix_web::{HttpResponse, http::header, web};
use serde_json::value::RawValue;

use crate::{
    api::{
        http::{
            problem::Problem,
            problem_type::ProblemType,
            request_id,
            responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
        },
        requests::load::load,
        state::State,
    },
    dispatch::request_data,
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}/data";

/// The `data` of a request, byte by byte as they were submitted: numbers, the order of keys and white space are kept.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "getRequestData",
    tag = "requests",
    summary = "Get the data of a request",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 200, description = "The data", body = Value, headers(
            ("Cache-Control" = String, description = "`no-cache`")
        )),
        RequestNotFound,
        MethodNotAllowed,
        (status = 409, description = "`no-data`: another program published the request, and no message of it is stored",
            body = Problem, content_type = "application/problem+json"),
        StoreUnavailable
    )
)]
pub(crate) async fn data(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    match request_data::find(&state.store, id).await?.data {
        Some(data) => Ok(response(data)),
        None => {
            load(&state, id).await?;
            let detail = "Another program published it, and no message of it is stored.";
            Err(Problem::new(ProblemType::NoData, detail))
        }
    }
}

fn response(data: Box<RawValue>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    response.content_type("application/json").body(String::from(Box::<str>::from(data)))
}
