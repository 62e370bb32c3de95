//! `GET /requests/{id}`: the whole story of a request.

mod curl;
mod timeline;

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use maud::{Markup, html};
use uuid::Uuid;

use crate::{
    api::{
        http::{problem::Problem, problem_type::ProblemType, request_id},
        requests::{attempts, load::load, why::facts as why_facts},
        state::State,
        status::Status,
    },
    dashboard::{
        actions::{Action, buttons},
        banners,
        format::{age, duration, number, progress, state as state_of, time},
        layout::{Page, Section},
        payload::Payload,
        request_list::took,
        respond,
    },
    dispatch::request_data,
    views::{callback::CallbackView, request::RequestView},
    why::{facts::Why, why},
};

pub(super) const PATH: &str = "/requests/{id}";
pub(super) const RESULT_PATH: &str = "/requests/{id}/result";

const ROOT: &str = "../";

/// What the address asks for beside the request itself.
#[derive(Default)]
struct Asked {
    /// The payload to be shown whole, `data` or `result`.
    whole: Option<String>,
    /// What was done just now.
    done: Option<Action>,
}

pub(super) async fn page(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> HttpResponse {
    match story(&request, &id, &state).await {
        Ok(response) => response,
        Err(problem) => respond::problem(&state, &problem, Section::Requests, ROOT).await,
    }
}

async fn story(request: &HttpRequest, id: &str, state: &State) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(id)?;
    let view = load(state, id).await?;
    let submitted = request_data::find(&state.store, id).await?;
    let attempts = attempts::load(state, id).await?;
    let reasons = match view.is_final() {
        true => None,
        false => Some(why(&why_facts(state, id).await?)),
    };
    let asked = Asked::of(request);
    let connection = request.connection_info().clone();
    let base = format!("{}://{}", connection.scheme(), connection.host());
    let data = submitted.data.as_ref().map(|data| data.get());
    let body = html! {
        (head(&view, asked.done))
        @if let Some(why) = &reasons { (why_section(why)) }
        div.columns.story {
            section aria-labelledby="timeline" {
                h2 #timeline { "What happened" }
                @if attempts.is_cut { p.about { "The latest " (number(attempts.items.len() as u64)) " attempts" } }
                (timeline::markup(&timeline::steps(&view, &attempts.items)))
            }
            section aria-labelledby="facts" {
                h2 #facts { "Facts" }
                (facts(&view, &attempts))
            }
        }
        (result_section(&view, &asked))
        (data_section(id, data, &asked))
        @if let Some(callback) = &view.callback { (callback_section(callback)) }
        @if let Some(data) = data { (again_section(id, &curl::line(&base, id, data, &submitted.kind))) }
    };
    let banners = banners::bad(&Status::of(state).await);
    let title = id.to_string();
    let page = Page { title: &title, section: Section::Requests, root: ROOT, banners, body };
    Ok(respond::page(request, &page))
}

/// The result as it came, for download.
pub(super) async fn result(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let view = load(&state, request_id::parse(&id)?).await?;
    let result = view
        .processing_results
        .ok_or_else(|| Problem::new(ProblemType::NotFound, "The request has no result."))?;
    let name = format!("attachment; filename=\"{}.json\"", view.request_id);
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(result.get().to_owned()))
}

impl Asked {
    fn of(request: &HttpRequest) -> Self {
        let query = web::Query::<HashMap<String, String>>::from_query(request.query_string());
        let mut query = query.map(web::Query::into_inner).unwrap_or_default();
        let done = query.get("done").and_then(|name| Action::named(name));
        Self { whole: query.remove("whole"), done }
    }
}

fn head(view: &RequestView, done: Option<Action>) -> Markup {
    html! {
        div.head {
            h1 { (state_of(view)) " " span.mono data-copy { (view.request_id) } }
            div.actions { (buttons(view, ROOT)) }
        }
        @if let Some(done) = done { p.done role="status" { (done.done()) } }
        @if view.progress.is_some() { p.big { (progress(view)) } }
        @if let Some(message) = view.job().and_then(|job| job.progress.as_ref()?.message.as_deref()) {
            p.says { (message) }
        }
        @if let Some(error) = &view.error {
            div.error { p { b.code { (error.code) } } pre tabindex="0" aria-label="Error" { (error.message) } }
        }
    }
}

/// Why it has not ended, the most important reason first, and when its work may begin.
fn why_section(why: &Why) -> Markup {
    html! {
        section aria-labelledby="why" {
            h2 #why { "Why it has not ended" }
            ol.why { @for reason in &why.reasons { li { (reason.text) } } }
            @if let Some(begins) = &why.begins {
                p.about { @if begins.is_estimate { "May begin about " } @else { "Begins " } (age(begins.at)) "." }
            }
        }
    }
}

fn facts(view: &RequestView, attempts: &attempts::Attempts) -> Markup {
    // Until the first attempt: later ones have waited for those before them.
    let first = attempts.items.first().filter(|_| !attempts.is_cut);
    let waited = view.accepted_at.zip(first.and_then(|first| first.started_at));
    let waited = waited.map(|(accepted, started)| started.saturating_duration_since(accepted));
    html! {
        dl.facts {
            div { dt { "Type" } dd { (view.kind) } }
            @if let Some(at) = view.accepted_at { div { dt { "Accepted" } dd { (time(at)) } } }
            @if let Some(waited) = waited { div { dt { "Waited" } dd { (duration(waited)) } } }
            @if let Some(took) = took(view) { div { dt { "Took" } dd { (took) } } }
            div { dt { "Attempts" } dd { (number(view.attempts.into())) } }
            div { dt { "Deliveries" } dd { (number(view.deliveries.into())) } }
            @if view.run > 0 { div { dt { "Run" } dd { (number(view.run.into())) } } }
            @if let Some(worker) = &view.worker { div { dt { "Worker" } dd.mono { (worker) } } }
        }
    }
}

fn result_section(view: &RequestView, asked: &Asked) -> Markup {
    let Some(result) = &view.processing_results else { return html! {} };
    let id = view.request_id;
    let payload = Payload {
        json: result.get(),
        raw: format!("{id}/result"),
        more: format!("{id}?whole=result"),
        is_whole: asked.whole.as_deref() == Some("result"),
    };
    html! { section aria-labelledby="result" { h2 #result { "Result" } (payload.markup("Result")) } }
}

fn data_section(id: Uuid, data: Option<&str>, asked: &Asked) -> Markup {
    html! {
        section aria-labelledby="data" {
            h2 #data { "Data" }
            @if let Some(json) = data {
                @let payload = Payload {
                    json,
                    raw: format!("{ROOT}api/v1/requests/{id}/data"),
                    more: format!("{id}?whole=data"),
                    is_whole: asked.whole.as_deref() == Some("data"),
                };
                (payload.markup("Data"))
            } @else {
                p.empty { "Not known: another program published the request, and no message of it is stored." }
            }
        }
    }
}

/// How to submit it again. Only for requests whose data are known: there is nothing to submit without them.
fn again_section(id: Uuid, line: &str) -> Markup {
    html! {
        section aria-labelledby="curl" {
            h2 #curl { "Submit it again" }
            p.about {
                a href={ (ROOT) "submit?from=" (id) } { "Edit and submit" } " as a new request, or on the command line:"
            }
            pre tabindex="0" aria-label="A command that submits it again" data-copy { code { (line) } }
        }
    }
}

fn callback_section(callback: &CallbackView) -> Markup {
    html! {
        section aria-labelledby="callback" {
            h2 #callback { "Callback" }
            dl.facts {
                div { dt { "State" } dd { (callback.status.name()) } }
                div { dt { "Attempts" } dd { (number(callback.attempts.into())) } }
                @if let Some(at) = callback.delivered_at { div { dt { "Delivered" } dd { (time(at)) } } }
                @if let Some(at) = callback.next_attempt_at { div { dt { "Next attempt" } dd { (time(at)) } } }
                @if let Some(error) = &callback.last_error { div { dt { "Last error" } dd { (error) } } }
            }
        }
    }
}
