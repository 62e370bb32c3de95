//! The API and its description agree: `/openapi.json` and `/docs`.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use reqwest::Url;
use serde_json::{Value, json};
use testbed::{foreign::Properties, process::WAIT_TIMEOUT, workspace};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::stack::{Stack, Web};

#[tokio::test]
async fn the_description_that_is_served_is_the_file_in_docs() -> Result<()> {
    let web = Stack::fresh().await?.web().await?;
    let answer = web.get("/openapi.json").await?;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let file = fs::read_to_string(workspace::root().join("docs/openapi.json"))?;
    ensure!(answer.text().await? == file, "docs/openapi.json is not what the program serves");
    Ok(())
}

#[tokio::test]
async fn answers_have_the_described_statuses_and_fields() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let document: Value = web.get("/openapi.json").await?.json().await?;
    let failed = web.accepted("a".into()).await?;
    let result = json!({"requestId": failed, "error": {"code": "teapot", "message": "no"}});
    let (foreign, properties) = (stack.foreign().await?, Properties::default());
    foreign.publish("processing", "result", properties, result.to_string().as_bytes()).await?;
    foreign.publish("processing", "failed", Properties::default(), b"no JSON").await?;
    web.program.wait_for_message(log_messages::PARKED).await?;
    web.result(&failed).await?;
    let _processor = stack.processor(1, "1ms").await?;
    let id = web.accepted("b".into()).await?;
    web.result(&id).await?;
    let groups: Value = web.get("/api/v1/error-groups").await?.json().await?;
    let group = groups["items"][0]["group"].as_str().context("a group")?;
    let requests = "/api/v1/requests";
    let looks = [
        (format!("{requests}/{id}"), "/api/v1/requests/{id}", 200),
        (format!("{requests}/{failed}"), "/api/v1/requests/{id}", 200),
        (format!("{requests}/{id}/data"), "/api/v1/requests/{id}/data", 200),
        (format!("{requests}/{failed}/attempts"), "/api/v1/requests/{id}/attempts", 200),
        (format!("{requests}/nonsense/attempts"), "/api/v1/requests/{id}/attempts", 404),
        (format!("{requests}/nonsense/data"), "/api/v1/requests/{id}/data", 404),
        (format!("{requests}/nonsense"), "/api/v1/requests/{id}", 404),
        (format!("{requests}/%ff"), "/api/v1/requests/{id}", 404),
        (format!("{requests}?limit=1"), requests, 200),
        (format!("{requests}?count=true&code=teapot&attempts=2"), requests, 200),
        ("/api/v1/error-groups?failed=true".to_owned(), "/api/v1/error-groups", 200),
        ("/api/v1/error-groups?failed=1".to_owned(), "/api/v1/error-groups", 400),
        (format!("/api/v1/error-groups/{group}"), "/api/v1/error-groups/{group}", 200),
        ("/api/v1/error-groups/1".to_owned(), "/api/v1/error-groups/{group}", 404),
        (format!("{requests}?limit=0"), requests, 400),
        ("/api/v1/parked".to_owned(), "/api/v1/parked", 200),
        (format!("/api/v1/parked?request={failed}"), "/api/v1/parked", 200),
        ("/api/v1/parked?limit=0".to_owned(), "/api/v1/parked", 400),
        ("/api/v1/parked/1".to_owned(), "/api/v1/parked/{number}", 200),
        ("/api/v1/parked/0".to_owned(), "/api/v1/parked/{number}", 404),
        ("/api/v1/stats".to_owned(), "/api/v1/stats", 200),
        ("/api/v1/stats?range=7d&type=default".to_owned(), "/api/v1/stats", 200),
        ("/api/v1/stats?range=1y".to_owned(), "/api/v1/stats", 400),
        ("/api/v1/status".to_owned(), "/api/v1/status", 200),
        ("/health/live".to_owned(), "/health/live", 200),
        ("/health/ready".to_owned(), "/health/ready", 200),
    ];
    for (path, described, status) in looks {
        let answer = web.get(&path).await?;
        assert_eq!(answer.status(), status, "{path}");
        let operation = &document["paths"][described]["get"];
        is_as_described(&document, operation, answer).await.context(path)?;
    }
    let operation = &document["paths"]["/api/v1/processData"]["post"];
    for (body, status) in [("{\"data\":1}", 202), ("{", 400), ("{}", 422)] {
        let answer = web.post_body(body).await?;
        assert_eq!(answer.status(), status, "{body}");
        is_as_described(&document, operation, answer).await.context(body)?;
    }
    Ok(())
}

#[tokio::test]
async fn callbacks_and_batches_are_as_described() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = stack.program("web-service").env("CALLBACK_ALLOW_PRIVATE", "true");
    let web = Web::start(program.env("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let (web, _processor) = tokio::try_join!(web, stack.processor(1, "1ms"))?;
    let document: Value = web.get("/openapi.json").await?.json().await?;
    let post = async |path: &str, media: &str, body: &str| {
        let post = web.client.post(format!("{}{path}", web.base)).header("content-type", media);
        post.body(body.to_owned()).send().await
    };
    let one = "/api/v1/processData";
    let mut id = String::new();
    for (url, status) in [("nonsense", 422), ("http://127.0.0.1:1/", 202)] {
        let body = json!({"data": 1, "callbackUrl": url}).to_string();
        let answer = post(one, "application/json", &body).await?;
        assert_eq!(answer.status(), status, "{url}");
        id = answer.headers().get("location").map_or(Ok(""), |path| path.to_str())?.to_owned();
        is_as_described(&document, &document["paths"][one]["post"], answer).await.context(url)?;
    }
    web.program.wait_for_text(log_messages::CALLBACK_FAILED).await?;
    let answer = web.get(&id).await?;
    is_as_described(&document, &document["paths"]["/api/v1/requests/{id}"]["get"], answer).await?;
    let operation = &document["paths"]["/api/v1/requests/{id}/callback/retry"]["post"];
    let silent = format!("/api/v1/requests/{}", web.accepted(2.into()).await?);
    for (of, statuses) in
        [(id.as_str(), &[202, 409][..]), (&silent, &[409]), ("/api/v1/requests/x", &[404])]
    {
        let answer = post(&format!("{of}/callback/retry"), "application/json", "").await?;
        ensure!(statuses.contains(&answer.status().as_u16()), "{of}: {}", answer.status());
        is_as_described(&document, operation, answer).await.context(of.to_owned())?;
    }
    let batch = "/api/v1/processData/batch";
    for (media, body) in [
        ("application/x-ndjson", "{\"data\":1,\"idempotencyKey\":\"k\"}\n"),
        ("application/x-ndjson", "{\"data\":2,\"idempotencyKey\":\"k\"}\n"),
        ("text/plain", ""),
    ] {
        let answer = post(batch, media, body).await?;
        is_as_described(&document, &document["paths"][batch]["post"], answer)
            .await
            .context(body)?;
    }
    Ok(())
}

async fn is_as_described(
    document: &Value,
    operation: &Value,
    answer: reqwest::Response,
) -> Result<()> {
    let described = &operation["responses"][answer.status().as_str()];
    let content_type = answer.headers()["content-type"].to_str()?.to_owned();
    let schema = &described["content"][&content_type]["schema"];
    ensure!(schema.is_object(), "{} with {content_type} is not described", answer.status());
    has_the_fields(document, schema, &answer.json().await?)
}

/// Whether an object has all fields that its schema requires, and none that it does not name.
fn has_the_fields(document: &Value, schema: &Value, value: &Value) -> Result<()> {
    let schema = match schema["$ref"].as_str() {
        Some(name) => document.pointer(name.trim_start_matches('#')).context(name.to_owned())?,
        None => schema,
    };
    for (item, of) in value.as_array().into_iter().flatten().map(|item| (item, &schema["items"])) {
        has_the_fields(document, of, item)?;
    }
    let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return Ok(());
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().context("a name")?;
        ensure!(fields.contains_key(name), "{name} is missing: {value}");
    }
    for (name, field) in fields {
        let schema = known.get(name).with_context(|| format!("{name} is not described"))?;
        has_the_fields(document, schema, field)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_page_of_the_api_needs_nothing_from_elsewhere() -> Result<()> {
    let web = Stack::fresh().await?.web().await?;
    let mut pages = BTreeSet::new();
    for path in ["/docs", "/docs/"] {
        let answer = web.get(path).await?;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let policy = answer.headers()["content-security-policy"].to_str()?;
        ensure!(policy.starts_with("default-src 'self';"), "{policy}");
        let page = answer.text().await?;
        let base = targets(&page, "<base href=\"");
        let base = Url::parse(&web.base)?.join(path)?.join(base.first().context("a base")?)?;
        let mut loaded = BTreeSet::new();
        let page: String = page.lines().filter(|line| !line.contains("<base ")).collect();
        for target in targets(&page, " src=\"").into_iter().chain(targets(&page, " href=\"")) {
            loaded.insert(base.join(target)?);
        }
        ensure!(!loaded.is_empty(), "it loads its style at least");
        pages.insert(loaded);
    }
    ensure!(pages.len() == 1, "both addresses show the same: {pages:?}");
    for url in pages.into_iter().flatten() {
        ensure!(url.as_str().starts_with(&web.base), "the page refers to {url}");
        let answer = web.client.get(url.clone()).send().await?;
        assert_eq!(answer.status(), 200, "{url}");
    }
    Ok(())
}

/// What stands behind this, up to the next quotation mark.
fn targets<'a>(page: &'a str, before: &str) -> Vec<&'a str> {
    page.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() -> Result<()> {
    let web = Stack::fresh().await?.web().await?;
    let id = web.accepted("a".into()).await?;
    let look = format!("/api/v1/requests/{id}");
    let events = format!("{look}/events");
    for path in [look.as_str(), &events, "/api/v1/requests", "/health/ready", "/openapi.json"] {
        let head = head(&web, path).await?;
        let get = web.get(path).await?;
        assert_eq!(head.status(), 200, "{path}");
        for header in ["content-type", "content-length", "etag"] {
            assert_eq!(head.headers().get(header), get.headers().get(header), "{path}: {header}");
        }
        assert_eq!(behind_the_head(&web, path).await?, "", "{path}");
    }
    assert_eq!(head(&web, "/api/v1/requests/nonsense").await?.status(), 404);
    let post = head(&web, "/api/v1/processData").await?;
    assert_eq!((post.status().as_u16(), &post.headers()["allow"]), (405, &"POST".parse()?));
    Ok(())
}

/// What the service sends behind the blank line, where clients of HTTP don't look.
async fn behind_the_head(web: &Web, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(web.base.trim_start_matches("http://")).await?;
    let head = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    timeout(WAIT_TIMEOUT, socket.read_to_string(&mut answer)).await.context("no end")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("a blank line")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(body.to_owned())
}

async fn head(web: &Web, path: &str) -> Result<reqwest::Response> {
    Ok(web.client.head(format!("{}{path}", web.base)).send().await?)
}
