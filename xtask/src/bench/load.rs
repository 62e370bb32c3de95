//! Load on the web service: many connections, each of which sends the next request after the last response.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::future::try_join_all;
use testbed::foreign::Foreign;
use uuid::Uuid;

use super::{
    figure::quantile_of,
    http_client::{HttpClient, HttpResponse},
    load_thread::on_load_thread,
    messages::{self, EXCHANGE},
    scale::Scale,
};

/// What a load has achieved.
#[derive(Debug)]
pub(super) struct Throughput {
    /// Responses per second after the warm-up.
    pub(super) per_second: f64,
    /// The number of responses, with those of the warm-up.
    pub(super) total: usize,
    /// Response times in seconds; unknown for the bare client.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// The time after the warm-up, in which responses are counted.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Instant,
    to: Instant,
}

impl Span {
    fn from_now(scale: Scale) -> Self {
        let from = Instant::now() + scale.warm_up;
        Self { from, to: from + scale.duration }
    }

    fn contains(self, at: Instant) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// Posts requests over `connections` connections for the time of `scale`.
pub(super) async fn post(
    address: SocketAddr,
    connections: usize,
    scale: Scale,
) -> Result<Throughput> {
    closed_loop(address, connections, scale, HttpClient::post).await
}

/// The same with clients that wait for each result.
pub(super) async fn post_and_wait(
    address: SocketAddr,
    connections: usize,
    scale: Scale,
) -> Result<Throughput> {
    closed_loop(address, connections, scale, HttpClient::post_and_wait).await
}

async fn closed_loop(
    address: SocketAddr,
    connections: usize,
    scale: Scale,
    call: impl AsyncFn(&mut HttpClient) -> Result<HttpResponse> + Send + 'static,
) -> Result<Throughput> {
    on_load_thread(move || async move {
        let clients = connect(address, connections).await?;
        let span = Span::from_now(scale);
        let all =
            try_join_all(clients.into_iter().map(|client| call_until_end(client, &call, span)));
        let (counts, times): (Vec<_>, Vec<_>) = all.await?.into_iter().unzip();
        let times: Vec<Duration> = times.concat();
        Ok(Throughput {
            per_second: times.len() as f64 / scale.duration.as_secs_f64(),
            total: counts.into_iter().sum(),
            p50: Some(quantile_of(&times, 0.5)),
            p99: Some(quantile_of(&times, 0.99)),
        })
    })
    .await
}

async fn call_until_end(
    mut client: HttpClient,
    call: &impl AsyncFn(&mut HttpClient) -> Result<HttpResponse>,
    span: Span,
) -> Result<(usize, Vec<Duration>)> {
    let (mut count, mut times) = (0, Vec::new());
    loop {
        let start = Instant::now();
        if start >= span.to {
            return Ok((count, times));
        }
        call(&mut client).await?;
        let end = Instant::now();
        count += 1;
        if span.contains(end) {
            times.push(end - start);
        }
    }
}

/// Posts `count` requests over `connections` connections, and returns their ids.
pub(super) async fn post_count(
    address: SocketAddr,
    connections: usize,
    count: usize,
) -> Result<Vec<Uuid>> {
    on_load_thread(move || async move {
        let left = Rc::new(Cell::new(count));
        let clients = connect(address, connections).await?;
        let all = try_join_all(clients.into_iter().map(|client| post_from(client, left.clone())));
        Ok(all.await?.concat())
    })
    .await
}

async fn post_from(mut client: HttpClient, left: Rc<Cell<usize>>) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        ids.push(client.post().await?.id()?);
    }
    Ok(ids)
}

async fn connect(address: SocketAddr, connections: usize) -> Result<Vec<HttpClient>> {
    try_join_all((0..connections).map(|_| HttpClient::connect(address))).await
}

/// Publishes a result for each of these requests.
pub(super) async fn publish_results(url: String, ids: Vec<Uuid>) -> Result<()> {
    const MAX_UNCONFIRMED: usize = 512;
    on_load_thread(move || async move {
        let foreign = Foreign::connect(&url).await?;
        let mut results = ids.into_iter().map(messages::result);
        foreign.flood(EXCHANGE, "result", MAX_UNCONFIRMED, || results.next()).await
    })
    .await
}
