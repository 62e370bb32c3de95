//! Schemas for the OpenAPI document only: bodies that have no type of their own in the API.
#![expect(dead_code, reason = "the document is made of their types, they are never constructed")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// A server-sent event, by its fields.
#[derive(ToSchema)]
pub(crate) struct StreamEvent {
    /// `status` or `progress`. Ignore others: a later release may have more.
    event: String,
    /// For `status`: the request as JSON, as GET returns it. For `progress`: an object with
    /// `requestId`, `progress` (from 0 to 1), `progressCount` (`done` of `total`, if the worker counts), `message` and
    /// `at`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The process runs.
#[derive(ToSchema)]
pub(crate) struct Live {
    #[schema(inline)]
    status: LiveStatus,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum LiveStatus {
    Live,
}

/// The parts that the service needs, and whether they are available.
#[derive(ToSchema)]
pub(crate) struct Ready {
    #[schema(inline)]
    status: ReadyStatus,
    /// Each part, by name.
    parts: BTreeMap<String, Part>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ReadyStatus {
    Ready,
    NotReady,
}

/// A part that the service needs.
#[derive(ToSchema)]
pub(crate) struct Part {
    /// Whether it is available.
    ok: bool,
    /// Its state, or what is wrong with it, for people.
    detail: String,
    /// Of `workers`: how many requests wait for a worker, if it is known.
    #[schema(nullable = false)]
    waiting: Option<u32>,
    /// Of `workers`: how many workers consume requests, if it is known.
    #[schema(nullable = false)]
    consumers: Option<u32>,
}
