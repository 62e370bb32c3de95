//! Growth: the response times of one client with a full store, beside those with an almost empty one.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    context::Bench,
    figure::{Figure, Threshold, Unit, quantile_of},
    http_client::HttpClient,
    load_thread::on_load_thread,
    system::{Database, StoreKind},
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
    bench.system.add_second_vhost().await?;
    let mut all = Vec::new();
    for kind in bench.system.store_kinds() {
        all.extend(measure_kind(bench, kind).await?);
    }
    bench.system.delete_second_vhost().await?;
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
        let medians = medians(bench, [&small, &large]).await?;
        for (figure, [floor, value]) in figures.iter_mut().zip(medians) {
            figure.add(value, floor);
        }
    }
    Ok(figures.into())
}

async fn fill(bench: &Bench, kind: StoreKind, count: usize) -> Result<Filled> {
    let (database, line) = bench.system.filled(kind, count).await?;
    Ok(Filled { database, known: serde_json::from_str(&line)? })
}

/// The median time of each call, with either store. Both web services run at the same time, and the calls alternate
/// between them: which processors the threads of a process happen to be on changes a short call more than the store does.
async fn medians(bench: &Bench, filled: [&Filled; 2]) -> Result<Vec<[f64; 2]>> {
    let [few, many] = filled;
    let small = bench.system.web_service(&few.database).await?;
    let large = bench.system.second_web_service(&many.database).await?;
    let stores = [(&small, few), (&large, many)].map(|(web, it)| (web.address, it.known.clone()));
    let calls = bench.scale.sequential_requests;
    let alternating =
        on_load_thread(move || alternating_calls(stores, calls, calls / CALLS_DIVISOR));
    let medians = bench.other_load.during(alternating).await?;
    small.stop().await?;
    large.stop().await?;
    bench.system.purge().await?;
    Ok(medians)
}

async fn alternating_calls(
    stores: [(SocketAddr, Known); 2],
    warm_up: usize,
    count: usize,
) -> Result<Vec<[f64; 2]>> {
    let [(small, few), (large, many)] = stores;
    let mut clients = [HttpClient::connect(small).await?, HttpClient::connect(large).await?];
    let known = [few, many];
    let mut medians = Vec::new();
    for (call, _) in CALLS {
        let mut times = [Vec::new(), Vec::new()];
        // The first calls are not counted: as long as the page cache grows, each waits for new memory, too.
        for number in 0..warm_up + count {
            for ((client, known), times) in clients.iter_mut().zip(&known).zip(&mut times) {
                times.push(call.time(client, known, number).await?);
            }
        }
        medians.push(times.map(|mut times| quantile_of(&times.split_off(warm_up), 0.5)));
    }
    Ok(medians)
}

impl Call {
    async fn time(self, client: &mut HttpClient, known: &Known, number: usize) -> Result<Duration> {
        let start = Instant::now();
        self.make(client, known, number).await?;
        Ok(start.elapsed())
    }

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
