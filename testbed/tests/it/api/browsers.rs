//! What reaches the API through browsers and proxies: foreign hosts and origins, compressed bodies, event streams.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Program;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::stack::{Stack, Web};

/// A web service without a broker.
async fn alone(program: Program) -> Result<Web> {
    Web::start_without_broker(
        program.env("LOG_FORMAT", "json").env("AMQP_URL", "amqp://127.0.0.1:1"),
    )
    .await
}

fn web_service() -> Program {
    Program::new("web-service")
}

/// The answer to a call as it stands on the wire, in small letters, once the service has closed the connection.
async fn raw(web: &Web, call: &str) -> Result<String> {
    let address = web.base.strip_prefix("http://").context("an address")?;
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(call.as_bytes()).await?;
    let mut answer = String::new();
    let read = connection.read_to_string(&mut answer);
    tokio::time::timeout(testbed::process::WAIT_TIMEOUT, read)
        .await
        .context("it does not close")??;
    Ok(answer.to_lowercase())
}

#[tokio::test]
async fn a_page_that_points_its_own_name_here_is_refused() -> Result<()> {
    let web = alone(web_service()).await?;
    let port = web.base.rsplit(':').next().context("a port")?.to_owned();
    for (host, status) in [
        ("evil.example".to_owned(), 421),
        (format!("evil.example:{port}"), 421),
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
    ] {
        let answer = web
            .client
            .get(format!("{}/health/live", web.base))
            .header("host", &host)
            .send()
            .await?;
        assert_eq!(answer.status(), status, "{host}");
        let body: Value = answer.json().await?;
        let explained =
            body["detail"].as_str().is_some_and(|detail| detail.contains("ALLOWED_HOSTS"));
        assert_eq!(explained, status == 421, "{body}");
    }
    let post =
        web.client.post(format!("{}/api/v1/processData", web.base)).header("host", "evil.example");
    let post = post.header("content-type", "application/json").body(r#"{"data":1}"#);
    assert_eq!(post.send().await?.status(), 421);
    let named = alone(web_service().env("ALLOWED_HOSTS", "api.example")).await?;
    for (host, status) in [("API.example", 200), ("localhost", 200), ("evil.example", 421)] {
        let answer = named.client.get(format!("{}/health/live", named.base)).header("host", host);
        assert_eq!(answer.send().await?.status(), status, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn a_preflight_is_answered_with_a_reason() -> Result<()> {
    let web = alone(web_service()).await?;
    for path in ["/api/v1/processData", "/api/v1/requests", "/nothing"] {
        let url = format!("{}{path}", web.base);
        let options =
            web.client.request(reqwest::Method::OPTIONS, url).header("origin", "https://a.example");
        let answer = options.header("access-control-request-method", "POST").send().await?;
        assert_eq!(answer.status(), 403, "{path}");
        ensure!(!answer.headers().keys().any(|name| name.as_str().starts_with("access-control")));
        let body: Value = answer.json().await?;
        assert_eq!(body["type"], "cross-origin", "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_compressed_body_is_refused_as_a_whole() -> Result<()> {
    let web = alone(web_service()).await?;
    for (path, media_type) in
        [("processData", "application/json"), ("processData/batch", "application/x-ndjson")]
    {
        let post = web.client.post(format!("{}/api/v1/{path}", web.base));
        let post = post.header("content-type", media_type).header("content-encoding", "gzip");
        let answer = post.body(&b"\x1f\x8b\x08\0\0\0\0\0"[..]).send().await?;
        assert_eq!(answer.status(), 415, "{path}");
        assert_eq!(answer.headers()["accept-encoding"], "identity");
        let body: Value = answer.json().await?;
        assert_eq!(body["type"], "unsupported-media-type", "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_query_is_explained_in_our_own_words() -> Result<()> {
    let web = alone(web_service()).await?;
    for (query, detail) in [
        (
            "requests?state=queued",
            "There is no parameter \"state\", only status, type, code, group, id, acceptedAfter, acceptedBefore, \
             attempts, count, limit, cursor.",
        ),
        ("requests?status=done", "status is queued, processing, completed, failed or cancelled"),
        ("requests?attempts=1", "attempts is a number from 2 to 2147483647"),
        ("requests?attempts=2147483648", "attempts is a number from 2 to 2147483647"),
        (
            "requests?id=xyz",
            "the beginning of an id is 1 to 32 hexadecimal digits, with or without dashes",
        ),
        (
            "requests?acceptedAfter=yesterday",
            "acceptedAfter is a time in UTC, as 2026-11-21T09:54:22.988Z",
        ),
        ("requests?count=yes", "count is true or false"),
        ("requests?status=", "status is queued, processing, completed, failed or cancelled"),
        ("requests?limit=1&limit=2", "limit is given twice."),
        ("parked?id=1", "There is no parameter \"id\", only request, limit, cursor."),
    ] {
        let answer = web.get(&format!("/api/v1/{query}")).await?;
        assert_eq!(answer.status(), 400, "{query}");
        let body: Value = answer.json().await?;
        assert_eq!(body["detail"], detail, "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn a_browser_that_connects_again_after_the_end_is_told_to_stop() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted(1.into()).await?;
    assert_eq!(web.delete(&id).await?.0, 200);
    let url = format!("{}/api/v1/requests/{id}/events", web.base);
    let first = web.client.get(&url).send().await?;
    assert_eq!(first.headers()["x-accel-buffering"], "no");
    ensure!(!first.headers().contains_key("content-encoding"), "{:?}", first.headers());
    let text = first.text().await?;
    let last = text.lines().find_map(|line| line.strip_prefix("id: ")).context("an id")?.to_owned();
    let again = web.client.get(&url).header("last-event-id", last).send().await?;
    assert_eq!((again.status().as_u16(), again.text().await?.as_str()), (204, ""));
    // Whoever was cut off before the end receives it.
    let cut_off = web.client.get(&url).header("last-event-id", "0.queued").send().await?;
    assert_eq!((cut_off.status().as_u16(), cut_off.text().await?), (200, text));
    Ok(())
}

/// Some clients offer it with each call, and send the next one on the same connection unless they are told.
#[tokio::test]
async fn a_client_that_offers_http_2_is_told_that_the_connection_ends() -> Result<()> {
    let web = alone(web_service()).await?;
    for (host, status) in [("localhost", "200"), ("evil.example", "421")] {
        let call = format!(
            "GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
        );
        let answer = raw(&web, &call).await?;
        ensure!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        ensure!(answer.contains("connection: close") && !answer.contains("upgrade"), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn an_http_1_0_client_receives_events_without_chunks() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted(1.into()).await?;
    assert_eq!(web.delete(&id).await?.0, 200);
    for connection in ["", "Connection: keep-alive\r\n"] {
        let call = format!("GET /api/v1/requests/{id}/events HTTP/1.0\r\n{connection}\r\n");
        let answer = raw(&web, &call).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("a head")?;
        ensure!(
            !head.contains("transfer-encoding") && head.contains("x-accel-buffering: no"),
            "{head}"
        );
        ensure!(
            body.starts_with("id: ") || body.starts_with("event: ") || body.starts_with("data: "),
            "{body}"
        );
        ensure!(body.contains("\"cancelled\"") && body.ends_with("\n\n"), "{body}");
    }
    Ok(())
}
