//! Workers that share no code with Slowlane: the contract that they keep, and how it is checked.

mod slow;

use std::fs;

use anyhow::{Context, Result, ensure};
use pipeline::{
    contract::headers::{ATTEMPT, RUN, TRACEPARENT, TYPE},
    log_messages::STARTED,
};
use serde_json::Value;
use testbed::{
    Program, Signal, foreign::Properties, process::WAIT_TIMEOUT, shared_node, workspace,
};

use crate::support::{
    slowlane::{CliOutput, without_reader},
    stack::{REQUESTS, Stack},
    wait::holds,
};

/// `slowlane conformance` with these words, on a virtual host of its own.
pub(crate) async fn conformance(stack: &Stack, words: &[&str]) -> Result<CliOutput> {
    let program = stack.program("slowlane").arg("conformance");
    let program = words.iter().fold(program, |program, word| program.arg(*word));
    CliOutput::by(&program.start()?).await
}

/// What it has told as JSON, between what the worker has printed.
pub(crate) fn told(said: &CliOutput) -> Result<Value> {
    let line = said.text.lines().find(|line| line.starts_with("{\"conforms\""));
    Ok(serde_json::from_str(line.with_context(|| said.text.clone())?)?)
}

/// What was found out about a rule.
pub(crate) fn outcome<'a>(told: &'a Value, rule: &str) -> Result<&'a Value> {
    let rules = told["rules"].as_array().context("a list of rules")?;
    rules.iter().find(|line| line["rule"] == rule).with_context(|| format!("no {rule} in {told}"))
}

async fn unused() -> Stack {
    Stack { url: shared_node::vhost().await.url }
}

/// A processor whose work returns its data, and refuses `"refuse"`.
fn echo() -> Result<[String; 3]> {
    let script = "read -r data; [ \"$data\" = '\"refuse\"' ] && exit 65; printf %s \"$data\"";
    let set =
        format!("PROCESSOR_COMMAND={}", shlex_quoted(&format!("sh -c {}", shlex_quoted(script))));
    let program = workspace::binary("processor-service")?.display().to_string();
    Ok([
        format!("{set} PROCESSOR=command exec {}", shlex_quoted(&program)),
        "-c".into(),
        "sh".into(),
    ])
}

fn shlex_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[tokio::test]
async fn our_own_processor_keeps_the_contract_that_others_are_checked_against() -> Result<()> {
    keeps_the_contract(&unused().await, "default", REQUESTS).await
}

#[tokio::test]
async fn a_worker_of_a_type_is_checked_with_requests_of_that_type() -> Result<()> {
    keeps_the_contract(&unused().await, "video", "processing.requests.video").await
}

async fn keeps_the_contract(stack: &Stack, kind: &str, queue: &str) -> Result<()> {
    let [line, flag, shell] = echo()?;
    let options = ["--output", "json", "--type", kind, "--refused", "\"refuse\""];
    let words = [&options[..], &[&shell, &flag, &line]].concat();
    let said = conformance(stack, &words).await?;
    ensure!(said.code == Some(0), "{}", said.text);
    let told = told(&said)?;
    ensure!(told["conforms"] == true, "{told}");
    let rules = told["rules"].as_array().context("a list")?;
    ensure!(rules.iter().all(|rule| rule["outcome"] == "kept"), "{told}");
    ensure!(stack.foreign().await?.depth(queue).await?.messages == 0, "something is left");
    Ok(())
}

#[tokio::test]
async fn a_program_that_does_not_consume_is_told_so() -> Result<()> {
    let stack = unused().await;
    let said = conformance(&stack, &["--output", "json", "sh", "-c", "exit 3"]).await?;
    ensure!(said.code == Some(1), "{}", said.text);
    let told = told(&said)?;
    let consumes = outcome(&told, "consumes")?;
    ensure!(consumes["outcome"] == "broken", "{told}");
    ensure!(
        consumes["detail"].as_str().is_some_and(|seen| seen.contains("exit status: 3")),
        "{told}"
    );
    ensure!(outcome(&told, "redelivery")?["outcome"] == "not-checked", "{told}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_breaks_a_rule_is_reported_by_the_exit_code_also_where_nobody_reads_the_rules()
-> Result<()> {
    let stack = unused().await;
    for format in ["text", "json"] {
        let words = ["conformance", "--output", format, "sh", "-c", "exit 3"];
        let said = without_reader(&words, &[("AMQP_URL", &stack.url)]).await?;
        ensure!(said.code == Some(1), "{format}: {}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_virtual_host_that_is_in_use_is_left_alone() -> Result<()> {
    let stack = Stack::fresh().await?;
    let _web = stack.web().await?;
    let said = conformance(&stack, &["sh", "-c", "exit 3"]).await?;
    ensure!(said.code == Some(2) && said.text.contains("that nothing else uses"), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn a_virtual_host_where_requests_wait_for_their_next_attempt_is_left_alone() -> Result<()> {
    let stack = unused().await;
    let program = |name| stack.program(name).env("RETRY_DELAYS", "1m");
    program("setup").start()?.succeed_within(WAIT_TIMEOUT).await?;
    let (foreign, queue) = (stack.foreign().await?, "processing.retry.60000");
    foreign.publish(queue, "request", Properties::default(), b"{}").await?;
    holds(&foreign, queue, |messages| messages == 1).await?;
    let words = ["conformance", "sh", "-c", "exit 3"];
    let check = words.into_iter().fold(program("slowlane"), Program::arg).start()?;
    let said = CliOutput::by(&check).await?;
    ensure!(said.code == Some(2), "{}", said.text);
    ensure!(said.text.contains(&format!("{queue} has 1 messages")), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn an_interrupted_check_leaves_nothing_behind() -> Result<()> {
    leaves_nothing_behind_after(Signal::TERM).await
}

#[tokio::test]
async fn a_check_whose_terminal_closes_leaves_nothing_behind() -> Result<()> {
    leaves_nothing_behind_after(Signal::HUP).await
}

async fn leaves_nothing_behind_after(signal: Signal) -> Result<()> {
    let stack = unused().await;
    let program = workspace::binary("processor-service")?.display().to_string();
    let hanging = format!(
        "PROCESSOR=simulate PROCESSING_DELAY=1h JOB_TIMEOUT=2h ACK_TIMEOUT=3h exec {}",
        shlex_quoted(&program)
    );
    let checking = stack.program("slowlane").arg("conformance");
    let checking = ["sh", "-c", &hanging].into_iter().fold(checking, Program::arg).start()?;
    checking.wait_for_message(STARTED).await?;
    checking.signal(signal);
    let (status, text) = checking.ended().await?;
    ensure!(status.code() == Some(1) && text.contains("interrupted"), "{status}: {text}");
    let depth = stack.foreign().await?.depth(REQUESTS).await?;
    ensure!((depth.messages, depth.consumers) == (0, 0), "{text}");
    let next = conformance(&stack, &["sh", "-c", "exit 3"]).await?;
    ensure!(next.code == Some(1), "{}", next.text);
    Ok(())
}

#[test]
fn documents_and_examples_name_all_headers_that_a_worker_copies() -> Result<()> {
    for file in [
        "docs/workers.md",
        "docs/asyncapi.yaml",
        "examples/workers/python/worker.py",
        "examples/workers/node/worker.js",
        "examples/workers/rust/src/main.rs",
    ] {
        let text = fs::read_to_string(workspace::root().join(file))?;
        for name in [ATTEMPT, RUN, TYPE, TRACEPARENT] {
            ensure!(text.contains(name), "{file} does not name {name}");
        }
    }
    Ok(())
}

#[test]
fn the_rules_are_documented() -> Result<()> {
    let document = fs::read_to_string(workspace::root().join("docs/workers.md"))?;
    let rules =
        fs::read_to_string(workspace::root().join("cli/src/commands/conformance/rules.rs"))?;
    let names: Vec<_> =
        rules.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.contains(' ')).collect();
    ensure!(names.len() == 15, "{names:?}");
    for name in names {
        ensure!(
            document.contains(&format!("\n| {name} | ")),
            "docs/workers.md does not tell of {name}"
        );
    }
    Ok(())
}
