//! `202 Accepted` with the id of a request and the `Location` of the request.

use actix_web::{HttpResponse, http::header};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A request that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    #[schema(value_type = String, format = "uuid")]
    request_id: Uuid,
}

/// The response for an accepted request.
pub(crate) fn response(id: Uuid) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((header::LOCATION, location(id)))
        .json(Accepted { request_id: id })
}

/// The path of a request, for `Location`.
pub(crate) fn location(id: Uuid) -> String {
    format!("/api/v1/requests/{id}")
}
