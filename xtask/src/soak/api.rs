//! The calls of the API that the soak makes, and what their answers mean.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ledger::View,
    plan::{Call, Callback, Request},
    schedule::WEBS,
};

/// No answer may take longer: `PUBLISH_TIMEOUT`, the longest freeze of a program, and the slowness of a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// `expiresIn`, where it is given: longer than any soak takes.
const EXPIRES_IN: &str = "7d";
/// How many requests a page of the list has.
const PAGE: u32 = 500;

/// A client of all web services.
pub(super) struct Api {
    http: Client,
    webs: Vec<String>,
    /// Where callbacks go; the number of the request is added.
    receiver: String,
    /// What keys begin with.
    keys: String,
}

/// What came of a POST.
pub(super) enum Posted {
    /// It was accepted: the ids in the order of the call's requests.
    Accepted(Vec<Uuid>),
    /// The same call is to be made again; at the earliest after this time, if the answer names one.
    Again { answer: String, after: Option<Duration> },
    /// What nobody promised.
    Unexpected(String),
}

/// What came of a GET.
pub(super) enum Looked {
    Shown(Box<View>),
    /// 404 or 410.
    Missing(String),
    /// Nobody answered, or the store is away.
    Unavailable,
    /// What nobody promised.
    Unexpected(String),
}

/// A page of the list of all requests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) items: Vec<View>,
    pub(super) next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    request_id: Uuid,
}

/// The answer to one line of a batch.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    status: u16,
    request_id: Option<Uuid>,
    error: Option<Value>,
}

impl Api {
    pub(super) fn new(webs: Vec<String>, receiver: String, seed: u64) -> Result<Self> {
        let http = testbed::http::builder().timeout(ANSWER_TIMEOUT).build()?;
        Ok(Self { http, webs, receiver, keys: format!("soak-{seed}-") })
    }

    /// Makes a call at one of the web services.
    pub(super) async fn post(&self, call: &Call, web: usize) -> Posted {
        let post =
            if call.batch { self.batch(call, web) } else { self.single(&call.requests[0], web) };
        let response = match post.send().await {
            Ok(response) => response,
            Err(error) => return broken(&error),
        };
        let (status, after) = (response.status(), retry_after(&response));
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return broken(&error),
        };
        match status.as_u16() {
            202 => accepted(&text).unwrap_or(Posted::Unexpected(text)),
            200 if call.batch => lines(&text, call.requests.len()),
            409 | 503 if after.is_some() => Posted::Again { answer: named(status, &text), after },
            _ => Posted::Unexpected(format!("{status}: {text}")),
        }
    }

    /// Looks at a request.
    pub(super) async fn look(&self, web: usize, id: Uuid) -> Looked {
        let (status, text) = match self.get(web, &format!("/api/v1/requests/{id}")).await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Looked::Unexpected(too_late()),
            Err(_) => return Looked::Unavailable,
        };
        match status.as_u16() {
            200 => match serde_json::from_str(&text) {
                Ok(view) => Looked::Shown(Box::new(view)),
                Err(error) => Looked::Unexpected(format!("{error} in {text}")),
            },
            404 | 410 => Looked::Missing(text),
            503 => Looked::Unavailable,
            _ => Looked::Unexpected(format!("{status}: {text}")),
        }
    }

    /// A page of the list of all requests, newest first.
    pub(super) async fn page(&self, web: usize, cursor: Option<&str>) -> Result<Page> {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let (status, text) =
            self.get(web, &format!("/api/v1/requests?limit={PAGE}{cursor}")).await?;
        ensure!(status == StatusCode::OK, "the list of requests answers {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("not a page: {text}"))
    }

    /// The messages that belong to no request, as far as one page shows them.
    pub(super) async fn parked(&self, web: usize) -> Result<Vec<Value>> {
        let (status, text) = self.get(web, "/api/v1/parked").await?;
        ensure!(status == StatusCode::OK, "the list of parked messages answers {status}: {text}");
        let page: Value = serde_json::from_str(&text)?;
        page["items"].as_array().cloned().context("a page without items")
    }

    /// Whether a web service says that it is ready; if not, what is missing.
    pub(super) async fn ready(&self, web: usize) -> Result<()> {
        let (status, text) = self.get(web, "/health/ready").await?;
        ensure!(status == StatusCode::OK, "web-{} is not ready: {text}", web + 1);
        Ok(())
    }

    async fn get(&self, web: usize, path: &str) -> reqwest::Result<(StatusCode, String)> {
        let answer = self.http.get(format!("{}{path}", self.webs[web % WEBS])).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    fn single(&self, request: &Request, web: usize) -> RequestBuilder {
        let post = self.http.post(format!("{}/api/v1/processData", self.webs[web % WEBS]));
        let post = post.header("content-type", "application/json");
        post.header("idempotency-key", self.key(request)).body(self.body(request).to_string())
    }

    fn batch(&self, call: &Call, web: usize) -> RequestBuilder {
        let post = self.http.post(format!("{}/api/v1/processData/batch", self.webs[web % WEBS]));
        let lines = call.requests.iter().map(|request| {
            let mut line = self.body(request);
            line["idempotencyKey"] = self.key(request).into();
            format!("{line}\n")
        });
        post.header("content-type", "application/x-ndjson").body(lines.collect::<String>())
    }

    fn key(&self, request: &Request) -> String {
        format!("{}{}", self.keys, request.number)
    }

    fn body(&self, request: &Request) -> Value {
        let mut body = json!({"data": request.data()});
        if request.callback != Callback::None {
            body["callbackUrl"] = format!("{}{}", self.receiver, request.number).into();
        }
        if request.expires {
            body["expiresIn"] = EXPIRES_IN.into();
        }
        body
    }
}

fn accepted(text: &str) -> Option<Posted> {
    let Accepted { request_id } = serde_json::from_str(text).ok()?;
    Some(Posted::Accepted(vec![request_id]))
}

/// A batch is accepted when all of its lines are; otherwise all are sent again.
fn lines(text: &str, count: usize) -> Posted {
    let lines: Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
    let Some(lines) = lines.ok().filter(|lines| lines.len() == count) else {
        return Posted::Unexpected(format!("a batch of {count} was answered {text}"));
    };
    let ids: Vec<_> =
        lines.iter().filter_map(|line| line.request_id.filter(|_| line.status == 202)).collect();
    if ids.len() == count {
        return Posted::Accepted(ids);
    }
    match lines.iter().find(|line| ![202, 409, 503].contains(&line.status)) {
        Some(Line { status, error, .. }) => {
            Posted::Unexpected(format!("a line was answered {status} {error:?}"))
        }
        None => Posted::Again { answer: "batch not accepted as a whole".to_owned(), after: None },
    }
}

/// The status with the problem's type, such as `503 unavailable`.
fn named(status: StatusCode, text: &str) -> String {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    format!("{} {}", status.as_u16(), problem["type"].as_str().unwrap_or(text))
}

/// Nobody knows what became of the call: the web service died or was away.
fn broken(error: &reqwest::Error) -> Posted {
    if error.is_timeout() {
        return Posted::Unexpected(too_late());
    }
    let answer = if error.is_connect() { "no connection" } else { "connection broke off" };
    Posted::Again { answer: answer.to_owned(), after: None }
}

fn too_late() -> String {
    format!("nothing within {} s", ANSWER_TIMEOUT.as_secs())
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
