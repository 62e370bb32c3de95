//! `/api/v1/bulk-runs`: actions on many requests.

pub(crate) mod batch;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod stored;
mod view;

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode, http::header, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::{
    bulk_runs::{
        plan::{BulkAction, MAX_IDS, Plan},
        stored::StoredRun,
        view::BulkRunView,
    },
    http::{
        body::{self, BodyRules},
        json_body, page,
        problem::Problem,
        problem_type::ProblemType,
        responses::{
            BodyRejected, BulkRunNotFound, MethodNotAllowed, StoreUnavailable, WrongQuery,
        },
    },
    state::State,
};

pub(crate) const PATH: &str = "/api/v1/bulk-runs";
pub(crate) const RUN_PATH: &str = "/api/v1/bulk-runs/{run}";
pub(crate) const ABORT_PATH: &str = "/api/v1/bulk-runs/{run}/abort";

/// The longest body: some hundred ids.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// An action on many requests: on these, or on those that a list with these filters has.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct BulkRunBody {
    action: BulkAction,
    /// The requests, 500 at most.
    #[schema(value_type = Option<Vec<String>>, max_items = 500)]
    ids: Option<Vec<Uuid>>,
    /// Which requests, if there are no `ids`.
    filter: Option<BulkFilter>,
    /// Only for a replay: begin with 5, and go on with ten times as many each time, 5,000 at most, while no more than one in 20
    /// fails again.
    #[schema(default = false)]
    canary: Option<bool>,
    /// An id for the run, which makes it safe to repeat the call.
    #[schema(value_type = Option<String>, format = "uuid")]
    run_id: Option<Uuid>,
}

/// The filters of a list of requests. At least one is given; the status follows from the action.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct BulkFilter {
    #[schema(value_type = Option<String>, min_length = 1)]
    status: Option<String>,
    #[serde(rename = "type")]
    #[schema(value_type = Option<String>, min_length = 1)]
    kind: Option<String>,
    #[schema(value_type = Option<String>, min_length = 1)]
    code: Option<String>,
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{16}$")]
    group: Option<String>,
    #[schema(value_type = Option<String>, pattern = "^[0-9a-fA-F-]{1,36}$")]
    id: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    accepted_after: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    accepted_before: Option<String>,
    #[schema(value_type = Option<u32>, minimum = 2, maximum = 2147483647)]
    attempts: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Query {
    /// The maximum number of runs.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
}

/// Bulk runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkRuns {
    /// The latest first.
    items: Vec<BulkRunView>,
}

impl BulkRunBody {
    /// The plan that it describes.
    fn plan(&self) -> Result<Plan, Problem> {
        let ids = self.ids.as_deref().unwrap_or_default();
        if ids.len() > MAX_IDS {
            return Err(Problem::wrong_shape(format!("ids has {MAX_IDS} ids at most.")));
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut pairs = vec![pair("action", self.action.name())];
        pairs.push(pair("canary", if self.canary == Some(true) { "true" } else { "false" }));
        pairs.extend(ids.iter().map(|id| pair("pick", &id.to_string())));
        if let Some(filter) = &self.filter {
            pairs.extend(filter.pairs()?);
        }
        // Also if there are no ids in the list: whoever looked for some and found none does not mean all that a filter has.
        if pairs.len() > 2 + ids.len() && self.ids.is_some() {
            return Err(Problem::wrong_shape("Send either ids or a filter."));
        }
        Plan::of(&pairs)
    }
}

impl BulkFilter {
    /// The filters that are given, with their names. An empty one is refused: in a form it is a field that was not filled in,
    /// but a program has failed to find the value, and without the filter it would act on more than it meant.
    fn pairs(&self) -> Result<Vec<(String, String)>, Problem> {
        let fields = serde_json::to_value(self).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let pairs = fields.map(|(name, value)| match value.as_str() {
            Some("") => Err(Problem::wrong_shape(format!(
                "The filter {name} is empty: give it a value, or leave it out."
            ))),
            Some(text) => Ok((name.clone(), text.to_owned())),
            None => Ok((name.clone(), value.to_string())),
        });
        pairs.collect()
    }
}

/// Begins an action on many requests that goes on by itself, also over a restart of the web service. Requests that come later
/// are not among them.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "beginBulkRun",
    tag = "failed requests",
    summary = "Begin an action on many requests",
    request_body(content = BulkRunBody, example = json!({"action": "replay", "filter": {"code": "permanent"}, "canary": true})),
    responses(
        (status = 202, description = "It begins", body = BulkRunView,
            headers(("Location" = String, description = "The URL of the run"))),
        BodyRejected,
        (status = 400, description = "`not-json`; `unreadable`: the body broke off",
            body = Problem, content_type = "application/problem+json"),
        MethodNotAllowed,
        (status = 422, description = "`wrong-shape`: it is JSON, but no such action, or nothing chooses the requests; \
            `run-id-reused`: there is another action with this `runId`",
            body = Problem, content_type = "application/problem+json"),
        StoreUnavailable
    )
)]
pub(crate) async fn begin(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let rules = BodyRules {
        media_types: &["application/json"],
        max_bytes: MAX_BODY_BYTES,
        too_large: |max_bytes| {
            Problem::new(
                ProblemType::TooLarge,
                format!("The body is longer than {max_bytes} bytes."),
            )
        },
    };
    let body = body::read(&request, payload, &rules, &state.body_memory, &state.drain).await?;
    let order: BulkRunBody = json_body::parse(&body, "send {\"action\": ..., \"filter\": ...}")?;
    let plan = order.plan().map_err(in_the_body)?;
    let preview = plan.preview(&state).await.map_err(in_the_body)?;
    let id = order.run_id.unwrap_or_else(Uuid::now_v7);
    let run = stored::begin(&state, id, plan, &preview, preview.seen, Duration::ZERO).await?;
    let location = format!("{PATH}/{id}");
    let mut response = HttpResponse::Accepted();
    Ok(response.insert_header((header::LOCATION, location)).json(BulkRunView::from(run)))
}

/// A filter with no valid value is in the body here, not in the query.
fn in_the_body(problem: Problem) -> Problem {
    match problem.status_code() {
        StatusCode::BAD_REQUEST => Problem::wrong_shape(problem.detail()),
        _ => problem,
    }
}

/// The latest actions on many requests. They are kept as long as results.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "listBulkRuns",
    tag = "failed requests",
    summary = "List actions on many requests",
    params(Query),
    responses(
        (status = 200, description = "The runs", body = BulkRuns),
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
    let runs = stored::latest(&state, page::limit(query.limit.as_deref())?).await?;
    let items = runs.into_iter().map(BulkRunView::from).collect();
    Ok(HttpResponse::Ok().json(BulkRuns { items }))
}

/// An action on many requests.
#[utoipa::path(
    get,
    path = RUN_PATH,
    operation_id = "getBulkRun",
    tag = "failed requests",
    summary = "Get an action on many requests",
    params(("run" = String, Path, format = "uuid", description = "The `runId`")),
    responses(
        (status = 200, description = "How far it is", body = BulkRunView),
        BulkRunNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn get(
    run: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(BulkRunView::from(load(&state, &run).await?)))
}

/// Asks to stop an action on many requests; what was done stays done. One that is over stays as it is.
#[utoipa::path(
    post,
    path = ABORT_PATH,
    operation_id = "abortBulkRun",
    tag = "failed requests",
    summary = "Abort an action on many requests",
    params(("run" = String, Path, format = "uuid", description = "The `runId`")),
    responses(
        (status = 200, description = "How far it is; its `phase` is `aborted` once it has stopped", body = BulkRunView),
        BulkRunNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn abort(
    run: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let known = load(&state, &run).await?;
    stored::stop(&state, known.id).await?;
    Ok(HttpResponse::Ok().json(BulkRunView::from(load(&state, &run).await?)))
}

async fn load(state: &State, id: &str) -> Result<StoredRun, Problem> {
    let unknown = || {
        let detail = "There is no action on many requests with this id, or it is gone.";
        Problem::new(ProblemType::NotFound, detail)
    };
    let id = Uuid::try_parse(id).map_err(|_| unknown())?;
    stored::get(state, id).await?.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Plan, u16> {
        let status = |problem: Problem| problem.status_code().as_u16();
        let body: BulkRunBody =
            json_body::parse(json.as_bytes(), "send an action").map_err(status)?;
        body.plan().map_err(in_the_body).map_err(status)
    }

    #[test]
    fn a_body_describes_the_same_plans_as_a_form() {
        let group =
            plan(r#"{"action":"replay","filter":{"group":"00000000000000ff"},"canary":true}"#);
        let group = group.unwrap();
        assert_eq!(group.words(), "All with group = 00000000000000ff, status = failed.");
        assert!(group.is_canary);
        let many = plan(r#"{"action":"cancel","filter":{"type":"a","attempts":2}}"#).unwrap();
        assert_eq!(many.words(), "All with attempts = 2, type = a, status = queued.");
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        let one = plan(&format!(r#"{{"action":"discard","ids":["{id}"]}}"#)).unwrap();
        assert_eq!(one.pairs()[1], ("pick".to_owned(), id.to_owned()));
    }

    #[test]
    fn a_field_that_is_null_is_the_same_as_none() {
        let null = r#"{"action":"cancel","ids":null,"canary":null,"runId":null,"filter":{"type":"a","code":null,"attempts":null}}"#;
        let none = r#"{"action":"cancel","filter":{"type":"a"}}"#;
        assert_eq!(plan(null).unwrap().pairs(), plan(none).unwrap().pairs());
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        let one = plan(&format!(r#"{{"action":"discard","ids":["{id}"],"filter":null}}"#));
        assert_eq!(one.unwrap().pairs()[1], ("pick".to_owned(), id.to_owned()));
    }

    #[test]
    fn a_body_that_chooses_nothing_or_something_else_is_refused() {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        let both = format!(r#"{{"action":"replay","ids":["{id}"],"filter":{{"type":"a"}}}}"#);
        for body in [
            r#"{"action":"replay"}"#,
            r#"{"action":"replay","filter":{}}"#,
            r#"{"action":"replay","ids":["1"]}"#,
            r#"{"action":"replay","ids":[]}"#,
            r#"{"action":"replay","ids":[],"filter":{"type":"a"}}"#,
            r#"{"action":"explode","filter":{"type":"a"}}"#,
            r#"{"action":"cancel","filter":{"type":"a"},"canary":true}"#,
            r#"{"action":"replay","filter":{"status":"completed"}}"#,
            r#"{"action":"replay","filter":{"limit":"1"}}"#,
            r#"{"action":"replay","filter":{"type":"a","code":""}}"#,
            r#"{"action":"replay","filter":{"type":"a","group":""}}"#,
            r#"{"action":"replay","filter":{"type":"a","acceptedAfter":""}}"#,
            &both,
        ] {
            assert_eq!(plan(body).err(), Some(422), "{body}");
        }
        assert_eq!(plan("{").err(), Some(400));
    }
}
