//! Cancel, replay and failure over the API, the store, the broker, a worker and its command together.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    Fifo, Program,
    foreign::Properties,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::time::timeout;

use crate::support::{
    database::Database,
    requests::LOG_WAITERS,
    stack::{Stack, Web},
    wait::settles,
};

/// A broker that can't hand a message over, since the queue it goes to is not up yet, tries again after three minutes.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(4 * 60);

/// A processor that starts this shell script for each request.
fn script(stack: &Stack, text: &str) -> Program {
    let command = format!("sh -c '{}'", text.replace('\'', r"'\''"));
    let program = stack.program("processor-service").env("PROCESSOR", "command");
    program.env("PROCESSOR_COMMAND", command)
}

impl Web {
    /// Waits until a request is shown so.
    async fn shows(&self, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
        settles(what, async || Ok(is(&self.request(id).await?))).await
    }
}

#[tokio::test]
async fn a_cancel_by_one_service_ends_the_work_that_another_one_asked_for() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let (one, other) = tokio::try_join!(database.web(&stack), database.web(&stack))?;
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let text =
        format!("read -r d; [ $d = 1 ] || exec echo $d; exec 3>{pipe}; echo 1 >&3; sleep 1000");
    let processor = stack.start_processor(script(&stack, &text), 1, "1h").await?;
    let id = one.accepted(1.into()).await?;
    fifo.lines().await?;
    assert_eq!(other.delete(&id).await?.0, 200);
    fifo.closed().await?;
    let next = one.accepted(2.into()).await?;
    assert_eq!(one.ended(&next).await?["processingResults"], 2);
    assert_eq!(one.request(&id).await?["status"], "cancelled");
    processor.wait_for_message(log_messages::CANCELLED).await?;
    Ok(())
}

/// The only worker would be busy for ever with any of them that it is not told to let go of.
#[tokio::test]
async fn what_is_cancelled_stays_so_when_everything_was_restarted() -> Result<()> {
    let mut node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let database = Database::sqlite()?;
    let web = database.web(&stack).await?;
    let text = "read -r d; case $d in 1) [ $SLOWLANE_ATTEMPT = 1 ] && exit 75;; 4) exec echo 4;; esac; sleep 1000";
    let worker = || stack.start_processor(script(&stack, text).env("RETRY_DELAYS", "5s"), 1, "1h");
    let processor = worker().await?;

    let retried = web.accepted(1.into()).await?;
    let failed_once = |shown: &Value| shown["nextAttemptAt"].is_string();
    web.shows(&retried, "a failed attempt", failed_once).await?;
    let running = web.accepted(2.into()).await?;
    let queued = web.accepted(3.into()).await?;
    web.shows(&running, "work", |shown| shown["status"] == "processing").await?;
    processor.kill();
    for id in [&retried, &running, &queued] {
        assert_eq!(web.delete(id).await?.0, 200);
    }
    web.program.kill();
    node.stop().await?;
    node.start_again().await?;
    let web = database.web(&stack).await?;
    web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    let processor = worker().await?;

    let wanted = web.accepted(4.into()).await?;
    assert_eq!(web.ended(&wanted).await?["processingResults"], 4);
    let told = |line: &str| line.contains("\"cancelled\"") && line.contains(&retried);
    let mut lines = processor.follow();
    let back = async { while !told(&lines.next().await.unwrap_or_default()) {} };
    timeout(DEAD_LETTER_TIMEOUT, back)
        .await
        .context("the request that waited for its next attempt")?;
    for id in [&retried, &running, &queued] {
        assert_eq!(web.request(id).await?["status"], "cancelled");
    }
    Ok(())
}

#[tokio::test]
async fn what_always_failed_completes_after_a_repair_and_its_old_failure_changes_nothing()
-> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.program(&stack).env("RUST_LOG", LOG_WAITERS);
        let web = Web::start(web).await?;
        let shop = tempfile::tempdir()?;
        let repaired = shop.path().join("repaired");
        let text = format!("[ -e {} ] && exec cat; echo broken >&2; exit 75", repaired.display());
        let program = script(&stack, &text).env("RETRY_DELAYS", "50ms").env("MAX_ATTEMPTS", "3");
        let _processor = stack.start_processor(program, 1, "1h").await?;

        let id = web.accepted("a".into()).await?;
        let failed = web.ended(&id).await?;
        assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(3)));
        let message = failed["error"]["message"].as_str().context("a message")?;
        ensure!(message.contains("broken"), "{failed}");

        std::fs::write(&repaired, "")?;
        let replay = format!("{}/api/v1/requests/{id}/replay", web.base);
        assert_eq!(web.client.post(&replay).send().await?.status(), 202);
        let done = web.ended(&id).await?;
        assert_eq!((&done["status"], &done["run"]), (&json!("completed"), &json!(1)), "{done}");
        assert_eq!((&done["attempts"], &done["processingResults"]), (&json!(1), &json!("a")));

        let old = json!({"requestId": id, "error": failed["error"]}).to_string();
        stack
            .foreign()
            .await?
            .publish("processing", "result", Properties::default(), old.as_bytes())
            .await?;
        web.program.wait_for_message(log_messages::RESULT_DROPPED).await?;
        assert_eq!(web.request(&id).await?, done);
    }
    Ok(())
}
