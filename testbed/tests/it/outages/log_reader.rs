//! Standard error is a pipe whose reader has stopped.

use std::{
    io::{BufRead, BufReader, PipeReader},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::LISTENING;
use testbed::{Program, http, process::json_message};

use crate::support::stack::{Stack, Web};

/// Enough that their log lines fill a pipe of 64 KiB several times.
const REQUESTS: usize = 1000;

#[tokio::test]
async fn a_log_reader_that_stops_holds_up_neither_results_nor_a_stop() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _unread_log) = web_with_unread_log(stack.program("web-service")).await?;
    let (_unread, pipe) = std::io::pipe()?;
    let processor = stack.program("processor-service").env("WORKERS", "4");
    let processor = processor.env("PROCESSING_DELAY", "0").stderr(pipe).start()?;
    web.ready().await?;
    for n in 0..REQUESTS {
        web.accepted(n.into()).await?;
    }
    web.has_nothing_queued().await?;
    let id = web.accepted("the last".into()).await?;
    assert_eq!(web.ended(&id).await?["status"], "completed");
    assert_eq!(web.delete(&id).await?.0, 409);
    assert_eq!(web.get("/health/live").await?.status(), 200);
    for program in [&processor, &web.program] {
        let began = Instant::now();
        program.terminate();
        let status = program.wait().await?;
        ensure!(status.success(), "{} ended with {status}", program.name());
        ensure!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    }
    Ok(())
}

/// A web service whose log is read until it listens, and then no more. The log must stay open.
async fn web_with_unread_log(program: Program) -> Result<(Web, PipeReader)> {
    let (log, pipe) = std::io::pipe()?;
    let program = program.env("HTTP_ADDR", "127.0.0.1:0").stderr(pipe).start()?;
    let reading = tokio::task::spawn_blocking(move || -> Result<_> {
        let mut log = BufReader::new(log);
        loop {
            let mut line = String::new();
            ensure!(log.read_line(&mut line)? > 0, "the log ended");
            if let Some(listening) = json_message(&line, LISTENING) {
                return Ok((listening, log.into_inner()));
            }
        }
    });
    let (listening, log) = reading.await??;
    let base = format!("http://{}", listening["address"].as_str().context("an address")?);
    let client = http::builder().timeout(testbed::process::WAIT_TIMEOUT).build()?;
    Ok((Web { program, base, client }, log))
}
