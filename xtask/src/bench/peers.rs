//! Peers: accepted requests and jobs per second of Slowlane beside other ways to do the same, of `bench/peers`.

mod peer;

use anyhow::{Context, Result};

use self::peer::{Peer, Peers};
use super::{
    accept,
    context::Bench,
    drain,
    figure::{Figure, Threshold, Unit},
    system::StoreKind,
};
use crate::console;

const CONNECTIONS: usize = 64;
/// How many jobs are worked on at a time.
const WORKERS: usize = 8;
/// The prefetch beside BullMQ, which also fetches the next job with the report about the last.
const PREFETCH: u16 = 16;

/// The figures, in turns.
struct Figures {
    accept_beside_node: Figure,
    accept_beside_bullmq: Figure,
    drain_beside_node: Figure,
    drain_beside_bullmq: Figure,
}

/// Measures nothing where Node.js or Redis can't be had.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let peers = match Peers::find_or_install().await {
        Ok(peers) => peers,
        Err(error) => {
            console::step("peers", format!("not measured: {error:#}"));
            return Ok(Vec::new());
        }
    };
    let mut figures = Figures::new();
    for _ in bench.rounds("peers") {
        figures.measure_round(bench, &peers).await?;
    }
    let Figures { accept_beside_node, accept_beside_bullmq, .. } = figures;
    let Figures { drain_beside_node, drain_beside_bullmq, .. } = figures;
    Ok(vec![accept_beside_node, accept_beside_bullmq, drain_beside_node, drain_beside_bullmq])
}

impl Figures {
    fn new() -> Self {
        let figure = |name: String, least| {
            Figure::new(name, Unit::PerSecond, Some(Threshold::AtLeast(least)))
        };
        let accept = format!("accept, {CONNECTIONS} connections, SQLite");
        let drain = format!("drain, {WORKERS} workers");
        Self {
            accept_beside_node: figure(format!("{accept}, beside pooled Node"), 2.0),
            accept_beside_bullmq: figure(format!("{accept}, beside BullMQ"), 2.4),
            drain_beside_node: figure(format!("{drain}, beside pooled Node"), 2.0),
            drain_beside_bullmq: figure(
                format!("{drain}, PREFETCH={PREFETCH}, beside BullMQ (concurrency {WORKERS})"),
                1.1,
            ),
        }
    }

    async fn measure_round(&mut self, bench: &Bench, peers: &Peers) -> Result<()> {
        self.accept(bench, peers).await.context("accept")?;
        self.drain(bench, peers).await.context("drain")
    }

    async fn accept(&mut self, bench: &Bench, peers: &Peers) -> Result<()> {
        let figure = &mut self.accept_beside_node;
        let (ours, _) =
            accept::measure_web_service(bench, StoreKind::Sqlite, CONNECTIONS, figure).await?;
        let node = peers.start(Peer::Node, bench).await?;
        let theirs = node.accept(bench, CONNECTIONS, figure).await?;
        figure.add(ours, theirs);
        let figure = &mut self.accept_beside_bullmq;
        let bullmq = peers.start(Peer::BullMq, bench).await?;
        let theirs = bullmq.accept(bench, CONNECTIONS, figure).await?;
        figure.add(ours, theirs);
        Ok(())
    }

    async fn drain(&mut self, bench: &Bench, peers: &Peers) -> Result<()> {
        let figure = &mut self.drain_beside_node;
        let ours = drain::measure_processor(bench, WORKERS, 1, figure).await?;
        let node = peers.start(Peer::Node, bench).await?;
        let theirs = node.drain(bench, WORKERS, bench.scale.jobs(WORKERS, 1), figure).await?;
        figure.add(ours, theirs);
        let figure = &mut self.drain_beside_bullmq;
        let ours = drain::measure_processor(bench, WORKERS, PREFETCH, figure).await?;
        let bullmq = peers.start(Peer::BullMq, bench).await?;
        let count = bench.scale.jobs(WORKERS, PREFETCH);
        let theirs = bullmq.drain(bench, WORKERS, count, figure).await?;
        figure.add(ours, theirs);
        Ok(())
    }
}
