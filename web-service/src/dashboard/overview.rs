//! `GET /`: what happens at present.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use url::form_urlencoded;

use crate::{
    api::{
        requests::list,
        state::State,
        stats::{self, Stats},
        status::Status,
        workers,
    },
    dashboard::{
        banners::banners,
        chart::{self, Bar},
        format::{age, capped, number, rate},
        layout::{Page, Section},
        request_list::{Columns, table},
        respond,
        workers::busy_table,
    },
};

pub(super) const PATH: &str = "/";

/// How many of the latest failures are shown, and how many workers.
const MAX_ROWS: usize = 8;

/// How far back the chart looks: the name in the address, how that is said, and how long a bar is. The first one unless
/// another one is asked for.
const RANGES: [(&str, &str, &str); 3] =
    [("1h", "1 hour", "a minute"), ("24h", "24 hours", "15 minutes"), ("7d", "7 days", "an hour")];

/// What is not known.
const UNKNOWN: &str = "–";

pub(super) async fn page(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let status = Status::of(&state).await;
    let failures = list::Query {
        status: Some("failed".into()),
        limit: Some(MAX_ROWS.to_string()),
        ..list::Query::default()
    };
    let failures = list::page_of(&state, failures).await.ok();
    let busy = workers::known(&state);
    let range = asked_range(request.query_string());
    let query = stats::Query { range: Some(range.to_owned()), kind: None };
    let stats = stats::read(&state, query).await.ok();
    let body = html! {
        h1.hidden { "Overview" }
        (numbers(&status))
        (history(range, stats.as_ref()))
        div.columns {
            section aria-labelledby="work" {
                h2 #work { "In work" a.more href="workers" { "all workers" } }
                (busy_table(&busy, MAX_ROWS, "./"))
            }
            section aria-labelledby="failures" {
                h2 #failures { "Latest failures" a.more href="failed" { "all failed" } }
                @match &failures {
                    Some(page) if page.items.is_empty() => p.empty { "None." },
                    Some(page) => (table(&page.items, Columns::Few, "./")),
                    None => p.empty { "Not known: the store is away." },
                }
            }
        }
        (system(&status))
    };
    let page = Page {
        title: "Overview",
        section: Section::Overview,
        root: "./",
        banners: banners(&status),
        body,
    };
    respond::page(&request, &page)
}

/// The numbers, each with where it leads to.
fn numbers(status: &Status) -> Markup {
    let requests = &status.requests;
    let count = |count: Option<u32>| {
        count.map_or(UNKNOWN.into(), |count| capped(count, status.count_limit))
    };
    let exact = |count: Option<u32>| count.map_or(UNKNOWN.into(), |count| number(count.into()));
    let rates = status.rates.as_ref();
    let tile = |label: &str, value: String, href: Option<&str>, note: Markup| {
        html! {
            div.tile {
                dt { @if let Some(href) = href { a href=(href) { (label) } } @else { (label) } }
                dd { span.value { (value) } span.note { (note) } }
            }
        }
    };
    let oldest =
        status.oldest.as_ref().and_then(|oldest| Some((oldest.request_id, oldest.accepted_at?)));
    html! {
        dl.tiles {
            (tile("Waiting", exact(requests.waiting), Some("requests?status=queued"), html! {
                @if let Some((id, at)) = oldest { "oldest open " a href={ "requests/" (id) } { (age(at)) } }
            }))
            (tile("In work", number(requests.processing as u64), Some("requests?status=processing"), html! {
                (number(status.workers.busy as u64)) " of " (exact(status.workers.subscribed)) " workers"
            }))
            (tile("Retrying", count(requests.retrying), Some("requests?status=queued"), html! { "wait for their next attempt" }))
            (tile("Failed", count(requests.failed), Some("failed"), html! { "not replayed yet" }))
            (tile("Accepted", rates.map_or(UNKNOWN.into(), |it| rate(it.accepted_per_second)), None, html! { "a second, last minute" }))
            (tile("Ended", rates.map_or(UNKNOWN.into(), |it| rate(it.ended_per_second)), None, html! { "a second, last minute" }))
        }
    }
}

fn asked_range(query: &str) -> &'static str {
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "range");
    let names = RANGES.iter().map(|(name, ..)| *name);
    let mut asked = names.filter(|name| asked.as_ref().is_some_and(|(_, value)| value == name));
    asked.next().unwrap_or(RANGES[0].0)
}

/// The chart, with links to its ranges.
fn history(range: &str, stats: Option<&Stats>) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 #history {
                "Over time"
                span.ranges role="group" aria-label="How far back" {
                    @for (name, words, _) in RANGES {
                        a href={ "?range=" (name) } aria-current=[(name == range).then_some("true")] { (words) }
                    }
                }
            }
            @match stats {
                Some(stats) => (charted(range, stats)),
                None => p.empty { "Not known: the store is away." },
            }
        }
    }
}

fn charted(range: &str, stats: &Stats) -> Markup {
    let bars: Vec<_> = stats.series.iter().map(Bar::from).collect();
    let words = RANGES.iter().find(|(name, ..)| *name == range).map_or("", |(.., words)| *words);
    chart::markup(&bars, Duration::from_secs(stats.bucket_seconds), words)
}

/// The queues and the parts that the service needs.
fn system(status: &Status) -> Markup {
    html! {
        div.columns {
            section aria-labelledby="queues" {
                h2 #queues { "Queues" }
                @if status.queues.is_empty() { p.empty { "Not known: the broker is away." } }
                @else {
                    div.scroll { table {
                        thead { tr { th { "Queue" } th.num { "Messages" } th.num { "Consumers" } } }
                        tbody { @for queue in &status.queues { tr data-key=(queue.name) {
                            td.mono { (queue.name) }
                            td.num { (number(queue.messages.into())) }
                            td.num { (number(queue.consumers.into())) }
                        } } }
                    } }
                }
            }
            section aria-labelledby="parts" {
                h2 #parts { "This web service" }
                div.scroll { table {
                    thead { tr { th { "Part" } th { "State" } } }
                    tbody { @for (name, part) in &status.parts { tr data-key=(name) {
                        td.mono { (name) }
                        td.wide { span.state.bad[!part.ok].good[part.ok] { @if part.ok { "ok" } @else { "missing" } } " " (part.detail) }
                    } } }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_looks_back_an_hour_unless_another_range_is_asked_for() {
        for (query, range) in
            [("", "1h"), ("range=1y", "1h"), ("a=b&range=24h", "24h"), ("range=7d", "7d")]
        {
            assert_eq!(asked_range(query), range, "{query}");
        }
    }
}
