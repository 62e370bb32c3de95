//! Load: many at once, each sending the next as soon as it has the answer to the last, for a while.

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
    apart::apart,
    client::Client,
    figure::quantile_of,
    messages::{self, EXCHANGE},
    scale::Scale,
};

/// What a load has come to.
#[derive(Debug)]
pub(super) struct Rate {
    /// Answers in a second, after the warm-up.
    pub(super) per_second: f64,
    /// All answers, those of the warm-up among them.
    pub(super) all: usize,
    /// Seconds until an answer, in the middle and of the slowest of a hundred; unknown of a bare client.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// When a load counts.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Instant,
    to: Instant,
}

impl Span {
    fn from_now(scale: Scale) -> Self {
        let from = Instant::now() + scale.warm_up;
        Self { from, to: from + scale.time }
    }

    fn counts(self, at: Instant) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// Posts over that many connections.
pub(super) async fn posts(address: SocketAddr, connections: usize, scale: Scale) -> Result<Rate> {
    apart(move || async move {
        let clients = connect(address, connections).await?;
        let span = Span::from_now(scale);
        let all = try_join_all(clients.into_iter().map(|client| post_until_end(client, span)));
        let (counts, times): (Vec<_>, Vec<_>) = all.await?.into_iter().unzip();
        let times: Vec<Duration> = times.concat();
        Ok(Rate {
            per_second: times.len() as f64 / scale.time.as_secs_f64(),
            all: counts.into_iter().sum(),
            p50: Some(quantile_of(&times, 0.5)),
            p99: Some(quantile_of(&times, 0.99)),
        })
    })
    .await
}

async fn post_until_end(mut client: Client, span: Span) -> Result<(usize, Vec<Duration>)> {
    let (mut count, mut times) = (0, Vec::new());
    loop {
        let began = Instant::now();
        if began >= span.to {
            return Ok((count, times));
        }
        client.post().await?;
        let ended = Instant::now();
        count += 1;
        if span.counts(ended) {
            times.push(ended - began);
        }
    }
}

/// Posts that many requests over that many connections, and gives their ids.
pub(super) async fn accepted(
    address: SocketAddr,
    connections: usize,
    count: usize,
) -> Result<Vec<Uuid>> {
    apart(move || async move {
        let left = Rc::new(Cell::new(count));
        let clients = connect(address, connections).await?;
        let all = try_join_all(clients.into_iter().map(|client| post_some(client, left.clone())));
        Ok(all.await?.concat())
    })
    .await
}

async fn post_some(mut client: Client, left: Rc<Cell<usize>>) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        ids.push(client.post().await?.id()?);
    }
    Ok(ids)
}

async fn connect(address: SocketAddr, connections: usize) -> Result<Vec<Client>> {
    try_join_all((0..connections).map(|_| Client::connect(address))).await
}

/// Publishes a result of each of these requests.
pub(super) async fn publish_results(url: String, ids: Vec<Uuid>) -> Result<()> {
    const WINDOW: usize = 512;
    apart(move || async move {
        let foreign = Foreign::connect(&url).await?;
        let mut results = ids.into_iter().map(messages::result);
        foreign.flood(EXCHANGE, "result", WINDOW, || results.next()).await
    })
    .await
}
