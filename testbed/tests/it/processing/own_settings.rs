//! A worker program of one's own with a name, a version and settings: command line, errors, retries, its end.

use std::fs;

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::json;
use testbed::{Program, process::WAIT_TIMEOUT, program::Running};

use crate::support::stack::{REQUESTS, Stack, consuming};

const OWN: &str = "examples/convert";

/// The exit code of a program, and what it said.
async fn end_of(program: Program) -> Result<(Option<i32>, String)> {
    let (status, text) = program.start()?.ended().await?;
    Ok((status.code(), text))
}

#[tokio::test]
async fn help_and_version_are_those_of_the_own_program() -> Result<()> {
    let (code, help) = end_of(Program::new(OWN).arg("--help")).await?;
    ensure!(code == Some(0) && help.contains("Converts amounts into euros."), "{code:?}: {help}");
    ensure!(help.contains("convert [OPTIONS]") && help.contains("--job-timeout"), "{help}");
    for other in ["--processor <", "env: PROCESSOR,", "PROCESSING_DELAY", "PROCESSOR_COMMAND"] {
        ensure!(!help.contains(other), "{other}: {help}");
    }
    for flag in ["--version", "-V"] {
        let (code, version) = end_of(Program::new(OWN).arg(flag)).await?;
        let slowlane = env!("CARGO_PKG_VERSION");
        let expected = format!("convert 2.5.0 (Slowlane {slowlane})");
        ensure!(code == Some(0) && version.trim() == expected, "{code:?}: {version}");
        let (code, version) = end_of(Program::new("examples/echo").arg(flag)).await?;
        let expected = format!("echo (Slowlane {slowlane})");
        ensure!(code == Some(0) && version.trim() == expected, "{code:?}: {version}");
    }
    Ok(())
}

#[tokio::test]
async fn bad_settings_and_flags_end_it_with_2_and_the_sentences_of_processor_service() -> Result<()>
{
    let with_bad_values = |name| {
        let program = Program::new(name).arg("--max-attempts").arg("none");
        program.env("JOB_TIMEOUT", "soon").env("AMQP_URL", "http://127.0.0.1")
    };
    let (code, own) = end_of(with_bad_values(OWN)).await?;
    let (_, ours) = end_of(with_bad_values("processor-service")).await?;
    ensure!(code == Some(2) && own.starts_with("convert: the configuration"), "{code:?}: {own}");
    assert_eq!(own.strip_prefix("convert"), ours.strip_prefix("processor-service"));
    for unknown in [["--work", "3"], ["--processor", "command"]] {
        let (code, text) = end_of(Program::new(OWN).arg(unknown[0]).arg(unknown[1])).await?;
        ensure!(code == Some(2) && text.contains("unexpected argument"), "{code:?}: {text}");
    }
    let (code, text) = end_of(Program::new(OWN)).await?;
    let expected = "convert: the configuration can't be used:\n  RATES= is needed";
    ensure!(code == Some(2) && text.contains(expected), "{code:?}: {text}");
    Ok(())
}

#[tokio::test]
async fn an_error_while_the_processor_is_built_ends_it_with_1_and_the_causes() -> Result<()> {
    let program = Program::new(OWN).env("RATES", "rates.json").env("RATES_FOLDER", "/no/such");
    let (code, text) = end_of(program).await?;
    let causes = "the processor can't be built: no folder of rates: No such file or directory";
    ensure!(code == Some(1) && text.contains(causes), "{code:?}: {text}");
    Ok(())
}

/// The program, with its settings in `.env`, and some that do not belong to it.
async fn started(stack: &Stack, folder: &tempfile::TempDir) -> Result<Running> {
    let lines = [
        &format!("AMQP_URL={}", stack.url),
        "RATES=rates.json",
        "LOG_FORMAT=json",
        "RETRY_DELAYS=1s",
        "PROCESSOR=nonsense",
    ];
    fs::write(folder.path().join(".env"), lines.join("\n"))?;
    let worker = Program::new(OWN).current_dir(folder.path()).start()?;
    consuming(&worker, 1).await?;
    Ok(worker)
}

#[tokio::test]
async fn an_error_that_may_pass_is_retried_and_tells_its_chain_of_causes() -> Result<()> {
    let (stack, folder) = (Stack::fresh().await?, tempfile::tempdir()?);
    let mut retries =
        stack.foreign().await?.listen("processing.events", "request.retrying").await?;
    let (web, worker) = tokio::try_join!(stack.web(), started(&stack, &folder))?;
    let warned = worker.lines().iter().any(|line| {
        line.contains("settings without effect") && line.contains("\"names\":\"PROCESSOR\"")
    });
    ensure!(warned, "{}", worker.error("did not warn"));
    let id = web.accepted(json!({"amount": 20, "currency": "USD"})).await?;
    let error = &retries.next().await?.json()?["error"];
    assert_eq!(error["code"], "transient", "{error}");
    let message = error["message"].as_str().context("a message")?;
    ensure!(message.starts_with("the rates can't be read: No such file"), "{message}");
    fs::write(folder.path().join("rates.json"), r#"{"USD": 1.25}"#)?;
    let ended = web.ended(&id).await?;
    assert_eq!(ended["processingResults"], json!({"euros": 25.0}), "{ended}");
    let id = web.accepted(json!({"amount": "much", "currency": "USD"})).await?;
    let error = &web.ended(&id).await?["error"];
    assert_eq!(error["code"], "permanent", "{error}");
    ensure!(
        error["message"].to_string().contains("takes: amount: invalid type: string"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_stop_lets_the_job_finish_and_ends_the_own_program_with_0() -> Result<()> {
    let (stack, folder) = (Stack::fresh().await?, tempfile::tempdir()?);
    let rates = folder.path().join("rates.json");
    let made = std::process::Command::new("mkfifo").arg(&rates).status()?;
    ensure!(made.success(), "mkfifo: {made}");
    let (web, worker) = tokio::try_join!(stack.web(), started(&stack, &folder))?;
    let id = web.accepted(json!({"amount": 4, "currency": "CHF"})).await?;
    worker.wait_for_message(log_messages::STARTED).await?;
    worker.terminate();
    worker.wait_for_message(log_messages::STOPPING).await?;
    // The job waits for it.
    tokio::task::spawn_blocking(move || fs::write(rates, r#"{"CHF": 1.5}"#)).await??;
    let status = worker.wait_within(WAIT_TIMEOUT).await?;
    ensure!(status.success(), "{}", worker.error("did not stop cleanly"));
    let ended = web.ended(&id).await?;
    assert_eq!(ended["processingResults"], json!({"euros": 6.0}), "{ended}");
    assert_eq!(stack.foreign().await?.depth(REQUESTS).await?.messages, 0);
    Ok(())
}
