//! The broker is stopped, killed, frozen and blocked under load: nothing is lost, no caller hangs.

use std::{collections::HashSet, time::Duration};

use anyhow::{Result, ensure};
use pipeline::log_messages;
use serde_json::Value;
use testbed::{
    process::json_message,
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::{
    load::Load,
    stack::{Stack, Web},
};

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A node of its own with the whole system on it and load on that.
struct Scene {
    node: Node,
    web: Web,
    processors: Vec<Running>,
    load: Load,
}

impl Scene {
    async fn start(clients: usize, bytes: usize) -> Result<Self> {
        let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
        // A frozen broker is found out by missing heartbeats, after twice this time.
        let stack = Stack::on(&format!("{}?heartbeat=5", node.url())).await?;
        let web = stack.program("web-service").env("PUBLISH_TIMEOUT", "2s");
        let web = Web::start(web).await?;
        let mut processors = Vec::new();
        for _ in 0..2 {
            processors.push(stack.processor(4, "1ms").await?);
        }
        let load = Load::start(&web, clients, bytes);
        load.accepts(50).await?;
        Ok(Self { node, web, processors, load })
    }

    /// The service takes requests again, every worker and the receiver of results too, and
    /// nothing that was accepted is missing.
    async fn ends_well(self) -> Result<()> {
        let Self { node, web, processors, load } = self;
        load.accepts(50).await?;
        let seen = load.stop(PUBLISH_TIMEOUT).await?;
        web.results(seen.accepted).await?;
        web.ready().await?;
        for processor in processors {
            all_work(&processor, &web).await?;
            nothing_is_left_of_lost_connections(&processor, 2)?;
        }
        nothing_is_left_of_lost_connections(&web.program, 3)?;
        drop(node);
        Ok(())
    }
}

/// Each connection has one thread, and with that its socket and buffers, however many connections
/// there were before.
fn nothing_is_left_of_lost_connections(program: &Running, connections: usize) -> Result<()> {
    let process = format!("/proc/{}", program.pid());
    let threads = std::fs::read_dir(format!("{process}/task"))?.filter(|task| {
        let comm = task.as_ref().map(|task| std::fs::read_to_string(task.path().join("comm")));
        matches!(comm, Ok(Ok(name)) if name.trim() == "amqp")
    });
    let threads = threads.count();
    let name = program.name();
    ensure!(threads <= connections, "{name} has {threads} threads for {connections} connections");
    Ok(())
}

/// Every worker of the processor still works: each gets its turn when requests are many.
async fn all_work(processor: &Running, web: &Web) -> Result<()> {
    let mut finished = HashSet::new();
    let all = processor.from_now().wait_for("some of its workers", |line| {
        finished.insert(json_message(line, log_messages::FINISHED)?["worker"].to_string());
        (finished.len() == 4).then_some(())
    });
    let work = async {
        loop {
            web.accepted("more".into()).await?;
        }
    };
    tokio::select! { all = all => all, failed = work => failed }
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_is_stopped_and_started() -> Result<()> {
    let mut scene = Scene::start(8, 100).await?;
    scene.node.stop().await?;
    scene.web.program.wait_for_message(log_messages::DISCONNECTED).await?;
    let not_ready = scene.web.get("/health/ready").await?;
    ensure!(not_ready.status() == 503);
    ensure!(scene.web.get("/health/live").await?.status() == 200);
    scene.node.start_again().await?;
    scene.ends_well().await
}

#[tokio::test]
async fn nothing_is_lost_when_an_administrator_closes_all_connections() -> Result<()> {
    let scene = Scene::start(8, 100).await?;
    for _ in 0..3 {
        scene.node.close_all_connections().await?;
        scene.load.accepts(50).await?;
    }
    scene.ends_well().await
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_is_killed() -> Result<()> {
    let mut scene = Scene::start(8, 100).await?;
    scene.node.kill().await?;
    scene.node.start_again().await?;
    scene.ends_well().await
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_freezes_with_small_bodies() -> Result<()> {
    frozen(8, 100).await
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_freezes_with_64_kib_bodies() -> Result<()> {
    // Enough clients to fill the sockets.
    frozen(150, 64 * 1024).await
}

async fn frozen(clients: usize, bytes: usize) -> Result<()> {
    let scene = Scene::start(clients, bytes).await?;
    scene.node.freeze();
    // The frost outlasts the heartbeats.
    for program in scene.processors.iter().chain([&scene.web.program]) {
        program.wait_for_message(log_messages::DISCONNECTED).await?;
    }
    scene.node.thaw();
    scene.ends_well().await
}

#[tokio::test]
async fn a_memory_alarm_refuses_requests_at_once_and_passes() -> Result<()> {
    let scene = Scene::start(8, 100).await?;
    scene.node.raise_memory_alarm().await?;
    scene.web.not_publishing("alarm").await?;
    let answer = scene.web.post_body("{\"data\":1}").await?;
    ensure!(answer.status() == 503 && answer.headers().contains_key("retry-after"));
    assert_eq!(answer.json::<Value>().await?["type"], "unavailable", "nothing was sent");
    scene.node.clear_memory_alarm().await?;
    scene.ends_well().await
}
