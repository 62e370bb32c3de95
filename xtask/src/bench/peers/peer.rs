//! A peer: its packages, its web service and its worker as child processes.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use testbed::{
    Program,
    foreign::Foreign,
    npm,
    process::WAIT_TIMEOUT,
    program::Running,
    redis::{self, Server},
    workspace,
};
use tokio::time::sleep;

use super::super::{
    context::Bench, figure::Figure, http_client::HttpClient, load, process_usage, scale::Scale,
    web::WebService,
};
use crate::console;

/// The queues of `bench/peers/amqplib`.
const QUEUES: [&str; 2] = ["bench.peer.requests", "bench.peer.results"];
/// The number of results is read in this interval.
const COUNT_POLL_INTERVAL: Duration = Duration::from_millis(25);

/// How much longer peers are warmed up: Node.js compiles what is used often while it runs.
const WARM_UP_FACTOR: u32 = 3;

/// One of `bench/peers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Express and amqplib, with one connection for all requests.
    Node,
    /// Express and BullMQ, with a Redis that syncs every write.
    BullMq,
}

/// What is needed to run them.
pub(super) struct Peers {
    node: PathBuf,
    scripts: PathBuf,
    redis: redis::Install,
}

/// A running web service of a peer.
pub(super) struct RunningPeer<'a> {
    peers: &'a Peers,
    peer: Peer,
    web: WebService,
    redis: Option<Server>,
}

impl Peers {
    pub(super) async fn find_or_install() -> Result<Self> {
        let say = |line: &str| console::step("peers", line);
        let node = npm::tool("node")?;
        let redis = redis::Install::find_or_unpack(&say).await?;
        let project = workspace::root().join("bench/peers");
        let scripts = npm::installed("peers", &project, &say).await?;
        Ok(Self { node, scripts, redis })
    }

    /// Starts a web service with an empty queue and waits until it is ready.
    pub(super) async fn start(&self, peer: Peer, bench: &Bench) -> Result<RunningPeer<'_>> {
        let redis = match peer {
            Peer::Node => None,
            Peer::BullMq => Some(Server::start(&self.redis).await?),
        };
        let web = self.program(peer, "web.js", redis.as_ref(), bench);
        let web = WebService::start(web).await?;
        web.wait_until_ready().await?;
        Ok(RunningPeer { peers: self, peer, web, redis })
    }

    fn program(&self, peer: Peer, script: &str, redis: Option<&Server>, bench: &Bench) -> Program {
        let folder = match peer {
            Peer::Node => "amqplib",
            Peer::BullMq => "bullmq",
        };
        let program = Program::at(&self.node).arg(self.scripts.join(folder).join(script));
        let program = program.env("NODE_ENV", "production");
        match redis {
            Some(redis) => program.env("REDIS_URL", redis.url()),
            None => program.env("AMQP_URL", bench.system.broker_url()),
        }
    }
}

impl RunningPeer<'_> {
    /// Accepted requests per second. Ends the peer.
    pub(super) async fn accept(
        self,
        bench: &Bench,
        connections: usize,
        figure: &mut Figure,
    ) -> Result<f64> {
        let before = self.cpu_times(bench);
        let scale = Scale { warm_up: bench.scale.warm_up * WARM_UP_FACTOR, ..bench.scale };
        let posted = load::post(self.web.address, connections, scale);
        let throughput = bench.other_load.during(posted).await?;
        self.note(figure, before, self.cpu_times(bench), throughput.total);
        figure.note("beside: p99 ms", throughput.p99.map(|seconds| seconds * 1000.0));
        self.stop(bench).await?;
        Ok(throughput.per_second)
    }

    /// Jobs per second from a standing backlog, from the first to the last result. Ends the peer.
    pub(super) async fn drain(
        self,
        bench: &Bench,
        concurrency: usize,
        count: usize,
        figure: &mut Figure,
    ) -> Result<f64> {
        load::post_count(self.web.address, concurrency * 8, count).await?;
        let before = self.cpu_times(bench);
        let worker = self.worker(bench).env("CONCURRENCY", concurrency.to_string()).start()?;
        let results = rate_of_results(self.web.address, &worker, count);
        let rate = bench.other_load.during(results).await?;
        self.note(figure, before, self.cpu_times(bench), count);
        let used = process_usage::cpu_time(worker.pid());
        figure.note("worker", used.map(|seconds| seconds * 1e6 / count as f64));
        drop(worker);
        self.stop(bench).await?;
        Ok(rate)
    }

    fn worker(&self, bench: &Bench) -> Program {
        self.peers.program(self.peer, "worker.js", self.redis.as_ref(), bench)
    }

    /// Ends it, and removes its queues.
    async fn stop(self, bench: &Bench) -> Result<()> {
        drop(self.web);
        if self.peer == Peer::Node {
            let foreign = Foreign::connect(&bench.system.broker_url()).await?;
            for queue in QUEUES {
                foreign.delete_queue(queue).await?;
            }
        }
        Ok(())
    }

    /// The CPU time of the web service, and of the broker or Redis.
    fn cpu_times(&self, bench: &Bench) -> [Option<f64>; 2] {
        let broker = self.redis.as_ref().map_or_else(|| bench.system.broker_pid(), Server::pid);
        [self.web.program.pid(), broker].map(process_usage::cpu_time)
    }

    fn note(
        &self,
        figure: &mut Figure,
        before: [Option<f64>; 2],
        after: [Option<f64>; 2],
        count: usize,
    ) {
        let broker = if self.redis.is_some() { "Redis" } else { "its broker" };
        let names = ["beside: web service µs CPU", broker];
        for ((name, before), after) in names.into_iter().zip(before).zip(after) {
            let used = after.zip(before).map(|(after, before)| after - before);
            figure.note(name, used.map(|seconds| seconds * 1e6 / count as f64));
        }
    }
}

/// Results per second until there are `count`.
async fn rate_of_results(address: SocketAddr, worker: &Running, count: usize) -> Result<f64> {
    let mut client = HttpClient::connect(address).await?;
    let (mut first, mut seen, mut changed) = (None, 0, Instant::now());
    while seen < count {
        sleep(COUNT_POLL_INTERVAL).await;
        let now = results(&mut client).await?;
        if now > seen {
            first.get_or_insert((Instant::now(), now));
            (seen, changed) = (now, Instant::now());
        }
        let stuck = changed.elapsed() > WAIT_TIMEOUT || worker.exit_status().is_some();
        ensure!(!stuck, worker.error(&format!("has {seen} of {count} results")));
    }
    let (began, before) = first.context("there were no results")?;
    ensure!(before < count, "{count} jobs are too few to be measured");
    Ok((count - before) as f64 / (changed - began).as_secs_f64())
}

async fn results(client: &mut HttpClient) -> Result<usize> {
    #[derive(Deserialize)]
    struct Count {
        count: usize,
    }
    let response = client.get("/count").await?;
    ensure!(response.status == 200, "/count was answered with {}", response.status);
    Ok(serde_json::from_slice::<Count>(&response.body)?.count)
}
