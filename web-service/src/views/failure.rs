//! An error of a request or an attempt as JSON.

use pipeline::contract::ErrorBody;
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failure {
    /// For programs: `permanent`, `attempts_exhausted`, `timeout`, `poison`, `malformed`,
    /// `result_too_large`, `delivery_limit`, `expired`, or a worker's own code.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

impl From<ErrorBody> for Failure {
    fn from(ErrorBody { code, message }: ErrorBody) -> Self {
        Self { code, message }
    }
}
