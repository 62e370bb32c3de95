//! The callback of a request as JSON.

use pipeline::contract::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use store::Callback;

/// The delivery of the request's end to its `callbackUrl`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Callback)]
pub(crate) struct CallbackView {
    pub(crate) status: CallbackStatus,
    /// How many attempts were begun.
    pub(crate) attempts: u32,
    /// Why the last failed attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub(crate) last_error: Option<String>,
    /// When the next attempt begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// When the receiver accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) delivered_at: Option<Timestamp>,
}

/// The status of a callback: `pending` until it is delivered or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CallbackStatus {
    Pending,
    Delivered,
    Failed,
}

impl From<Callback> for CallbackView {
    /// Leaves the URL out, since it may hold a password.
    fn from(callback: Callback) -> Self {
        Self {
            status: callback.status.into(),
            attempts: callback.attempts,
            last_error: callback.last_error,
            next_attempt_at: callback.next_attempt_at,
            delivered_at: callback.delivered_at,
        }
    }
}

impl CallbackStatus {
    /// The word for it in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl From<store::CallbackStatus> for CallbackStatus {
    fn from(status: store::CallbackStatus) -> Self {
        match status {
            store::CallbackStatus::Pending => Self::Pending,
            store::CallbackStatus::Delivered => Self::Delivered,
            store::CallbackStatus::Failed => Self::Failed,
        }
    }
}
