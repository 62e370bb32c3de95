//! `/api/v1/error-groups`: failures by code and pattern of the message.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        http::{
            page,
            problem::Problem,
            problem_type::ProblemType,
            responses::{GroupNotFound, MethodNotAllowed, StoreUnavailable, WrongQuery},
        },
        state::State,
    },
    views::error_group::ErrorGroupView,
};
use store::GroupId;

pub(crate) const PATH: &str = "/api/v1/error-groups";
pub(crate) const GROUP_PATH: &str = "/api/v1/error-groups/{group}";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Only groups in which requests are failed now.
    #[param(value_type = bool, required = false, default = false)]
    failed: Option<String>,
    /// The maximum number of groups.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
}

/// Error groups.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorGroups {
    /// The group that was seen last first.
    pub(crate) items: Vec<ErrorGroupView>,
    /// Whether there are more.
    pub(crate) is_cut: bool,
}

/// The errors with which attempts failed, grouped by code and pattern of the message, the group that was seen last first.
/// `GET /api/v1/requests?group=` lists the requests that are failed so.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "listErrorGroups",
    tag = "failed requests",
    summary = "List error groups",
    params(Query),
    responses(
        (status = 200, description = "The groups", body = ErrorGroups),
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
    let only_failed = page::flag("failed", query.failed.as_deref())?;
    let limit = page::limit(query.limit.as_deref())?;
    Ok(HttpResponse::Ok().json(load(&state, only_failed, limit).await?))
}

/// `limit` groups at most; those alone in which requests are failed now, if `only_failed`.
///
/// # Errors
/// 503 if the store is unavailable.
pub(crate) async fn load(
    state: &State,
    only_failed: bool,
    limit: u32,
) -> Result<ErrorGroups, Problem> {
    let mut groups = state.store.error_groups(only_failed, limit + 1).await?;
    let is_cut = page::cut(&mut groups, limit).is_some();
    let items = groups.into_iter().map(ErrorGroupView::from).collect();
    Ok(ErrorGroups { items, is_cut })
}

/// An error group.
#[utoipa::path(
    get,
    path = GROUP_PATH,
    operation_id = "getErrorGroup",
    tag = "failed requests",
    summary = "Get an error group",
    params(("group" = String, Path, pattern = "^[0-9a-f]{16}$", description = "The group's id")),
    responses(
        (status = 200, description = "The group", body = ErrorGroupView),
        GroupNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn get(
    group: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let unknown = || {
        let detail = "There is no error group with this id, or it is gone.";
        Problem::new(ProblemType::NotFound, detail)
    };
    let id: GroupId = group.parse().map_err(|_| unknown())?;
    let group = state.store.error_group(id).await?.ok_or_else(unknown)?;
    Ok(HttpResponse::Ok().json(ErrorGroupView::from(group)))
}
