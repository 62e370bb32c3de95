//! `GET /failed`: the requests that have failed, by error group.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use crate::{
    api::{
        bulk_runs::{plan::BulkAction, stored},
        error_groups,
        state::State,
        status::Status,
    },
    dashboard::{
        actions::Action,
        banners, bulk,
        format::{age, capped, number},
        layout::{Page, Section},
        respond,
    },
    views::error_group::ErrorGroupView,
};

pub(super) const PATH: &str = "/failed";

/// How many groups are shown, and how many bulk runs.
const MAX_GROUPS: u32 = 200;
const MAX_RUNS: u32 = 5;

pub(super) async fn page(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let groups = match error_groups::load(&state, true, MAX_GROUPS).await {
        Ok(groups) => groups,
        Err(problem) => return respond::problem(&state, &problem, Section::Failed, "./").await,
    };
    let runs = stored::latest(&state, MAX_RUNS).await.unwrap_or_default();
    let status = Status::of(&state).await;
    let failed = status.requests.failed.unwrap_or(0);
    let was_discarded = request.query_string() == "done=discard";
    let body = html! {
        h1 { "Failed" }
        @if was_discarded { p.done role="status" { (Action::Discard.done()) } }
        @if groups.items.is_empty() && failed == 0 {
            p.empty { "No request is failed now: none has failed, or all were replayed or discarded." }
        } @else {
            p.lead {
                @if failed > 0 { (capped(failed, status.count_limit)) " failed now, by what their errors have in common. " }
                "They are kept until RESULT_RETENTION is over."
            }
            @if groups.items.is_empty() { p.empty { "Their errors are not in groups yet." } }
            @else { (table(&groups.items)) }
            @if groups.is_cut { p.about { "More groups follow; these were seen last." } }
            p.bulk {
                a.button href="requests?status=failed" { "List all" }
                a.button href="bulk?action=replay&status=failed" { "Replay all…" }
                a.button href="bulk?action=discard&status=failed" { "Discard all…" }
            }
        }
        (bulk::latest(&runs))
    };
    let banners = banners::bad(&status);
    let page = Page { title: "Failed", section: Section::Failed, root: "./", banners, body };
    respond::page(&request, &page)
}

fn table(groups: &[ErrorGroupView]) -> Markup {
    html! {
        div.scroll { table.groups {
            thead { tr { th.num { "Failed" } th.rest { "Error" } th.minor.num { "Ever" } th { "Last" } th { "Do" } } }
            tbody { @for group in groups { (row(group)) } }
        } }
    }
}

fn row(group: &ErrorGroupView) -> Markup {
    let filter = format!("status=failed&group={}", group.group);
    html! {
        tr data-key=(group.group) {
            td.num { (number(group.failed.into())) @if group.is_failed_capped { "+" } }
            td.rest {
                a href={ "requests?" (filter) } { b.code { (group.code) } " " (group.pattern) }
                @if group.example != group.pattern {
                    " " span.dim { "as " a href={ "requests/" (group.example_request_id) } { (group.example) } }
                }
            }
            td.minor.num { (number(group.count)) }
            td.time { (age(group.last_seen_at)) }
            td.do {
                a.button href={ "bulk?action=replay&" (filter) } { (BulkAction::Replay.label()) "…" } " "
                a.button href={ "bulk?action=replay&canary=true&" (filter) } { "A few first…" } " "
                a.button href={ "bulk?action=discard&" (filter) } { (BulkAction::Discard.label()) "…" }
            }
        }
    }
}
