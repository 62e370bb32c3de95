//! `COMMAND_POOL=true` end to end: children that stay up, and none that outlives its worker.

use std::{collections::HashSet, fs};

use anyhow::{Result, ensure};
use pipeline::log_messages::{HANDED_BACK, STOPPING};
use serde_json::{Value, json};
use testbed::{
    Fifo, Program,
    process::{WAIT_TIMEOUT, json_message},
};

use crate::support::{
    documents,
    stack::{Stack, Web},
};

/// A processor whose children run this shell script for each line, in which `$id` is the request's, and answer with their
/// process's id.
fn processor(stack: &Stack, text: &str) -> Program {
    let script = format!(
        r#"while read -r line; do id=${{line#*\"id\":\"}}; id=${{id%%\"*}}; {text}
        echo "{{\"id\":\"$id\",\"result\":$$}}"; done"#
    );
    command(stack, &format!("sh -c '{}'", script.replace('\'', r"'\''")))
}

fn command(stack: &Stack, command: &str) -> Program {
    let program = stack.program("processor-service").env("PROCESSOR", "command");
    let program = program.env("PROCESSOR_COMMAND", command).env("MAX_ATTEMPTS", "1");
    program.env("COMMAND_POOL", "true")
}

async fn end_of(web: &Web, data: Value) -> Result<Value> {
    let id = web.accepted(data).await?;
    web.ended(&id).await
}

/// The process that does the next job.
async fn child(web: &Web) -> Result<u64> {
    let ended = end_of(web, json!(0)).await?;
    ended["processingResults"].as_u64().ok_or_else(|| anyhow::anyhow!("{ended}"))
}

#[tokio::test]
async fn two_workers_do_many_requests_with_two_children() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = processor(&stack, "");
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_processor(program, 2, "1h"))?;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(web.accepted(json!(n)).await?);
    }
    let mut children = HashSet::new();
    for id in &ids {
        children.insert(web.ended(id).await?["processingResults"].to_string());
    }
    ensure!((1..=2).contains(&children.len()), "{children:?}");
    Ok(())
}

#[tokio::test]
async fn a_child_that_hangs_or_whose_request_is_cancelled_is_replaced() -> Result<()> {
    let stack = Stack::fresh().await?;
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let text = format!(
        "case $line in *:1}}) sleep 1000;; *:2}}) exec 4>{pipe}; echo here >&4; sleep 1000;; esac"
    );
    let program = processor(&stack, &text).env("JOB_TIMEOUT", "4s");
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let first = child(&web).await?;
    assert_eq!(end_of(&web, json!(1)).await?["error"]["code"], "timeout");
    let second = child(&web).await?;
    assert_ne!(first, second);
    let id = web.accepted(json!(2)).await?;
    fifo.lines().await?;
    web.delete(&id).await?;
    fifo.closed().await?;
    assert_ne!(child(&web).await?, second);
    Ok(())
}

#[tokio::test]
async fn no_child_outlives_a_worker_that_is_killed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let mut fifo = Fifo::with_lines(2)?;
    let pipe = fifo.path().display();
    // One child has a job, the other one has none.
    let text = format!("exec 4>{pipe}; echo here >&4; case $line in *:1}}) sleep 1000;; esac");
    let program = processor(&stack, &text);
    let (web, victim) = tokio::try_join!(stack.web(), stack.start_processor(program, 2, "1h"))?;
    let busy = web.accepted(json!(1)).await?;
    child(&web).await?;
    fifo.lines().await?;
    victim.kill();
    fifo.closed().await?;
    let _heir = stack.start_processor(processor(&stack, ""), 1, "1h").await?;
    assert_eq!(web.ended(&busy).await?["status"], "completed");
    Ok(())
}

#[tokio::test]
async fn a_child_may_finish_while_its_worker_stops_or_its_request_goes_back() -> Result<()> {
    for (drain, finishes) in [("25s", true), ("100ms", false)] {
        let stack = Stack::fresh().await?;
        let mut fifo = Fifo::with_lines(1)?;
        let pipe = fifo.path().display();
        let text = format!("exec 4>{pipe}; echo here >&4; while [ ! -e go ]; do sleep 0.05; done");
        let program = processor(&stack, &text).env("DRAIN_TIMEOUT", drain);
        let (web, stopped) =
            tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
        let id = web.accepted(json!(1)).await?;
        fifo.lines().await?;
        stopped.terminate();
        stopped.wait_for_message(STOPPING).await?;
        if finishes {
            // It runs where its processor runs.
            fs::write(stopped.dir().join("go"), "")?;
            assert_eq!(web.ended(&id).await?["status"], "completed");
        }
        ensure!(stopped.wait_within(WAIT_TIMEOUT).await?.success(), "it stops cleanly");
        fifo.closed().await?;
        let handed_back = |line: &String| json_message(line, HANDED_BACK).is_some();
        assert_eq!(stopped.lines().iter().any(handed_back), !finishes);
    }
    Ok(())
}

#[tokio::test]
async fn the_example_of_the_documents_stays_up() -> Result<()> {
    let blocks = documents::blocks("docs/processors.md", "python")?;
    let example = blocks.get(1).map(String::as_str).unwrap_or_default();
    ensure!(example.contains("for line in"), "{example}");
    let (stack, folder) = (Stack::fresh().await?, tempfile::tempdir()?);
    let path = folder.path().join("work.py");
    fs::write(&path, example)?;
    let program = command(&stack, &format!("python3 {}", path.display()));
    let program = program.env("COMMAND_POOL_MAX_JOBS", "3");
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    for _ in 0..2 {
        let invoice = json!({"ü": [1.5, null], "big": 12345678901234567890_u64});
        let ended = end_of(&web, json!({"invoice": invoice})).await?;
        assert_eq!(ended["processingResults"], json!({"paid": invoice}), "{ended}");
        for wrong in [json!({}), json!("invoice"), json!(null)] {
            let ended = end_of(&web, wrong).await?;
            assert_eq!(ended["error"]["code"], "permanent", "{ended}");
        }
    }
    Ok(())
}
