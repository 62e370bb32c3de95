//! Batch submission: many requests in one call.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use testbed::{process::WAIT_TIMEOUT, proxy::Proxy, shared_node};

use crate::support::{
    database::Database,
    stack::{REQUESTS, Stack, Web},
    wait::settles,
};

async fn post(web: &Web, body: String) -> Result<(u16, Vec<Value>)> {
    let url = format!("{}/api/v1/processData/batch", web.base);
    let post = web.client.post(url).header("content-type", "application/x-ndjson");
    let answer = post.body(body).send().await?;
    let status = answer.status().as_u16();
    let lines = answer.text().await?;
    Ok((status, lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?))
}

#[tokio::test]
async fn a_bad_line_fails_alone() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(2, "1ms"))?;
    let long = format!("{{\"data\":\"{}\"}}", "x".repeat(2 << 20));
    let lines = [
        "{\"data\":\"a\"}",
        "",
        "nonsense",
        "{\"data\":1,\"color\":2}",
        "{\"data\":1,\"expiresIn\":\"soon\"}",
        &long,
        "{\"data\":\"b\",\"idempotencyKey\":\"k\"}",
        "{\"data\":\"b\",\"idempotencyKey\":\"k\"}",
        "{\"data\":\"c\",\"idempotencyKey\":\"k\"}",
    ];
    let (status, outcomes) = post(&web, lines.join("\n")).await?;
    assert_eq!(status, 200);
    let seen: Vec<_> =
        outcomes.iter().map(|line| (line["line"].as_u64(), line["status"].as_u64())).collect();
    let expected = [(1, 202), (3, 400), (4, 422), (5, 422), (6, 413), (7, 202), (8, 202), (9, 422)];
    assert_eq!(seen, expected.map(|(line, status)| (Some(line), Some(status))));
    assert_eq!(outcomes[5]["requestId"], outcomes[6]["requestId"], "one key, one request");
    assert_eq!(outcomes[2]["error"]["type"], "wrong-shape");
    let detail = outcomes[1]["error"]["detail"].as_str().context("a sentence")?;
    assert!(!detail.contains("at line 1") && detail.contains("column"), "{detail}");
    for (at, result) in [(0, "a-processed"), (5, "b-processed")] {
        let id = outcomes[at]["requestId"].as_str().context("an id")?;
        assert_eq!(web.ended(id).await?["processingResults"], result);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_for_a_whole_batch_is_refused() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let url = format!("{}/api/v1/processData/batch", web.base);
    let post = web.client.post(url).header("content-type", "application/x-ndjson");
    let answer = post.header("idempotency-key", "k").body("{\"data\":1}").send().await?;
    assert_eq!(answer.status(), 400);
    let problem: Value = answer.json().await?;
    assert_eq!(problem["type"], "wrong-key");
    ensure!(
        problem["detail"].as_str().is_some_and(|it| it.contains("idempotencyKey")),
        "{problem}"
    );
    let list: Value = web.get("/api/v1/requests").await?.json().await?;
    assert_eq!(list["items"], json!([]), "nothing was accepted");
    Ok(())
}

#[tokio::test]
async fn a_key_that_stands_in_many_lines_is_one_request() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let line = |data: u8| format!("{{\"data\":{data},\"idempotencyKey\":\"k\"}}\n");
    let (_, outcomes) = post(&web, line(1).repeat(10_000)).await?;
    assert_eq!(outcomes.len(), 10_000);
    let first = &outcomes[0]["requestId"];
    assert!(first.is_string() && outcomes.iter().all(|line| line["requestId"] == *first));
    assert_eq!(stack.foreign().await?.depth(REQUESTS).await?.messages, 1);
    let (_, outcomes) = post(&web, [line(2), line(1), line(2), line(1)].concat()).await?;
    let statuses: Vec<_> = outcomes.iter().map(|line| line["status"].to_string()).collect();
    assert_eq!(statuses, ["422", "202", "422", "202"]);
    assert_eq!((&outcomes[1]["requestId"], &outcomes[3]["requestId"]), (first, first));
    Ok(())
}

#[tokio::test]
async fn what_is_refused_once_is_refused_for_all_of_its_lines() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    Stack::on(&vhost.url).await?;
    let database = Database::postgres().await;
    let web = database.web(&Stack { url: proxy.url(&vhost.url) }).await?;
    proxy.refuse().await?;
    proxy.cut();
    web.not_publishing("").await?;
    let line = "{\"data\":1,\"idempotencyKey\":\"k\"}\n";
    let (_, outcomes) = post(&web, line.repeat(3)).await?;
    let types: Vec<_> = outcomes.iter().map(|line| line["error"]["type"].to_string()).collect();
    assert_eq!(types, ["\"unavailable\""; 3]);
    proxy.accept().await?;
    web.ready().await?;
    // The key may be released only after the answer.
    settles("the same lines are accepted", async || {
        let (_, outcomes) = post(&web, line.repeat(3)).await?;
        let is_accepted = |line: &Value| line["status"] == 202;
        let is_in_use = |line: &Value| line["error"]["type"] == "idempotency-key-in-use";
        ensure!(outcomes.iter().all(|line| is_accepted(line) || is_in_use(line)), "{outcomes:?}");
        Ok(outcomes.iter().all(is_accepted))
    })
    .await
}

#[tokio::test]
async fn ten_thousand_lines_are_taken_and_one_more_is_not() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let body = |count: usize| (0..count).map(|n| format!("{{\"data\":{n}}}\n")).collect::<String>();
    let (status, outcomes) = post(&web, body(10_000)).await?;
    assert_eq!((status, outcomes.len()), (200, 10_000));
    assert!(outcomes.iter().all(|line| line["status"] == 202));
    assert_eq!(stack.foreign().await?.depth(REQUESTS).await?.messages, 10_000);
    let last = outcomes.last().and_then(|line| line["requestId"].as_str()).context("an id")?;
    assert_eq!(web.request(last).await?["status"], "queued");

    let (status, problem) = post(&web, body(10_001)).await?;
    assert_eq!((status, &problem[0]["type"]), (413, &json!("too-large")));
    let url = format!("{}/api/v1/processData/batch", web.base);
    let post = web.client.post(url).header("content-type", "text/plain");
    assert_eq!(post.body("x").send().await?.status(), 415);
    Ok(())
}

#[tokio::test]
async fn the_error_of_a_batch_names_the_limit_that_it_exceeds() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = Web::start(stack.program("web-service").env("BODY_LIMIT", "1KiB")).await?;
    let answer = announce(&web, (16 << 20) + 1).await?;
    ensure!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"too-large\""), "{answer}");
    ensure!(answer.contains("16777216 bytes, the limit of every batch"), "{answer}");

    let (status, problem) = post(&web, "1\n".repeat(10_001)).await?;
    let detail = problem[0]["detail"].to_string();
    ensure!(status == 413 && detail.contains("at most 10000"), "{detail}");

    let (status, outcomes) = post(&web, format!("{{\"data\":\"{}\"}}", "x".repeat(1024))).await?;
    let detail = outcomes[0]["error"]["detail"].to_string();
    ensure!(status == 200 && outcomes[0]["status"] == 413, "{outcomes:?}");
    ensure!(detail.contains("line") && detail.contains("1024 bytes (BODY_LIMIT)"), "{detail}");
    Ok(())
}

/// The answer to a batch that announces so many bytes, and does not send them.
async fn announce(web: &Web, bytes: usize) -> Result<String> {
    let mut socket = TcpStream::connect(web.base.trim_start_matches("http://")).await?;
    let head = format!(
        "POST /api/v1/processData/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {bytes}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    timeout(WAIT_TIMEOUT, socket.read_to_string(&mut answer)).await.context("no end")??;
    Ok(answer)
}

#[tokio::test]
async fn a_request_that_nobody_begins_in_time_expires() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let body =
        "{\"data\":\"late\",\"expiresIn\":\"100ms\"}\n{\"data\":\"fine\",\"expiresIn\":\"1h\"}";
    let (_, outcomes) = post(&web, body.to_owned()).await?;
    let id = |at: usize| outcomes[at]["requestId"].as_str().context("an id").map(str::to_owned);
    let late = web.result(&id(0)?).await?;
    assert_eq!(late["status"], "failed");
    assert!(late["result"].to_string().contains("expired"), "{late}");
    let _processor = stack.processor(1, "1ms").await?;
    assert_eq!(web.result(&id(1)?).await?["result"], "\"fine-processed\"");
    Ok(())
}
