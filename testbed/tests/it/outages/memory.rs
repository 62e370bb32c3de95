//! Memory: what is in hand is bounded in bytes, whatever comes at once.

mod slow;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use testbed::{foreign::persistent, http, process::WAIT_TIMEOUT, program::Running};
use uuid::Uuid;

use crate::support::{
    database::Database,
    stack::{Stack, Web},
    wait::{drained, settles},
};

const MAX_MIB: usize = 300;
const MIB: usize = 1 << 20;

/// The most memory that a program has had so far.
fn peak_mib(program: &Running) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
    let kib: usize = peak.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024)
}

fn is_bounded(web: &Web) -> Result<()> {
    let peak = peak_mib(&web.program)?;
    eprintln!("peak: {peak} MiB");
    ensure!(peak < MAX_MIB, "it has taken {peak} MiB");
    Ok(())
}

/// A web service that starts when so many results of this length wait for it.
async fn take_results_that_wait(results: i64, bytes: usize) -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let foreign = stack.foreign().await?;
        let result = "x".repeat(bytes);
        for _ in 0..results {
            let body = json!({"requestId": Uuid::now_v7(), "processingResults": result});
            let body = body.to_string();
            foreign.publish("processing", "result", persistent(), body.as_bytes()).await?;
        }
        let web = database.web(&stack).await?;
        drained(&foreign).await?;
        let stored = "SELECT count(*) FROM requests";
        settles("all are stored", async || Ok(database.number(stored).await? == results)).await?;
        is_bounded(&web)?;
    }
    Ok(())
}

#[tokio::test]
async fn large_results_that_wait_at_the_start_are_taken_a_few_at_a_time() -> Result<()> {
    take_results_that_wait(80, 4 * MIB).await
}

/// So many batches at once, of so many lines of nearly 1 MiB.
async fn post_batches(batches: usize, lines: usize) -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat((1 << 20) - 100));
        let body = line.repeat(lines);
        let batch = async || {
            // Connections of their own, as different clients have.
            let client = http::builder().timeout(WAIT_TIMEOUT).build()?;
            let post = client.post(format!("{}/api/v1/processData/batch", web.base));
            let post = post.header("content-type", "application/x-ndjson");
            let answer = post.body(body.clone()).send().await?;
            let retry = answer.headers().contains_key("retry-after");
            let (status, text) = (answer.status().as_u16(), answer.text().await?);
            let is_refused = status == 503 && retry && text.contains("\"unavailable\"");
            ensure!(status == 200 || is_refused, "{status} {text}");
            Ok(is_refused)
        };
        let refused = try_join_all((0..batches).map(|_| batch())).await?;
        ensure!(refused.contains(&true), "all were taken");
        is_bounded(&web)?;
        ensure!(!batch().await?, "there is memory again");
        web.accepted("a".into()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn many_large_batches_at_once_are_refused_beyond_a_bound() -> Result<()> {
    post_batches(30, 15).await
}
