//! An error group as JSON.

use pipeline::contract::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use store::ErrorGroup;

/// Failures with the same code and the same pattern of the message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ErrorGroup)]
pub(crate) struct ErrorGroupView {
    /// The same for the same code and pattern, in any store.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub(crate) group: String,
    pub(crate) code: String,
    /// What the messages have in common: numbers, ids, paths and quoted texts are replaced.
    pub(crate) pattern: String,
    /// The message of the first one.
    pub(crate) example: String,
    /// The request of the first one. It may have expired.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) example_request_id: Uuid,
    /// How many attempts failed so, also of requests that were completed later or have expired.
    pub(crate) count: u64,
    /// How many requests are failed so now, 1,000 at most.
    pub(crate) failed: u32,
    /// Whether there may be more than `failed`.
    pub(crate) is_failed_capped: bool,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) first_seen_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) last_seen_at: Timestamp,
}

impl From<ErrorGroup> for ErrorGroupView {
    fn from(group: ErrorGroup) -> Self {
        Self {
            group: group.id.to_string(),
            code: group.code,
            pattern: group.pattern,
            example: group.example,
            example_request_id: group.example_request,
            count: group.count,
            failed: group.failed.value,
            is_failed_capped: group.failed.is_capped,
            first_seen_at: group.first_seen_at,
            last_seen_at: group.last_seen_at,
        }
    }
}
