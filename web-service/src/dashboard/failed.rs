//! `GET /failed`: the requests that have failed.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;

use crate::{
    api::{requests::list, state::State, status::Status},
    dashboard::{
        banners,
        format::capped,
        layout::{Page, Section},
        request_list::{Columns, table},
        respond,
    },
};

pub(super) const PATH: &str = "/failed";

pub(super) async fn page(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let query = list::Query { status: Some("failed".into()), ..list::Query::default() };
    let list = match list::page_of(&state, query).await {
        Ok(list) => list,
        Err(problem) => return respond::problem(&state, &problem, Section::Failed, "./").await,
    };
    let status = Status::of(&state).await;
    let body = html! {
        h1 { "Failed" }
        @if list.items.is_empty() {
            p.empty { "No request has failed, or all were replayed or discarded." }
        } @else {
            p.lead {
                @if let Some(failed) = status.requests.failed { (capped(failed, status.count_limit)) " requests have failed. " }
                "They are kept until RESULT_RETENTION is over, are replayed, or are discarded."
            }
            (table(&list.items, Columns::All, "./"))
            p.bulk {
                a.button href="bulk?action=replay&status=failed" { "Replay all…" }
                a.button href="bulk?action=discard&status=failed" { "Discard all…" }
            }
            @if list.next_cursor.is_some() { nav.pages aria-label="Pages of the list" { a href="requests?status=failed" { "All of them" } } }
        }
    };
    let page = Page {
        title: "Failed",
        section: Section::Failed,
        root: "./",
        banners: banners::bad(&status),
        body,
    };
    respond::page(&request, &page)
}
