//! A worker loses its connection after it has published: the work is repeated, and there is one result.

use anyhow::{Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{Proxy, process::json_message, program::Running, shared_node};

use crate::support::{
    faulty::{consumes_ahead, holding},
    stack::{FAILED, Stack, Web, consuming},
    wait::{drained, holds},
};

/// A web service, and a worker behind a proxy that is in the middle of a request.
struct Scene {
    stack: Stack,
    web: Web,
    proxy: Proxy,
    worker: Running,
    id: String,
}

/// Long enough for the copy to be seen while it waits.
const DELAYS: &str = "3s";
const RETRY_QUEUE: &str = "processing.retry.3000";

impl Scene {
    async fn of(order: Value, prefetch: u16) -> Result<Self> {
        let vhost = shared_node::vhost().await;
        let stack = Stack::on(&vhost.url).await?;
        let proxy = Proxy::start(vhost.address()).await?;
        let web = stack.web().await?;
        let behind = Stack { url: proxy.url(&vhost.url) };
        let worker = holding(behind.faulty(1), prefetch).env("RETRY_DELAYS", DELAYS);
        let worker = worker.env("RUST_LOG", "info,processor_service=debug").start()?;
        consuming(&worker, 1).await?;
        // Some that end in the same way show that the way back is open too, with its channels.
        let mut first = order.clone();
        first["sleep"] = Value::Null;
        web.ended(&web.accepted(first.clone()).await?).await?;
        if prefetch > 1 {
            consumes_ahead(&worker, &web, &first).await?;
        }
        let id = web.accepted(order).await?;
        let started = |line: &str| {
            json_message(line, log_messages::STARTED).filter(|job| job["requestId"] == id)
        };
        worker.wait_for("its start", started).await?;
        Ok(Self { stack, web, proxy, worker, id })
    }

    /// The worker hears the broker no more. It works for longer than this takes.
    fn deafen(&self) {
        self.proxy.hold_answers();
    }

    /// The worker has its connections back, and another comes to help.
    async fn mend(self) -> Result<Value> {
        self.proxy.resume();
        self.proxy.cut();
        self.worker.wait_for_message(log_messages::DISCONNECTED).await?;
        let other = self.stack.start_faulty(1, DELAYS).await?;
        consuming(&other, 1).await?;
        self.ended(other).await
    }

    /// How often the worker began to work on the request, or had it again while it did.
    fn begun(&self, worker: &Running) -> usize {
        let lines = worker.lines();
        let is_begun = |line: &&String| {
            let of = |message| json_message(line, message);
            of(log_messages::STARTED)
                .or_else(|| of(log_messages::ADOPTED))
                .is_some_and(|job| job["requestId"] == self.id.as_str())
        };
        lines.iter().filter(is_begun).count()
    }

    /// The request has ended once, and nothing is left of it.
    async fn ended(self, other: Running) -> Result<Value> {
        let ended = self.web.ended(&self.id).await?;
        let foreign = self.stack.foreign().await?;
        holds(&foreign, RETRY_QUEUE, |messages| messages == 0).await?;
        drained(&foreign).await?;
        holds(&foreign, FAILED, |messages| messages == 0).await?;
        for worker in [&self.worker, &other] {
            worker.terminate();
            worker.wait().await?;
        }
        let begun = [&self.worker, &other].map(|worker| self.begun(worker)).iter().sum::<usize>();
        ensure!(begun >= 2, "it was acked before the connection was lost");
        // One more request shows that all before it were dealt with.
        let _last = self.stack.start_faulty(1, DELAYS).await?;
        let later = self.web.accepted(json!("later")).await?;
        self.web.result(&later).await?;
        let lines = self.web.program.lines();
        let answers = lines.iter().filter_map(|line| json_message(line, log_messages::RESULT));
        let answers = answers.filter(|answer| answer["requestId"] == self.id.as_str()).count();
        ensure!(answers == 1, "it was answered {answers} times");
        assert_eq!(self.web.request(&self.id).await?, ended);
        Ok(ended)
    }
}

async fn cut_off_between_the_copy_for_the_next_attempt_and_the_ack(prefetch: u16) -> Result<()> {
    let scene = Scene::of(json!({"sleep": "1s", "fail": 1}), prefetch).await?;
    let foreign = scene.stack.foreign().await?;
    scene.deafen();
    holds(&foreign, RETRY_QUEUE, |messages| messages == 1).await?;
    let ended = scene.mend().await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(2)));
    Ok(())
}

async fn cut_off_between_the_result_and_the_ack(prefetch: u16) -> Result<()> {
    let scene = Scene::of(json!({"sleep": "1s"}), prefetch).await?;
    scene.deafen();
    assert_eq!(scene.web.ended(&scene.id).await?["status"], "completed");
    scene.mend().await.map(drop)
}

async fn cut_off_between_the_failed_request_and_its_error(prefetch: u16) -> Result<()> {
    let scene = Scene::of(json!({"sleep": "1s", "permanent": "no"}), prefetch).await?;
    scene.deafen();
    let ended = scene.web.ended(&scene.id).await?;
    assert_eq!((&ended["status"], &ended["error"]["message"]), (&json!("failed"), &json!("no")));
    scene.mend().await.map(drop)
}

#[tokio::test]
async fn between_the_copy_for_the_next_attempt_and_the_ack() -> Result<()> {
    cut_off_between_the_copy_for_the_next_attempt_and_the_ack(1).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_between_the_copy_for_the_next_attempt_and_the_ack() -> Result<()> {
    cut_off_between_the_copy_for_the_next_attempt_and_the_ack(8).await
}

#[tokio::test]
async fn between_the_result_and_the_ack() -> Result<()> {
    cut_off_between_the_result_and_the_ack(1).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_between_the_result_and_the_ack() -> Result<()> {
    cut_off_between_the_result_and_the_ack(8).await
}

#[tokio::test]
async fn between_the_failed_request_and_its_error() -> Result<()> {
    cut_off_between_the_failed_request_and_its_error(1).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_between_the_failed_request_and_its_error() -> Result<()> {
    cut_off_between_the_failed_request_and_its_error(8).await
}
