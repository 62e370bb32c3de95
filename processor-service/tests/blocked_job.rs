//! A program whose job blocks its thread: it finishes the other jobs and ends with exit code 1.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use pipeline::{
    log_messages::{CONSUMING, FAILED, FINISHED, STARTED},
    stderr, telemetry,
};
use processor_service::{Config, Job, ProcessError, Processor, Shutdown, Source};
use testbed::{
    foreign::{Foreign, Properties},
    process::Start,
    shared_node,
};
use tokio_util::sync::CancellationToken;

/// Does what its data says.
struct Obedient {
    /// What a job waits for that is told to wait.
    event: CancellationToken,
    /// Whether a job was asked to stop.
    asked: AtomicBool,
}

impl Processor for Obedient {
    type Input = String;
    type Output = String;

    async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
        let asked = self.asked.load(Ordering::SeqCst);
        match job.input.as_str() {
            "block when asked" => {
                job.stop.cancelled().await;
                self.asked.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_secs(3600));
            }
            "wait if one was asked" if asked => self.event.cancelled().await,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        Ok(job.input)
    }
}

#[tokio::test]
async fn a_program_with_a_blocked_job_finishes_the_others_and_ends_with_1() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let program = Start::new(std::env::current_exe()?, std::env::temp_dir());
    let program = program.args(["--exact", "a_program_of_its_own", "--nocapture", &vhost.url]);
    let program = program.spawn()?;
    let foreign = Foreign::connect(&vhost.url).await?;
    program.wait_for_message(CONSUMING).await?;
    publish(&foreign, "block when asked").await?;
    // One after the other, so that one of them is in flight when the program has to end.
    for _ in 0..300 {
        publish(&foreign, "wait if one was asked").await?;
    }
    let (status, text) = program.ended().await?;
    ensure!(status.code() == Some(1), "{status}: {text}");
    ensure!(text.contains("a job that blocks its thread was abandoned"), "{text}");
    let mut results = foreign.consume("processing.results", 1000).await?;
    let (mut waited, mut timeouts) = (0, 0);
    for _ in 0..count(&text, FINISHED) + count(&text, FAILED) {
        let result = results.next().await?.json()?;
        waited += usize::from(result["processingResults"] == "wait if one was asked");
        timeouts += usize::from(result["error"]["code"] == "timeout");
    }
    assert_eq!(timeouts, 1, "{text}");
    assert_eq!(count(&text, STARTED), waited + 1, "all others in flight were finished: {text}");
    Ok(())
}

/// How many lines of a log have this message.
fn count(text: &str, message: &str) -> usize {
    text.matches(&format!("\"message\":\"{message}\"")).count()
}

async fn publish(foreign: &Foreign, order: &str) -> Result<()> {
    let body = format!("{{\"requestId\":1,\"requestData\":\"{order}\"}}");
    foreign.publish("processing", "request", Properties::default(), body.as_bytes()).await
}

/// What the test above starts: a worker program. Without the URL of a broker it does nothing.
#[test]
fn a_program_of_its_own() -> Result<()> {
    let Some(url) = std::env::args().find(|argument| argument.starts_with("amqp://")) else {
        return Ok(());
    };
    let settings = [
        ("AMQP_URL", url.as_str()),
        ("WORKERS", "2"),
        ("JOB_TIMEOUT", "5s"),
        ("MAX_ATTEMPTS", "1"),
        ("LOG_FORMAT", "json"),
    ];
    let config = Config::read(&Source::of(&settings))?;
    telemetry::start(&config.logging.filter, config.logging.format);
    let shutdown = Shutdown::default();
    let work = Obedient { event: shutdown.drain.clone(), asked: AtomicBool::default() };
    let running =
        tokio::runtime::Runtime::new()?.block_on(processor_service::run(config, work, shutdown));
    let error = running.err().context("it should end with an error")?;
    tracing::error!("ended: {error:#}");
    stderr::flush();
    std::process::exit(1)
}
