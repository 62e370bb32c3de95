//! A move to another broker under load.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use pipeline::log_messages::RESULT;
use serde_json::Value;
use testbed::{
    http,
    process::{WAIT_TIMEOUT, json_message},
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::verify;
use crate::support::{
    database::Database,
    stack::{Stack, Web},
};

/// Posts 100 requests a second with idempotency keys, each until it is accepted.
async fn post_all(base: String, count: usize) -> Result<Vec<String>> {
    let client = http::builder().build()?;
    let mut clock = interval(Duration::from_millis(10));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = Vec::new();
    for number in 0..count {
        clock.tick().await;
        calls.push(tokio::spawn(post(client.clone(), base.clone(), number)));
    }
    join_all(calls).await.into_iter().map(|id| id?).collect()
}

async fn post(client: reqwest::Client, base: String, number: usize) -> Result<String> {
    let mut pauses = interval(Duration::from_millis(100));
    loop {
        pauses.tick().await;
        let post = client.post(format!("{base}/api/v1/processData"));
        let post = post.header("content-type", "application/json");
        let post = post.header("idempotency-key", format!("move-{number}"));
        // The service is restarted meanwhile.
        let Ok(answer) = post.body(format!("{{\"data\":{number}}}")).send().await else { continue };
        if answer.status() == 202 {
            let body: Value = answer.json().await?;
            return Ok(body["requestId"].as_str().unwrap_or_default().to_owned());
        }
        let status = answer.status().as_u16();
        ensure!(matches!(status, 409 | 503), "{status}: {}", answer.text().await?);
    }
}

/// Mends until nothing is found: while many wait, more may be missing behind them. Returns how many were missing.
async fn mend_until_nothing_is_missing(web: &Web) -> Result<usize> {
    let mended = async {
        let mut mended = 0;
        loop {
            let (said, missing) = verify(web, true).await?;
            if said.code == Some(0) && missing.is_empty() {
                return Ok(mended);
            }
            mended += missing.len();
        }
    };
    timeout(WAIT_TIMEOUT, mended).await.context("something is found again and again")?
}

/// The steps of the page about operating it.
#[tokio::test]
async fn a_move_to_another_broker_under_a_hundred_requests_a_second_loses_none() -> Result<()> {
    for database in Database::both().await? {
        let (old, new) = (Stack::fresh().await?, Stack::fresh().await?);
        let web = database.web(&old).await?;
        let old_processor = old.processor(2, "30ms").await?;
        let address = web.base.trim_start_matches("http://").to_owned();
        let posting = tokio::spawn(post_all(web.base.clone(), 2000));
        // The workers do 60 a second, so some wait when the broker is left.
        let mut results = 0;
        let counted = |line: &str| {
            results += usize::from(json_message(line, RESULT).is_some());
            (results == 100).then_some(())
        };
        web.program.wait_for("a hundred results", counted).await?;

        web.program.terminate();
        web.program.ended().await?;
        let web = Web::start_at(database.program(&new), &address).await?;
        old_processor.terminate();
        old_processor.ended().await?;
        let _processor = new.processor(8, "30ms").await?;
        let under_load = mend_until_nothing_is_missing(&web).await?;

        let ids = posting.await??;
        ensure!(ids.iter().collect::<HashSet<_>>().len() == 2000, "each has an id of its own");
        let mended = under_load + mend_until_nothing_is_missing(&web).await?;
        ensure!(mended > 0, "nothing was left behind");
        for id in &ids {
            let wait = web.client.get(format!("{}/api/v1/requests/{id}", web.base));
            let request: Value = wait.header("prefer", "wait=30").send().await?.json().await?;
            ensure!(request["status"] == "completed", "{request}");
        }
        let (said, missing) = verify(&web, false).await?;
        ensure!(said.code == Some(0) && missing.is_empty(), "{}", said.text);
    }
    Ok(())
}
