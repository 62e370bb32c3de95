//! Batches that take longer than a key is claimed for, or that a store holds up.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::{proxy::Proxy, shared_node};
use tokio::time::sleep;

use crate::support::{
    database::Database,
    stack::{REQUESTS, Stack, Web},
};

async fn post(web: &Web, body: String) -> Result<Vec<Value>> {
    let post = web.client.post(format!("{}/api/v1/processData/batch", web.base));
    let answer = post.header("content-type", "application/x-ndjson").body(body).send().await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let lines = answer.text().await?;
    Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Posts as a patient client does, until each line is accepted. Returns how often the outcome of a line was unknown.
async fn insist(web: &Web, body: String) -> Result<usize> {
    let mut unknown = 0;
    loop {
        let outcomes = post(web, body.clone()).await?;
        if outcomes.iter().all(|line| line["status"] == 202) {
            return Ok(unknown);
        }
        let known = |line: &Value| [202, 409, 503].map(Value::from).contains(&line["status"]);
        ensure!(outcomes.iter().all(known), "{outcomes:?}");
        let is_unknown = |line: &&Value| line["error"]["type"] == "outcome-unknown";
        unknown += outcomes.iter().filter(is_unknown).count();
        sleep(Duration::from_millis(100)).await;
    }
}

/// A claim of a key lasts for four seconds here.
#[tokio::test]
async fn a_batch_that_takes_longer_than_a_claim_makes_one_request_of_each_key() -> Result<()> {
    const LINES: usize = 6000;
    for database in Database::both().await? {
        let vhost = shared_node::vhost().await;
        let stack = Stack::on(&vhost.url).await?;
        let proxy = Proxy::start(vhost.address()).await?;
        let program = database.program(&Stack { url: proxy.url(&vhost.url) });
        let web = Web::start(program.env("PUBLISH_TIMEOUT", "2s")).await?;
        proxy.delay(Duration::from_millis(60));
        let line = |n| format!("{{\"data\":{n},\"idempotencyKey\":\"{n}\"}}\n");
        let body = (0..LINES).map(line).collect::<String>();
        let began = Instant::now();
        let (here, there) = tokio::try_join!(insist(&web, body.clone()), insist(&web, body))?;
        ensure!(began.elapsed() > Duration::from_secs(4), "the batch was too quick");
        let sent = stack.foreign().await?.depth(REQUESTS).await?.messages as usize;
        let unknown = here + there;
        ensure!((LINES..=LINES + unknown).contains(&sent), "{sent} sent, {unknown} unknown");
    }
    Ok(())
}

#[tokio::test]
async fn a_stalled_store_holds_no_batch_for_long() -> Result<()> {
    const LINES: usize = 3000;
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let program = database.program(&stack).env("PUBLISH_TIMEOUT", "3s");
        let web = Web::start(program).await?;
        let stalled = database.stall().await?;
        for line in ["{\"data\":1}\n", "{\"data\":1,\"idempotencyKey\":\"k\"}\n"] {
            let began = Instant::now();
            let outcomes = post(&web, line.repeat(LINES)).await?;
            // Its 24 parts would take longer than a minute, if each waited for the store.
            ensure!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
            assert_eq!(outcomes.len(), LINES);
            ensure!(outcomes.iter().all(|line| line["status"] != 202), "{outcomes:?}");
        }
        let sent = stack.foreign().await?.depth(REQUESTS).await?.messages as usize;
        ensure!(sent < LINES / 4, "{sent} were sent that could not be recorded");
        stalled.end().await?;
    }
    Ok(())
}
