//! Fills a store with finished requests: `fill DATABASE_URL COUNT`. `cargo xtask bench growth` measures with it.
//!
//! It ends with one line of JSON: `middle`, the cursor of the page in the middle of the list, and `ids`, some of the
//! requests, spread over all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use pipeline::contract::Timestamp;
use serde_json::json;
use store::{
    NewRequest, RequestFilter, RequestQuery, ResultOutcome, Store, StoreOptions, WorkerResult,
};
use uuid::Uuid;

/// How many requests are stored at once.
const BATCH: usize = 1000;
/// How many ids are printed.
const PRINTED_IDS: usize = 1000;
const DATA_BYTES: usize = 200;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("usage: fill DATABASE_URL COUNT");
    let (url, count) = (next()?, next()?.parse::<usize>()?);
    let store = Store::open(
        &url,
        &StoreOptions { timeout: Duration::from_secs(120), ..StoreOptions::default() },
    )?;
    store.until_up().await;
    let (mut printed, mut middle) = (Vec::new(), None);
    let mut stored = 0;
    while stored < count {
        let ids: Vec<_> = (stored..count).take(BATCH).map(|_| Uuid::now_v7()).collect();
        add(&store, &ids).await?;
        let step = (count / PRINTED_IDS).max(1);
        printed.extend((stored..).zip(&ids).filter(|(n, _)| n % step == 0).map(|(_, id)| *id));
        stored += ids.len();
        if middle.is_none() && stored * 2 >= count {
            middle = newest(&store).await?;
        }
    }
    println!("{}", json!({ "middle": middle, "ids": printed }));
    store.close().await;
    Ok(())
}

/// Accepts requests and finishes them.
async fn add(store: &Store, ids: &[Uuid]) -> Result<()> {
    try_join_all(ids.iter().map(|id| store.accept(request(*id)))).await?;
    let applied = store.apply_results(ids.iter().map(|id| result(*id)).collect()).await?;
    ensure!(applied.iter().all(|applied| applied.is_stored()), "{applied:?}");
    Ok(())
}

/// The cursor of the page after the newest request.
async fn newest(store: &Store) -> Result<Option<String>> {
    let page = store
        .list(RequestQuery { filter: RequestFilter::default(), limit: 1, cursor: None })
        .await?;
    Ok(page.next.map(|cursor| cursor.to_string()))
}

fn request(id: Uuid) -> NewRequest {
    NewRequest {
        id,
        kind: "default".to_owned(),
        owner: None,
        request_data: data(),
        accepted_at: Timestamp::now(),
        trace: Some(format!("00-{}-0123456789abcdef-01", id.simple())),
        callback: None,
    }
}

fn result(id: Uuid) -> WorkerResult {
    WorkerResult {
        id,
        request_type: pipeline::topology::RequestType::DEFAULT,
        outcome: ResultOutcome::Completed(data().into()),
        run: Some(0),
        attempt: 1,
        deliveries: 1,
        worker: Some("host:12345/1".to_owned()),
        started_at: Some(Timestamp::now()),
        finished_at: Some(Timestamp::now()),
    }
}

fn data() -> Vec<u8> {
    format!("\"{}\"", "x".repeat(DATA_BYTES)).into_bytes()
}
