//! `GET /requests`: the requests, newest first, with filters in the URL; and `GET /find`.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use url::form_urlencoded;
use uuid::Uuid;

use crate::{
    api::{
        http::page,
        requests::list::{self, Query},
        state::State,
        status::Status,
    },
    dashboard::{
        actions::Action,
        banners,
        format::{duration, number, progress, state, time},
        layout::{Page, Section},
        respond,
    },
    views::request::{RequestStatus, RequestView},
};

pub(super) const PATH: &str = "/requests";
pub(super) const FIND: &str = "/find";

/// Which columns a table of requests has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    All,
    /// And a box to choose each request.
    Chosen,
    /// For a place beside another table.
    Few,
}

pub(super) async fn page(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let filters = Filters::of(request.query_string());
    if filters.has_empty {
        // A form sends its empty fields, too.
        return respond::see_other(&filters.address(filters.pairs.clone()));
    }
    let page = match page::query::<Query>(&request) {
        Ok(query) => list::page_of(&state, Query { count: Some("true".into()), ..query }).await,
        Err(problem) => Err(problem),
    };
    let list = match page {
        Ok(page) => page,
        Err(problem) => return respond::problem(&state, &problem, Section::Requests, "./").await,
    };
    let body = html! {
        h1 { "Requests" @if let Some(count) = list.count {
            span.count.num { (number(count.into())) @if list.is_count_capped == Some(true) { "+" } }
        } }
        (filters.markup())
        @if list.items.is_empty() { (nothing(&filters, list.next_cursor.is_some())) }
        @else {
            (table(&list.items, Columns::Chosen, "./"))
            (bulk(&filters))
        }
        (pages(&filters, list.next_cursor.as_deref()))
    };
    let banners = banners::bad(&Status::of(&state).await);
    let page = Page { title: "Requests", section: Section::Requests, root: "./", banners, body };
    respond::page(&request, &page)
}

/// Leads to the request with the id in `q`.
pub(super) async fn find(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let query = request.query_string();
    let q = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "q");
    let q = q.map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    if q.is_empty() {
        return respond::see_other("requests");
    }
    match Uuid::try_parse(&q) {
        Ok(id) => respond::see_other(&format!("requests/{id}")),
        Err(_) if is_id_prefix(&q) => respond::see_other(&format!("requests?id={q}")),
        Err(_) => {
            let body = html! {
                h1 { "Not found" }
                p { "No request has an id that begins with " code { (q) } ": ids have hexadecimal digits and dashes." }
            };
            let banners = banners::bad(&Status::of(&state).await);
            let page =
                Page { title: "Not found", section: Section::Requests, root: "./", banners, body };
            respond::page_with(actix_web::http::StatusCode::NOT_FOUND, &page)
        }
    }
}

fn is_id_prefix(text: &str) -> bool {
    text.len() <= 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// The filters of a list, as they stand in its URL.
struct Filters {
    pairs: Vec<(String, String)>,
    /// Whether some are empty, and were left out.
    has_empty: bool,
}

/// The filters that have a field: name, label, example.
const FIELDS: [(&str, &str, &str); 6] = [
    ("type", "Type", "default"),
    ("code", "Error code", "permanent"),
    ("id", "Id begins with", "01a2"),
    ("attempts", "Attempts, at least", "2"),
    ("acceptedAfter", "Accepted from", "2026-11-28T09:00:00Z"),
    ("acceptedBefore", "Accepted before", "2026-11-28T10:00:00Z"),
];

impl Filters {
    fn of(query: &str) -> Self {
        let all: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let has_empty = all.iter().any(|(_, value)| value.is_empty());
        Self { pairs: all.into_iter().filter(|(_, value)| !value.is_empty()).collect(), has_empty }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Those that choose requests, and not a page of them.
    fn chosen(&self) -> impl Iterator<Item = &(String, String)> {
        self.pairs.iter().filter(|(name, _)| name != "cursor" && name != "limit")
    }

    /// Those that choose requests, as a query.
    fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(self.chosen()).finish()
    }

    fn is_first_page(&self) -> bool {
        self.get("cursor").is_none()
    }

    /// The address of the list with another value of one filter, on its first page.
    fn with(&self, name: &str, value: Option<&str>) -> String {
        let others = self.pairs.iter().filter(|(known, _)| known != name && known != "cursor");
        let value = value.map(|value| (name.to_owned(), value.to_owned()));
        self.address(others.cloned().chain(value).collect())
    }

    fn address(&self, pairs: Vec<(String, String)>) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        if query.is_empty() { "requests".to_owned() } else { format!("requests?{query}") }
    }

    fn markup(&self) -> Markup {
        let chosen = self.get("status");
        html! {
            nav.tabs aria-label="Status" {
                a href=(self.with("status", None)) aria-current=[chosen.is_none().then_some("true")] { "all" }
                @for status in RequestStatus::ALL {
                    @let name = status.name();
                    a href=(self.with("status", Some(name))) aria-current=[(chosen == Some(name)).then_some("true")] { (name) }
                }
            }
            (self.form())
            @let others: Vec<_> = self.chosen().filter(|(name, _)| name != "status").collect();
            @if !others.is_empty() {
                p.chips {
                    @for (name, value) in others {
                        a.chip href=(self.with(name, None)) title="Remove this filter" { (name) ": " b { (value) } " ×" }
                    }
                }
            }
        }
    }

    /// The fields for the other filters.
    fn form(&self) -> Markup {
        html! {
            details.more-filters data-own="open" {
                summary { "More filters" }
                form.filters action="requests" data-keep {
                    @if let Some(status) = self.get("status") { input type="hidden" name="status" value=(status); }
                    @if let Some(group) = self.get("group") { input type="hidden" name="group" value=(group); }
                    @for (name, label, example) in FIELDS {
                        label { (label) input name=(name) value=[self.get(name)] placeholder=(example) autocomplete="off" spellcheck="false"; }
                    }
                    button type="submit" { "Filter" }
                }
            }
        }
    }
}

/// Requests as a table, whose rows the script keeps up to date.
pub(super) fn table(requests: &[RequestView], columns: Columns, root: &str) -> Markup {
    let is_full = columns != Columns::Few;
    let has_boxes = columns == Columns::Chosen;
    html! {
        div.scroll { table.requests.few[!is_full] data-list=[has_boxes.then_some("requests")] {
            thead { tr {
                @if has_boxes { th.pick { span.hidden { "Choose" } } }
                th { "State" }
                th { "Request" }
                @if is_full { th.minor { "Type" } }
                th { "Accepted" }
                @if is_full { th.num.minor { "Took" } th.num.minor { "Attempts" } }
                th.rest { @if is_full { "Worker, progress or error" } @else { "Error" } }
            } }
            tbody { @for request in requests { (row(request, is_full, has_boxes, root)) } }
        } }
    }
}

fn row(request: &RequestView, is_full: bool, has_box: bool, root: &str) -> Markup {
    let id = request.request_id;
    html! {
        tr data-key=(id) {
            @if has_box {
                // Or some browsers tick the same boxes again after a reload, which are those of other requests.
                td.pick { input type="checkbox" name="pick" value=(id) form="bulk" autocomplete="off" aria-label={ "Choose " (id) }; }
            }
            td { (state(request)) }
            td.mono { a href={ (root) "requests/" (id) } { (id) } }
            @if is_full { td.minor { (request.kind) } }
            td.time { @if let Some(at) = request.accepted_at { (time(at)) } }
            @if is_full {
                td.num.minor { (took(request).unwrap_or_default()) }
                td.num.minor { (number(request.attempts.into())) }
            }
            td.rest { (remark(request)) }
        }
    }
}

/// How long the work took that ended the request.
pub(super) fn took(request: &RequestView) -> Option<String> {
    let (started, finished) = (request.started_at?, request.finished_at?);
    Some(duration(finished.saturating_duration_since(started)))
}

/// What else is worth a word, by the state of the request.
fn remark(request: &RequestView) -> Markup {
    html! {
        @match request.status {
            RequestStatus::Failed => @if let Some(error) = &request.error {
                b.code { (error.code) } " " (first_line(&error.message))
            },
            RequestStatus::Processing => {
                (progress(request)) " " @if let Some(worker) = &request.worker { span.mono { (worker) } }
            },
            RequestStatus::Queued => {
                @if let Some(at) = request.waits_until() { "next attempt " (time(at)) " " }
                @if let Some(error) = &request.last_error { span.dim { (first_line(error)) } }
            },
            RequestStatus::Completed | RequestStatus::Cancelled => @if let Some(worker) = &request.worker { span.mono.dim { (worker) } },
        }
    }
}

/// The first line of a text, at most 200 characters.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// What is said in place of an empty table: nothing is there yet, or nothing matches.
fn nothing(filters: &Filters, more_follow: bool) -> Markup {
    let is_filtered = filters.chosen().next().is_some();
    html! {
        div.empty {
            @if more_follow {
                p { "None on this page: those that matched have moved on meanwhile. More follow on the next one." }
            } @else if is_filtered {
                p { "Nothing matches " @for (name, value) in filters.chosen() { code { (name) "=" (value) } " " } "now." }
                p { a href="requests" { "Show all requests" } }
            } @else if !filters.is_first_page() {
                p { "No more: this is the end of the list." }
            } @else {
                p { "Nothing yet. Requests are listed here as soon as they are accepted." }
                p { a href="submit" { "Submit the first one" } }
            }
        }
    }
}

/// One action on those that were chosen, or on all that the filters choose.
fn bulk(filters: &Filters) -> Markup {
    let actions = match filters.get("status") {
        Some("failed") => &[Action::Replay, Action::Discard][..],
        Some("queued" | "processing") => &[Action::Cancel],
        Some(_) => &[],
        None => &[Action::Replay, Action::Discard, Action::Cancel],
    };
    html! {
        @if !actions.is_empty() {
            form.bulk #bulk action="bulk" data-keep {
                span.dim { "Chosen ones:" }
                @for action in actions { button name="action" value=(action.name()) { (action.label()) "…" } }
                @if filters.get("status").is_some_and(|status| status != "processing") {
                    @for action in actions {
                        a.button href={ "bulk?action=" (action.name()) "&" (filters.query()) } { (action.label()) " all that match…" }
                    }
                }
            }
        }
    }
}

fn pages(filters: &Filters, next: Option<&str>) -> Markup {
    html! {
        nav.pages aria-label="Pages of the list" {
            @if !filters.is_first_page() { a href=(filters.with("cursor", None)) { "Newest" } }
            @if let Some(next) = next { a rel="next" href=(filters.with("cursor", Some(next))) { "Older" } }
            button.news #news type="button" hidden data-keep {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_changed_in_the_url_and_leads_to_the_first_page() {
        let filters = Filters::of("status=failed&type=a%26b&cursor=a0&limit=20&code=");
        assert_eq!(
            filters.with("status", Some("queued")),
            "requests?type=a%26b&limit=20&status=queued"
        );
        assert_eq!(filters.with("status", None), "requests?type=a%26b&limit=20");
        assert_eq!(
            filters.with("cursor", Some("b1")),
            "requests?status=failed&type=a%26b&limit=20&cursor=b1"
        );
        assert_eq!(Filters::of("status=failed").with("status", None), "requests");
        let chosen: Vec<_> = filters.chosen().map(|(name, _)| name.as_str()).collect();
        assert_eq!((chosen, filters.is_first_page()), (vec!["status", "type"], false));
        assert!(filters.has_empty && !Filters::of("a=b").has_empty);
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let said = |query: &str, more| nothing(&Filters::of(query), more).into_string();
        assert!(said("", false).contains("Nothing yet"));
        assert!(
            said("status=failed", false).contains("Nothing matches <code>status=failed</code>")
        );
        assert!(said("cursor=a0", false).contains("end of the list"));
        assert!(said("status=queued", true).contains("More follow"));
    }
}
