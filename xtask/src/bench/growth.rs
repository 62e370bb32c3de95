//! Growth: the response times of one client with a full store, beside those with an almost empty one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    context::Bench,
    figure::{Figure, Threshold, Unit, quantile_of},
    http_client::HttpClient,
    load_thread::on_load_thread,
    system::{Database, StoreKind},
    web::WebService,
};

/// The highest ratio of a full store's times to those of an almost empty one.
const THRESHOLD: Threshold = Threshold::AtMost(1.25);
/// Fewer calls than for latency are enough: the number of sequential requests is divided by this.
const CALLS_DIVISOR: usize = 4;

/// The calls that are measured.
#[derive(Debug, Clone, Copy)]
enum Call {
    Post,
    Get,
    FirstPage,
    MiddlePage,
}

const CALLS: [(Call, &str); 4] = [
    (Call::Post, "POST"),
    (Call::Get, "GET by id"),
    (Call::FirstPage, "first page"),
    (Call::MiddlePage, "page in the middle"),
];

/// A store with requests in it.
struct Filled {
    database: Database,
    known: Known,
}

/// The output of the program that filled it.
#[derive(Debug, Clone, Deserialize)]
struct Known {
    /// The cursor of the page in the middle.
    middle: String,
    /// Some of the requests.
    ids: Vec<Uuid>,
}

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut all = Vec::new();
    for kind in bench.system.store_kinds() {
        all.extend(measure_kind(bench, kind).await?);
    }
    Ok(all)
}

async fn measure_kind(bench: &Bench, kind: StoreKind) -> Result<Vec<Figure>> {
    let [few, many] = bench.scale.stored_requests;
    let small = fill(bench, kind, few).await?;
    let large = fill(bench, kind, many).await?;
    let mut figures = CALLS.map(|(_, name)| {
        let name = format!("{name}, {kind}, {many} stored by {few}");
        Figure::new(name, Unit::Seconds, Some(THRESHOLD))
    });
    for _ in bench.rounds(&format!("growth of {kind}")) {
        let floors = medians(bench, &small).await?;
        let values = medians(bench, &large).await?;
        for ((figure, value), floor) in figures.iter_mut().zip(values).zip(floors) {
            figure.add(value, floor);
        }
    }
    Ok(figures.into())
}

async fn fill(bench: &Bench, kind: StoreKind, count: usize) -> Result<Filled> {
    let (database, line) = bench.system.filled(kind, count).await?;
    Ok(Filled { database, known: serde_json::from_str(&line)? })
}

/// The median time of each call.
async fn medians(bench: &Bench, filled: &Filled) -> Result<Vec<f64>> {
    let web = bench.system.web_service(&filled.database).await?;
    let medians = bench.other_load.during(calls(bench, &web, filled.known.clone())).await?;
    web.stop().await?;
    bench.system.purge().await?;
    Ok(medians)
}

async fn calls(bench: &Bench, web: &WebService, known: Known) -> Result<Vec<f64>> {
    let (address, count) = (web.address, bench.scale.sequential_requests / CALLS_DIVISOR);
    on_load_thread(move || async move {
        let mut client = HttpClient::connect(address).await?;
        let mut medians = Vec::new();
        for (call, _) in CALLS {
            let mut times: Vec<Duration> = Vec::new();
            // The first tenth meets cold caches and is not counted.
            for number in 0..count + count / 10 {
                let start = Instant::now();
                call.make(&mut client, &known, number).await?;
                times.push(start.elapsed());
            }
            medians.push(quantile_of(&times.split_off(count / 10), 0.5));
        }
        Ok(medians)
    })
    .await
}

impl Call {
    async fn make(self, client: &mut HttpClient, known: &Known, number: usize) -> Result<()> {
        let path = match self {
            Self::Post => return client.post().await.map(drop),
            // Consecutive calls read rows that are far apart in the store.
            Self::Get => format!("/api/v1/requests/{}", known.ids[number * 389 % known.ids.len()]),
            Self::FirstPage => "/api/v1/requests".to_owned(),
            Self::MiddlePage => format!("/api/v1/requests?cursor={}", known.middle),
        };
        let response = client.get(&path).await?;
        ensure!(response.status == 200, "{path} was answered with {}", response.status);
        Ok(())
    }
}
