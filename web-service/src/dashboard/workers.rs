//! `GET /workers`: who works on what.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use crate::{
    api::{
        state::State,
        status::Status,
        workers::{self, Workers},
    },
    dashboard::{
        banners,
        format::{age, number, of},
        layout::{Page, Section},
        respond,
    },
};

pub(super) const PATH: &str = "/workers";

/// How many workers are shown.
const MAX_ROWS: usize = 500;

pub(super) async fn page(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let known = workers::known(&state);
    // Those that do not tell their names are one in the list.
    let (_, busy) = state.jobs.counts();
    let body = html! {
        h1 { "Workers" }
        p.lead {
            @match known.consumers {
                Some(consumers) => (of(consumers.into(), "worker is subscribed", "workers are subscribed")),
                None => "How many workers are subscribed is not known",
            }
            ", " (of(busy as u64, "works", "work")) " on a request. Work that takes less than 100 ms is not announced."
        }
        (busy_table(&known, MAX_ROWS, "./"))
    };
    let banners = banners::bad(&Status::of(&state).await);
    let page = Page { title: "Workers", section: Section::Workers, root: "./", banners, body };
    respond::page(&request, &page)
}

/// The workers that work on requests, `max_rows` at most.
pub(super) fn busy_table(workers: &Workers, max_rows: usize, root: &str) -> Markup {
    if workers.busy.is_empty() {
        return html! { p.empty { "No worker is known to work on a request." } };
    }
    let work =
        workers.busy.iter().flat_map(|busy| busy.requests.iter().map(move |work| (busy, work)));
    let all = work.clone().count();
    html! {
        div.scroll { table.workers {
            thead { tr { th { "Worker" } th { "Request" } th.num.minor { "Attempt" } th { "Since" } th.rest { "Says" } } }
            tbody { @for (busy, work) in work.take(max_rows) {
                tr data-key=(work.request_id) {
                    td.mono { @if busy.worker.is_empty() { span.dim { "does not tell" } } @else { (busy.worker) } }
                    td.mono { a href={ (root) "requests/" (work.request_id) } { (work.request_id) } }
                    td.num.minor { (number(work.attempt.into())) }
                    td.time { @if let Some(at) = work.started_at { (age(at)) } }
                    td.rest { (work.message.as_deref().unwrap_or_default()) }
                }
            } }
        } }
        @if all > max_rows { p.about { "and " (number((all - max_rows) as u64)) " more" } }
    }
}
