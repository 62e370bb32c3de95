//! What the host did is not charged to the work: a processor whose command is gone takes few requests, and fails none.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use pipeline::log_messages::{HANDED_BACK, HOST_FAULT, HOST_RECOVERED};
use serde_json::json;
use testbed::{Program, program::Running, workspace};

use crate::support::stack::Stack;

const REQUESTS: usize = 200;
/// How many requests a processor may take that can't begin their work: a few at first, then one now and then.
const MAX_TRIES: usize = 20;

/// A processor that does this work, started from the file itself or through an interpreter.
fn processor(stack: &Stack, command: &str) -> Program {
    let program = stack.program("processor-service").env("PROCESSOR", "command");
    program.env("PROCESSOR_COMMAND", command).env("MAX_ATTEMPTS", "1")
}

fn write(script: &Path) -> Result<()> {
    fs::write(script, "#!/bin/sh\nsleep 0.05; cat\n")?;
    Ok(fs::set_permissions(script, fs::Permissions::from_mode(0o755))?)
}

/// Waits until the processor has noticed several times in a row that it can't work.
async fn stopped_consuming(processor: &Running) -> Result<()> {
    let all_wait =
        |line: &str| (line.contains(HOST_FAULT) && line.contains("all workers")).then_some(());
    processor.wait_for("that all workers wait", all_wait).await
}

async fn fails_no_request(interpreter: &str) -> Result<()> {
    let (stack, dir) = (Stack::fresh().await?, workspace::temp_dir("commands-")?);
    let [good, bad] = ["good.sh", "bad.sh"].map(|name| dir.path().join(name));
    let command = |script: &Path| format!("{interpreter}{}", script.display());
    write(&good)?;
    write(&bad)?;
    let web = stack.web().await?;
    let broken = stack.start_processor(processor(&stack, &command(&bad)), 2, "1h").await?;
    let whole = stack.start_processor(processor(&stack, &command(&good)), 2, "1h").await?;
    fs::remove_file(&bad)?;
    let ids = try_join_all((0..REQUESTS).map(|n| web.accepted(json!(n)))).await?;
    for id in &ids {
        let ended = web.ended(id).await?;
        ensure!(
            (&ended["status"], &ended["attempts"]) == (&json!("completed"), &json!(1)),
            "{ended}"
        );
    }
    let handed_back = broken.lines().iter().filter(|line| line.contains(HANDED_BACK)).count();
    ensure!(handed_back <= MAX_TRIES, "it has taken {handed_back} requests");
    whole.terminate();
    // The only one that is left takes requests now and then, and works as soon as it can.
    let last = web.accepted(json!("last")).await?;
    stopped_consuming(&broken).await?;
    write(&bad)?;
    assert_eq!(web.ended(&last).await?["status"], "completed");
    broken.wait_for_message(HOST_RECOVERED).await.map(drop)
}

#[tokio::test]
async fn a_processor_whose_command_is_gone_fails_no_request() -> Result<()> {
    fails_no_request("").await
}

#[tokio::test]
async fn a_processor_whose_script_is_gone_fails_no_request() -> Result<()> {
    fails_no_request("sh ").await
}
