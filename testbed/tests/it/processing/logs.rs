//! The log as people read it.

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::{
    ACCEPTED, ACCEPTED_BATCH, DECLARED_MISSING, LISTENING, STARTED, STOPPING,
};
use serde_json::{Value, json};
use testbed::{Program, Signal, process::json_message, shared_node};

use crate::support::{stack::Stack, wait::settles};

/// What fits into a line of a terminal of usual width.
const MAX_COLUMNS: usize = 140;

/// A program with the log for people.
fn with_text_log(program: Program) -> Program {
    program.env("LOG_FORMAT", "text")
}

#[tokio::test]
async fn the_lines_of_a_request_are_short_and_have_its_id_once() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = with_text_log(stack.program("web-service")).env("HTTP_ADDR", "127.0.0.1:0");
    let (web, processor) = (web.start()?, with_text_log(stack.faulty(1)).start()?);
    let url = |line: &str| Some(line.split_once(" url=")?.1.split(' ').next()?.to_owned());
    let base = web.wait_for("its URL", url).await?;
    let client = testbed::http::builder().build()?;
    settles("it is ready", async || {
        Ok(client.get(format!("{base}/health/ready")).send().await?.status() == 200)
    })
    .await?;
    for (data, phrases) in [
        (json!("a"), ["accepted", "started", "finished", "result"]),
        (json!({"fail": 1}), ["accepted", "started", "failed", "retry scheduled"]),
    ] {
        let post = client.post(format!("{base}/api/v1/processData"));
        let answer: Value = post.json(&json!({ "data": data })).send().await?.json().await?;
        let id = answer["requestId"].as_str().context("an id")?;
        web.wait_for_text(&format!(" result {id} ")).await?;
        let lines: Vec<_> = web.lines().into_iter().chain(processor.lines()).collect();
        for phrase in phrases {
            let begin = format!(" {phrase} {id}");
            let line = lines.iter().find(|line| line.contains(&begin));
            let line = line.with_context(|| format!("no {begin:?} in {lines:#?}"))?;
            let columns = line.chars().count();
            ensure!(columns <= MAX_COLUMNS && line.matches(id).count() == 1, "{columns}: {line}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_first_line_of_a_web_service_is_where_it_is_found() -> Result<()> {
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    let program = Program::new("web-service").env("AMQP_URL", nobody).env("LOG_FORMAT", "json");
    let web = program.env("HTTP_ADDR", "127.0.0.1:0").start()?;
    let listening = web.wait_for_message(LISTENING).await?;
    let url = format!("http://{}", listening["address"].as_str().context("an address")?);
    assert_eq!(listening["url"], url.as_str());
    assert_eq!(listening["docs"], format!("{url}/docs"));
    let first = web.lines().into_iter().next().context("a line")?;
    ensure!(json_message(&first, LISTENING).is_some(), "{first}");
    // The address is that of the page.
    let page = testbed::http::builder().build()?.get(&url).send().await?;
    assert_eq!((page.status().as_u16(), page.url().path()), (200, "/"));
    Ok(())
}

#[tokio::test]
async fn an_accepted_request_and_an_accepted_batch_are_one_line_each() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted("a".into()).await?;
    let accepted = web.program.wait_for_message(ACCEPTED).await?;
    assert_eq!((&accepted["level"], &accepted["requestId"]), (&json!("INFO"), &json!(id)));
    let batch = web.client.post(format!("{}/api/v1/processData/batch", web.base));
    let batch = batch.header("content-type", "application/x-ndjson");
    batch.body("{\"data\":1}\n{\"data\":2}\nnonsense\n").send().await?;
    let accepted = web.program.wait_for_message(ACCEPTED_BATCH).await?;
    assert_eq!((&accepted["requests"], &accepted["rejected"]), (&json!(2), &json!(1)));
    let lines = web.program.lines();
    let single = lines.iter().filter(|line| json_message(line, ACCEPTED).is_some()).count();
    assert_eq!(single, 1, "{lines:#?}");
    Ok(())
}

#[tokio::test]
async fn what_was_missing_is_declared_in_one_line() -> Result<()> {
    let stack = Stack { url: shared_node::vhost().await.url };
    let web = stack.web().await?;
    let lines = web.program.lines();
    let declared: Vec<_> =
        lines.iter().filter_map(|line| json_message(line, DECLARED_MISSING)).collect();
    ensure!(declared.len() == 1 && declared[0]["queues"].as_u64() > Some(1), "{declared:#?}");
    Ok(())
}

#[tokio::test]
async fn a_command_is_named_with_its_arguments() -> Result<()> {
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    let program = Program::new("processor-service").env("AMQP_URL", nobody);
    let program = program.env("PROCESSOR", "command").env("LOG_FORMAT", "json");
    let command = "sh work.sh --fast --api-key s3cret";
    let processor = program.env("PROCESSOR_COMMAND", command).start()?;
    processor.wait_for_text("\"command\":\"sh work.sh --fast --api-key ...\"").await?;
    Ok(())
}

#[tokio::test]
async fn a_stop_says_what_is_finished_first_and_how_to_hurry() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.processor(2, "1h"))?;
    for n in 1..=2 {
        web.accepted(n.into()).await?;
    }
    let mut started = 0;
    let both = |line: &str| {
        started += usize::from(json_message(line, STARTED).is_some());
        (started == 2).then_some(())
    };
    processor.wait_for("both requests", both).await?;
    processor.signal(Signal::INT);
    let said = "finishing 2 requests, up to 25s; press again to hand them back now";
    processor.wait_for_text(said).await?;
    processor.signal(Signal::INT);
    ensure!(processor.ended().await?.0.success());
    web.program.terminate();
    web.program.wait_for_message(STOPPING).await?;
    web.program.wait_for_text("up to 25s; send SIGTERM again to stop now").await?;
    Ok(())
}
