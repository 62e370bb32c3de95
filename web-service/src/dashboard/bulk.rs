//! `/bulk`: one action on many requests: first a dry run with their number and samples, then a run with undo, progress and
//! abort.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use pipeline::contract::Timestamp;
use url::form_urlencoded;
use uuid::Uuid;

use crate::{
    api::{
        bulk_runs::{
            batch::Phase,
            plan::{BulkAction, Plan, Preview, Seen},
            progress::Progress,
            stored::{self, StoredRun},
        },
        http::{
            body::{self, BodyRules},
            problem::Problem,
            problem_type::ProblemType,
            request_id,
        },
        state::State,
        status::Status,
    },
    dashboard::{
        banners,
        format::{age, number, of, time},
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
/// How long a run can be undone before it begins.
const UNDO_TIMEOUT: Duration = Duration::from_secs(10);

/// What a replay that begins with a few does.
const CANARY: &str = "The first 5 are replayed, and when all have ended ten times as many, and so on, 5,000 at a time at most. \
    It stops by itself when more than 1 in 20 fail again.";

/// The dry run: how many requests, which, and what would be done with them.
pub(super) async fn dry_run(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes()).into_owned();
    match preview(pairs.collect(), &state).await {
        Ok((plan, preview)) => show(&state, &plan, &preview, Uuid::now_v7(), None).await,
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
    run: Uuid,
    mistake: Option<&str>,
) -> HttpResponse {
    let verb = plan.action.label();
    let count = words(preview);
    let body = html! {
        h1 { (verb) " " (count) @if plan.is_canary { ", a few first" } "?" }
        p.lead { (plan.words()) " Nothing has been done yet. Requests that come later are not among them." }
        @if plan.is_canary { p { (CANARY) } }
        @if let Some(mistake) = mistake { p.banner.bad role="alert" { (mistake) } }
        @if preview.count == 0 { p.empty data-still { "There are none." } } @else {
            form.bulk method="post" action="bulk" data-still {
                @for (name, value) in plan.pairs() { input type="hidden" name=(name) value=(value); }
                @if let Some(newest) = preview.seen.newest { input type="hidden" name="newest" value=(newest); }
                input type="hidden" name="at" value=(preview.seen.at);
                input type="hidden" name="count" value=(preview.count);
                input type="hidden" name="run" value=(run);
                @if preview.count > MAX_WITHOUT_NUMBER {
                    label for="confirm" { "Type " b { (preview.count) } " to go on" }
                    input #confirm name="confirm" inputmode="numeric" autocomplete="off" size="8" required;
                }
                button.primary type="submit" { (verb) " " @if plan.is_canary { "a few first" } @else { (count) } }
                @if plan.action == BulkAction::Replay && !plan.is_canary { a.button href=(canary_address(plan)) { "A few first…" } }
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

/// How many requests, in words.
fn words(preview: &Preview) -> String {
    let words = of(preview.count.into(), "request", "requests");
    if preview.is_capped { format!("{words} or more") } else { words }
}

/// The address of the dry run that replays a few first.
fn canary_address(plan: &Plan) -> String {
    let plan = Plan { is_canary: true, ..plan.clone() };
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(plan.pairs()).finish();
    format!("bulk?{query}")
}

/// Begins a run, and leads to its page.
pub(super) async fn begin(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let rules = BodyRules {
        media_types: &["application/x-www-form-urlencoded"],
        max_bytes: MAX_FORM_BYTES,
        too_large: |max_bytes| {
            let detail =
                format!("The form is longer than {max_bytes} bytes: choose fewer requests.");
            Problem::new(ProblemType::TooLarge, detail)
        },
    };
    let read = body::read(&request, payload, &rules, &state.body_memory, &state.drain).await;
    let pairs: Vec<_> = match &read {
        Ok(body) => form_urlencoded::parse(body).into_owned().collect(),
        Err(problem) => {
            return respond::form_problem(&state, problem, Section::Requests, "./").await;
        }
    };
    let get = |name: &str| {
        pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim().to_owned())
    };
    let newest = get("newest").and_then(|id| Uuid::try_parse(&id).ok());
    let at = get("at").and_then(|at| at.parse::<Timestamp>().ok());
    let count = get("count").and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    let is_confirmed = count <= MAX_WITHOUT_NUMBER || get("confirm") == Some(count.to_string());
    // The form has the id of its run, so that one that is sent twice begins one run, which can be undone.
    let id = get("run").and_then(|id| Uuid::try_parse(&id).ok()).unwrap_or_else(Uuid::now_v7);
    let (plan, preview) = match preview(pairs, &state).await {
        Ok(previewed) => previewed,
        Err(problem) => {
            return respond::form_problem(&state, &problem, Section::Requests, "./").await;
        }
    };
    if !is_confirmed {
        return show(&state, &plan, &preview, id, Some("This is not the number.")).await;
    }
    let seen = Seen {
        newest: newest.or(preview.seen.newest),
        at: at.map_or(preview.seen.at, |at| at.min(preview.seen.at)),
    };
    match begin_anew(&state, id, plan, &preview, seen).await {
        Ok(run) => respond::see_other(&format!("bulk/{}", run.id)),
        Err(problem) => respond::form_problem(&state, &problem, Section::Requests, "./").await,
    }
}

/// Begins a run with this id, or with another one if it is that of a run which is over: who goes back to the form after that, and
/// sends it again, wants another one.
async fn begin_anew(
    state: &State,
    id: Uuid,
    plan: Plan,
    preview: &Preview,
    seen: Seen,
) -> Result<StoredRun, Problem> {
    let run = stored::begin(state, id, plan.clone(), preview, seen, UNDO_TIMEOUT).await?;
    if !run.progress.phase.is_over() {
        return Ok(run);
    }
    stored::begin(state, Uuid::now_v7(), plan, preview, seen, UNDO_TIMEOUT).await
}

/// How far a run is.
pub(super) async fn page(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> HttpResponse {
    let run = match load(&state, &id).await {
        Ok(run) => run,
        Err(problem) => return respond::problem(&state, &problem, Section::Requests, "../").await,
    };
    let plan = &run.order.plan;
    let body = html! {
        h1 {
            (plan.action.label()) " " (of(run.order.count.into(), "request", "requests"))
            @if run.order.is_capped { " or more" }
            @if plan.is_canary { ", a few first" }
        }
        p.lead { (plan.words()) }
        @if plan.is_canary { p { (CANARY) } }
        (progress_markup(&run))
        p { a href="../requests" { "Requests" } " " a href="../failed" { "Failed" } }
    };
    let banners = banners::bad(&Status::of(&state).await);
    let page =
        Page { title: "Bulk action", section: Section::Requests, root: "../", banners, body };
    respond::page(&request, &page)
}

async fn load(state: &State, id: &str) -> Result<StoredRun, Problem> {
    let id = request_id::parse(id).map_err(|_| Problem::not_found())?;
    stored::get(state, id).await?.ok_or_else(Problem::not_found)
}

fn progress_markup(run: &StoredRun) -> Markup {
    let StoredRun { id, order, progress, is_stop_asked, .. } = run;
    let (count, handled) = (u64::from(order.count), progress.done + progress.skipped);
    let stop = |label: &str| {
        html! { form method="post" action={ (id) "/stop" } { button type="submit" { (label) } } }
    };
    html! {
        div data-busy[!progress.phase.is_over()] {
            p.big { span.progress {
                progress max=(count.max(1)) value=(handled.min(count)) aria-label="progress" {}
                span.num { (number(handled)) " of " (number(count)) }
            } }
            p role="status" {
                (phase(progress)) " "
                (of(progress.done, "request was changed", "requests were changed"))
                @if progress.skipped > 0 { ", " (number(progress.skipped)) " left out" }
                @if progress.skipped > 0 && progress.refusal.is_none() { ", because they had changed meanwhile" }
                "."
            }
            @if let Some(reason) = &progress.refusal { p.says { "Left out, unless they had changed meanwhile: " (reason) } }
            @if order.plan.is_canary { (canary_markup(progress)) }
            @if let Some(trouble) = &progress.trouble { p.says { "Waits and tries again: " (trouble) } }
            @match progress.phase {
                Phase::Waiting | Phase::Running if *is_stop_asked => p { "It is being stopped." },
                Phase::Waiting => (stop("Undo")),
                Phase::Running => (stop("Abort")),
                _ => {},
            }
        }
    }
}

/// What a run does, or how it has ended.
fn phase(progress: &Progress) -> Markup {
    html! {
        @match progress.phase {
            Phase::Waiting => { "Begins " (age(progress.begins_at)) "." },
            Phase::Running => "Running.",
            Phase::Finished => "Finished.",
            Phase::Undone => "Undone: nothing was changed.",
            Phase::Aborted => "Aborted: the others stay as they were.",
            Phase::Stopped => "Stopped by itself: too many have failed again. The others stay as they were.",
        }
    }
}

/// How those have ended that a canary has replayed.
fn canary_markup(progress: &Progress) -> Markup {
    html! {
        p {
            @if progress.batch > 0 { "Batch " (progress.batch) ", of " (of(progress.batch_size as u64, "request", "requests")) ". " }
            "Of those that were replayed, " (number(progress.completed)) " are completed, " (number(progress.failed)) " have failed again"
            @if progress.cancelled > 0 { ", " (number(progress.cancelled)) " were cancelled or are gone" }
            @if progress.pending() > 0 { ", " (number(progress.pending() as u64)) " have not ended" }
            "."
        }
    }
}

/// The latest runs as a table; nothing if there are none.
pub(super) fn latest(runs: &[StoredRun]) -> Markup {
    html! {
        @if !runs.is_empty() {
            section aria-labelledby="runs" {
                h2 #runs { "Latest actions on many" }
                div.scroll { table.runs {
                    thead { tr { th { "Action" } th.num { "Requests" } th { "Begun" } th.rest { "State" } } }
                    tbody { @for run in runs { (run_row(run)) } }
                } }
            }
        }
    }
}

fn run_row(run: &StoredRun) -> Markup {
    let plan = &run.order.plan;
    html! {
        tr data-key=(run.id) {
            td { a href={ "bulk/" (run.id) } { (plan.action.label()) @if plan.is_canary { ", a few first" } } }
            td.num { (number(run.order.count.into())) @if run.order.is_capped { "+" } }
            td.time { (time(run.created_at)) }
            td.rest { (phase(&run.progress)) }
        }
    }
}

/// Undoes a run that has not begun, or aborts it.
pub(super) async fn stop(id: web::Path<String>, state: web::Data<State>) -> HttpResponse {
    let stopped = match load(&state, &id).await {
        Ok(run) => stored::stop(&state, run.id).await.map(|()| run.id),
        Err(problem) => Err(problem),
    };
    match stopped {
        Ok(id) => respond::see_other(&format!("../{id}")),
        Err(problem) => respond::form_problem(&state, &problem, Section::Requests, "../../").await,
    }
}
