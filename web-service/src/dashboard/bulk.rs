//! `/bulk`: one action on many requests: first a dry run with their number and samples, then a run with undo, progress and
//! abort.

mod plan;
pub(super) mod run;

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use url::form_urlencoded;
use uuid::Uuid;

use crate::{
    api::{
        http::{
            body::{self, BodyRules},
            problem::Problem,
            request_id,
        },
        state::State,
        status::Status,
    },
    dashboard::{
        banners,
        bulk::{
            plan::{Plan, Preview},
            run::{BulkRuns, Phase, Progress},
        },
        format::{age, number, of},
        layout::{Page, Section},
        request_list::{Columns, table},
        respond,
    },
};

pub(super) const PATH: &str = "/bulk";
pub(super) const RUN_PATH: &str = "/bulk/{id}";
pub(super) const STOP_PATH: &str = "/bulk/{id}/stop";

/// The longest form: some hundred ids.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// For more requests than this their number has to be typed.
const MAX_WITHOUT_NUMBER: u32 = 100;

/// The dry run: how many requests, which, and what would be done with them.
pub(super) async fn dry_run(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes()).into_owned();
    match preview(pairs.collect(), &state).await {
        Ok((plan, preview)) => show(&state, &plan, &preview, None).await,
        Err(problem) => respond::problem(&state, &problem, Section::Requests, "./").await,
    }
}

async fn preview(pairs: Vec<(String, String)>, state: &State) -> Result<(Plan, Preview), Problem> {
    let plan = Plan::of(&pairs)?;
    let preview = plan.preview(state).await?;
    Ok((plan, preview))
}

async fn show(
    state: &State,
    plan: &Plan,
    preview: &Preview,
    mistake: Option<&str>,
) -> HttpResponse {
    let verb = plan.action.label();
    let body = html! {
        h1 { (verb) " " (preview.words()) "?" }
        p.lead { (plan.words()) " Nothing has been done yet. Requests that come later are not among them." }
        @if let Some(mistake) = mistake { p.banner.bad role="alert" { (mistake) } }
        @if preview.count == 0 { p.empty { "There are none." } } @else {
            form.bulk method="post" action="bulk" data-still {
                @for (name, value) in plan.pairs() { input type="hidden" name=(name) value=(value); }
                @if let Some(newest) = preview.newest { input type="hidden" name="newest" value=(newest); }
                input type="hidden" name="count" value=(preview.count);
                @if preview.count > MAX_WITHOUT_NUMBER {
                    label for="confirm" { "Type " b { (preview.count) } " to go on" }
                    input #confirm name="confirm" inputmode="numeric" autocomplete="off" size="8" required;
                }
                button.primary type="submit" { (verb) " " (preview.words()) }
                a.button href="requests" { "Leave it" }
            }
            h2 { "Some of them" }
            (table(&preview.samples, Columns::All, "./"))
        }
    };
    let banners = banners::bad(&Status::of(state).await);
    let page = Page { title: verb, section: Section::Requests, root: "./", banners, body };
    respond::page_with(actix_web::http::StatusCode::OK, &page)
}

/// Begins a run, and leads to its page.
pub(super) async fn begin(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
    runs: web::Data<BulkRuns>,
) -> HttpResponse {
    let rules = BodyRules {
        media_types: &["application/x-www-form-urlencoded"],
        max_bytes: MAX_FORM_BYTES,
        too_large: Problem::body_too_large,
    };
    let read = body::read(&request, payload, &rules, &state.body_memory, &state.drain).await;
    let pairs: Vec<_> = match &read {
        Ok(body) => form_urlencoded::parse(body).into_owned().collect(),
        Err(problem) => return respond::problem(&state, problem, Section::Requests, "./").await,
    };
    let get = |name: &str| {
        pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim().to_owned())
    };
    let (count, newest) = (get("count"), get("newest").and_then(|id| Uuid::try_parse(&id).ok()));
    let count = count.and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    let is_confirmed = count <= MAX_WITHOUT_NUMBER || get("confirm") == Some(count.to_string());
    let (plan, preview) = match preview(pairs, &state).await {
        Ok(previewed) => previewed,
        Err(problem) => return respond::problem(&state, &problem, Section::Requests, "./").await,
    };
    if !is_confirmed {
        return show(&state, &plan, &preview, Some("This is not the number.")).await;
    }
    let run = runs.begin(plan, preview.count, preview.is_capped, newest.or(preview.newest), state);
    respond::see_other(&format!("bulk/{run}"))
}

/// How far a run is.
pub(super) async fn page(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
    runs: web::Data<BulkRuns>,
) -> HttpResponse {
    let run = request_id::parse(&id).ok().and_then(|id| runs.get(id));
    let Some(run) = run else {
        let problem = Problem::not_found();
        return respond::problem(&state, &problem, Section::Requests, "../").await;
    };
    let progress = run.progress();
    let body = html! {
        h1 { (run.plan.action.label()) " " (of(run.count.into(), "request", "requests")) @if run.is_capped { " or more" } }
        p.lead { (run.plan.words()) }
        (progress_markup(&run.id, run.count, &progress))
        p { a href="../requests" { "Requests" } }
    };
    let banners = banners::bad(&Status::of(&state).await);
    let page =
        Page { title: "Bulk action", section: Section::Requests, root: "../", banners, body };
    respond::page(&request, &page)
}

fn progress_markup(id: &Uuid, count: u32, progress: &Progress) -> Markup {
    let handled = progress.done + progress.skipped;
    let stop = |label: &str| {
        html! { form method="post" action={ (id) "/stop" } { button type="submit" { (label) } } }
    };
    html! {
        div data-busy[!progress.phase.is_over()] {
            p.big { span.progress {
                progress max=(count.max(1)) value=(handled.min(count.into())) aria-label="progress" {}
                span.num { (number(handled)) " of " (number(count.into())) }
            } }
            p role="status" {
                @match progress.phase {
                    Phase::Waiting => { "Begins " (age(progress.begins_at)) ". " },
                    Phase::Running => "Running. ",
                    Phase::Finished => "Finished. ",
                    Phase::Undone => "Undone: nothing was changed. ",
                    Phase::Aborted => "Aborted: the others stay as they were. ",
                }
                (of(progress.done, "request was changed", "requests were changed"))
                @if progress.skipped > 0 { ", " (number(progress.skipped)) " left out, because they had changed meanwhile" }
                "."
            }
            @if let Some(trouble) = &progress.trouble { p.says { "Waits and tries again: " (trouble) } }
            @match progress.phase {
                Phase::Waiting => (stop("Undo")),
                Phase::Running => (stop("Abort")),
                _ => {},
            }
        }
    }
}

/// Undoes a run that has not begun, or aborts it.
pub(super) async fn stop(
    id: web::Path<String>,
    state: web::Data<State>,
    runs: web::Data<BulkRuns>,
) -> HttpResponse {
    let run = request_id::parse(&id).ok().and_then(|id| runs.get(id));
    let Some(run) = run else {
        let problem = Problem::not_found();
        return respond::problem(&state, &problem, Section::Requests, "../../").await;
    };
    run.stop();
    respond::see_other(&format!("../{}", run.id))
}
