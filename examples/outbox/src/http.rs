//! HTTP errors: JSON with a sentence, `{"error": "..."}`.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use serde_json::json;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// 404: there is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// 422: the call can't be carried out as it is, for this reason.
    #[error("{0}")]
    Invalid(String),
    /// 503: nothing was changed; the call can be repeated.
    #[error("the database is not available: {0}")]
    Database(#[from] rusqlite::Error),
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({"error": self.to_string()}))
    }
}
