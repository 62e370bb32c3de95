//! Growth: what one client waits for with a full store, beside the same with an almost empty one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Bench,
    apart::apart,
    client::Client,
    figure::{Figure, Hold, Unit, quantile_of},
    stage::{Database, Kind},
    web::Web,
};

/// The most that a full store may cost.
const HOLD: Hold = Hold::AtMost(1.25);
/// Of the requests that one client sends, this part is enough here.
const PART: usize = 4;

/// What is measured.
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

/// What the program that filled it says.
#[derive(Debug, Clone, Deserialize)]
struct Known {
    /// The cursor of the page in the middle.
    middle: String,
    /// Some of the requests.
    ids: Vec<Uuid>,
}

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut all = Vec::new();
    for kind in bench.stage.kinds() {
        all.extend(measure_kind(bench, kind).await?);
    }
    Ok(all)
}

async fn measure_kind(bench: &Bench, kind: Kind) -> Result<Vec<Figure>> {
    let [few, many] = bench.scale.stored;
    let small = fill(bench, kind, few).await?;
    let large = fill(bench, kind, many).await?;
    let mut figures = CALLS.map(|(_, name)| {
        let name = format!("{name}, {kind}, {many} stored by {few}");
        Figure::new(name, Unit::Seconds, Some(HOLD))
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

async fn fill(bench: &Bench, kind: Kind, count: usize) -> Result<Filled> {
    let (database, line) = bench.stage.filled(kind, count).await?;
    Ok(Filled { database, known: serde_json::from_str(&line)? })
}

/// The median time of each call.
async fn medians(bench: &Bench, filled: &Filled) -> Result<Vec<f64>> {
    let web = bench.stage.web(&filled.database).await?;
    let medians = bench.usage.during(calls(bench, &web, filled.known.clone())).await?;
    web.stop().await?;
    bench.stage.purge().await?;
    Ok(medians)
}

async fn calls(bench: &Bench, web: &Web, known: Known) -> Result<Vec<f64>> {
    let (address, count) = (web.address, bench.scale.one_by_one / PART);
    apart(move || async move {
        let mut client = Client::connect(address).await?;
        let mut medians = Vec::new();
        for (call, _) in CALLS {
            let mut times: Vec<Duration> = Vec::new();
            // The first tenth finds caches cold.
            for number in 0..count + count / 10 {
                let began = Instant::now();
                call.make(&mut client, &known, number).await?;
                times.push(began.elapsed());
            }
            medians.push(quantile_of(&times.split_off(count / 10), 0.5));
        }
        Ok(medians)
    })
    .await
}

impl Call {
    async fn make(self, client: &mut Client, known: &Known, number: usize) -> Result<()> {
        let path = match self {
            Self::Post => return client.post().await.map(drop),
            // A large step, so that neighbours in time are not neighbours in the store.
            Self::Get => format!("/api/v1/requests/{}", known.ids[number * 389 % known.ids.len()]),
            Self::FirstPage => "/api/v1/requests".to_owned(),
            Self::MiddlePage => format!("/api/v1/requests?cursor={}", known.middle),
        };
        let answer = client.get(&path).await?;
        ensure!(answer.status == 200, "{path} was answered with {}", answer.status);
        Ok(())
    }
}
