//! What happens to the connections is not charged to the work: crashes of the broker and closed connections park
//! nothing and stop no live worker.

mod slow;

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::future::{select_ok, try_join_all};
use pipeline::log_messages::{ADOPTED, CANCELLED, FINISHED, PARKED, STARTED};
use serde_json::{Value, json};
use testbed::{
    Program, Proxy,
    process::json_message,
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::time::{Instant, sleep_until};

use crate::support::{
    faulty::began,
    stack::{REQUESTS, Stack, Web, consuming},
    wait::settles,
};

/// A node of its own, with the whole system on it.
struct Scene {
    node: Node,
    stack: Stack,
    web: Web,
    processors: Vec<Running>,
}

impl Scene {
    /// Starts so many processors with so many workers each, and has them work for a while: RabbitMQ can forget a queue
    /// that was declared only a moment before it was killed.
    async fn start(kind: &str, processors: usize, workers: usize) -> Result<Self> {
        Self::start_with(kind, processors, workers, |processor| processor).await
    }

    /// The same, with processors that have other settings.
    async fn start_with(
        kind: &str,
        processors: usize,
        workers: usize,
        set: impl Fn(Program) -> Program,
    ) -> Result<Self> {
        let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
        let stack = Stack::of_kind(kind, &node.url()).await?;
        let web = stack.web().await?;
        let mut started = Vec::new();
        for _ in 0..processors {
            started.push(set(stack.faulty(workers)).start()?);
        }
        for processor in &started {
            consuming(processor, workers).await?;
        }
        let warm = web.accepted(json!({"sleep": "4s"})).await?;
        web.ended(&warm).await?;
        Ok(Self { node, stack, web, processors: started })
    }

    /// Accepts requests, and waits until all of them have begun.
    async fn in_hand(&self, requests: usize, data: Value) -> Result<Vec<String>> {
        let accepted = (0..requests).map(|_| self.web.accepted(data.clone()));
        let ids = try_join_all(accepted).await?;
        for id in &ids {
            self.begun(id).await?;
        }
        Ok(ids)
    }

    /// Waits until a worker has begun the request.
    async fn begun(&self, id: &str) -> Result<()> {
        let of_id = |line: &str| (json_message(line, STARTED)?["requestId"] == *id).then_some(());
        let starts = self
            .processors
            .iter()
            .map(|processor| Box::pin(processor.wait_for("the start", of_id)));
        select_ok(starts).await.map(drop)
    }

    async fn crash(&mut self) -> Result<()> {
        self.node.kill().await?;
        self.node.start_again().await?;
        self.web.ready().await
    }

    /// All of them are completed; none was parked or stopped before.
    async fn all_complete(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            let ended = self.web.ended(id).await?;
            ensure!(ended["status"] == "completed", "{ended}");
        }
        let has = |program: &Running, phrase: &str| {
            program.lines().iter().any(|line| json_message(line, phrase).is_some())
        };
        ensure!(!has(&self.web.program, PARKED), "something was parked");
        Ok(())
    }

    /// The worker that began first has not been stopped: it had nothing but its connection taken away.
    fn none_was_stopped(&self, ids: &[String]) -> Result<()> {
        let mut stopped = HashSet::new();
        for processor in &self.processors {
            for line in processor.lines() {
                if let Some(line) = json_message(&line, CANCELLED) {
                    stopped.insert(line["requestId"].to_string());
                }
            }
        }
        ensure!(ids.iter().all(|id| !stopped.contains(&format!("{id:?}"))), "stopped: {stopped:?}");
        Ok(())
    }
}

#[tokio::test]
async fn a_killed_broker_parks_no_running_request_however_many_workers_are_idle() -> Result<()> {
    let mut scene = Scene::start("quorum", 4, 17).await?;
    let ids = scene.in_hand(2, json!({"sleep": "25s"})).await?;
    for _ in 0..2 {
        scene.crash().await?;
    }
    scene.all_complete(&ids).await
}

/// So few that the queue does not reach its delivery limit, but every processor sees a count above `MAX_DELIVERIES`.
#[tokio::test]
async fn a_killed_broker_parks_no_running_request_although_it_counts_idle_workers() -> Result<()> {
    let mut scene = Scene::start("quorum", 3, 4).await?;
    let ids = scene.in_hand(2, json!({"sleep": "25s"})).await?;
    for _ in 0..2 {
        scene.crash().await?;
    }
    scene.all_complete(&ids).await
}

#[tokio::test]
async fn a_process_that_lost_its_connection_goes_on_with_what_it_has() -> Result<()> {
    let scene = Scene::start("quorum", 1, 3).await?;
    let ids = scene.in_hand(2, json!({"sleep": "10s"})).await?;
    scene.node.close_all_connections().await?;
    scene.processors[0].wait_for_message(ADOPTED).await?;
    scene.all_complete(&ids).await?;
    for id in &ids {
        assert_eq!(began(&scene.processors[0], id)?.len(), 1, "it was begun once");
    }
    scene.none_was_stopped(&ids)?;
    assert_eq!(scene.stack.foreign().await?.depth(REQUESTS).await?.messages, 0);
    Ok(())
}

/// The last idle worker gets all of what the others work on.
#[tokio::test]
async fn an_idle_worker_goes_on_although_it_got_what_busy_ones_work_on() -> Result<()> {
    let mut scene = Scene::start("quorum", 1, 4).await?;
    let long = scene.in_hand(3, json!({"sleep": "30s"})).await?;
    scene.node.close_all_connections().await?;
    let adopted =
        |line: &str| json_message(line, ADOPTED)?["requestId"].as_str().map(str::to_owned);
    let all_adopted = || {
        let lines = scene.processors[0].lines();
        let ids: HashSet<_> = lines.iter().filter_map(|line| adopted(line)).collect();
        ids.len() == long.len()
    };
    settles("the idle worker gets all three", async || Ok(all_adopted())).await?;
    scene.web.ready().await?;
    let short = scene.in_hand(2, json!({"sleep": "10ms"})).await?;
    for id in &short {
        assert_eq!(scene.web.ended(id).await?["status"], "completed");
    }
    for id in &long {
        let state = scene.web.request(id).await?;
        assert_eq!(state["status"], "processing", "it runs for long");
    }
    scene.all_complete(&long).await?;
    for id in &long {
        assert_eq!(began(&scene.processors[0], id)?.len(), 1, "it was begun once");
    }
    let processor = scene.processors.remove(0);
    processor.terminate();
    processor.ended().await?;
    assert_eq!(scene.stack.foreign().await?.depth(REQUESTS).await?.messages, 0);
    Ok(())
}

#[tokio::test]
async fn work_that_began_in_time_goes_on_when_its_connection_is_lost_after_that() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let web = stack.web().await?;
    let processor = Stack { url: proxy.url(&vhost.url) }.faulty(1).start()?;
    consuming(&processor, 1).await?;
    let posted = Instant::now();
    let body = json!({"data": {"sleep": "8s"}, "expiresIn": "2s"}).to_string();
    let accepted: Value = web.post_body(body).await?.json().await?;
    let id = accepted["requestId"].as_str().context("a requestId")?;
    processor.wait_for_message(STARTED).await?;
    // Its time has to be over when the connection is lost.
    sleep_until(posted + Duration::from_secs(2)).await;
    proxy.cut();
    settles("the broker gives it up", async || Ok(web.request(id).await?["status"] == "failed"))
        .await?;
    assert_eq!(web.request(id).await?["error"]["code"], "expired");
    processor.wait_for_message(FINISHED).await?;
    settles("its success counts", async || Ok(web.request(id).await?["status"] == "completed"))
        .await
}
