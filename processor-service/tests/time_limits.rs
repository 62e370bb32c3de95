//! Work that takes too long, or should end early: whatever it does, its worker goes on or the program ends.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use pipeline::{config::Source, contract::RequestId, shutdown::Shutdown, telemetry};
use processor_service::{
    Config, Job, ProcessError, Processor,
    jobs::{Jobs, Stop},
    outcome::Outcome,
};
use serde_json::value::RawValue;
use testbed::{
    foreign::{Foreign, Properties},
    process::Start,
    shared_node,
};
use tokio_util::sync::CancellationToken;

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Does what its data tells it.
#[derive(Clone, Default)]
struct Obedient {
    /// What it waits for if it is told to wait.
    event: CancellationToken,
    /// Whether a job was asked to end.
    asked: Arc<AtomicBool>,
}

impl Processor for Obedient {
    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        match job.data.get() {
            "\"hang\"" => tokio::time::sleep(AN_HOUR).await,
            "\"block\"" => std::thread::sleep(AN_HOUR),
            "\"spin\"" => {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(5) {}
            }
            "\"block when asked\"" => {
                job.stop.cancelled().await;
                self.asked.store(true, Ordering::SeqCst);
                std::thread::sleep(AN_HOUR);
            }
            "\"block after a moment\"" => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                std::thread::sleep(AN_HOUR);
            }
            "\"take a while\"" => tokio::time::sleep(Duration::from_millis(300)).await,
            "\"end when asked\"" => job.stop.cancelled().await,
            "\"wait if one was asked\"" if !self.asked.load(Ordering::SeqCst) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            "\"panic\"" => panic!("as ordered"),
            _ => self.event.cancelled().await,
        }
        Ok(job.data)
    }
}

fn config(values: &[(&str, &str)]) -> Config {
    Config::read(&Source::of(values)).expect("the settings are good")
}

fn jobs(limit: &str) -> Jobs<Obedient> {
    Jobs::new(Obedient::default(), &config(&[("WORKERS", "4"), ("JOB_TIMEOUT", limit)]))
        .expect("there are threads")
}

fn job(order: &str) -> Job {
    let json = |text: &str| RawValue::from_string(format!("\"{text}\"")).expect("it is JSON");
    Job {
        id: RequestId::parse(&json("me")).expect("it is an id"),
        data: json(order),
        attempt: 1,
        deadline: SystemTime::now(),
        stop: CancellationToken::new(),
    }
}

fn is_timeout(outcome: &Outcome) -> bool {
    let Outcome::Retry(error, None) = outcome else { return false };
    error.code == "timeout" && error.message.contains("200ms (JOB_TIMEOUT)")
}

#[tokio::test]
async fn work_that_takes_too_long_is_asked_to_end_and_then_dropped() {
    let jobs = jobs("200ms");
    let (hang, ask) = (job("hang"), job("end when asked"));
    let stopped = hang.stop.clone();
    let (hang, ask) = tokio::join!(jobs.run(hang, pending()), jobs.run(ask, pending()));
    assert!(is_timeout(&hang) && stopped.is_cancelled(), "{hang:?}");
    // The result of work that was asked to end may be half of one.
    assert!(is_timeout(&ask), "{ask:?}");
    assert!(!jobs.stuck().is_cancelled(), "nothing is left of them");
}

#[tokio::test]
async fn work_that_blocks_all_threads_is_timed_out_all_the_same() {
    let jobs = jobs("200ms");
    let orders = ["block", "block", "block", "spin", "block after a moment"];
    let ended = orders.map(|order| jobs.run(job(order), pending()));
    for outcome in futures_util::future::join_all(ended).await {
        assert!(is_timeout(&outcome), "{outcome:?}");
    }
    assert!(jobs.stuck().is_cancelled());
}

#[tokio::test]
async fn work_that_blocks_its_thread_does_not_hold_up_other_work() {
    let jobs = jobs("25m");
    let (gone, stop) = (CancellationToken::new(), job("block after a moment"));
    let blocking = jobs.run(stop, async {
        gone.cancelled().await;
        Stop::Interrupted
    });
    let others = async {
        // Its time comes when nobody looks at clocks any more, but for a nudge.
        jobs.run(job("take a while"), pending()).await;
        gone.cancel();
    };
    let (blocking, ()) = tokio::join!(blocking, others);
    assert!(matches!(blocking, Outcome::Interrupted));
    assert!(!jobs.stuck().is_cancelled(), "the program is ending anyway");
}

#[tokio::test]
async fn a_job_that_cannot_be_ended_asks_for_the_end_of_the_program() {
    let work = Obedient::default();
    let jobs = Jobs::new(work.clone(), &config(&[("WORKERS", "2")])).unwrap();
    let other = jobs.run(job("wait"), pending());
    let blocking = jobs.run(job("block"), ready(Stop::Cancelled));
    let stuck = async {
        jobs.stuck().cancelled().await;
        work.event.cancel();
    };
    let (other, blocking, ()) = tokio::join!(other, blocking, stuck);
    assert!(matches!(other, Outcome::Done(_)) && matches!(blocking, Outcome::Cancelled));
}

#[tokio::test]
async fn what_stops_a_job_is_what_comes_of_it() {
    let jobs = jobs("25m");
    for order in ["hang", "end when asked"] {
        let cancelled = jobs.run(job(order), ready(Stop::Cancelled)).await;
        assert!(matches!(cancelled, Outcome::Cancelled), "{order}: {cancelled:?}");
        let began = Instant::now();
        let interrupted = jobs.run(job(order), ready(Stop::Interrupted)).await;
        assert!(matches!(interrupted, Outcome::Interrupted), "{order}: {interrupted:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "it fits into the last words");
    }
    let Outcome::Failed(error) = jobs.run(job("panic"), pending()).await else { panic!("panics") };
    assert_eq!(error.code, "permanent");
}

#[tokio::test]
async fn a_program_that_gives_a_job_up_finishes_the_others_and_ends_with_1() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let program = Start::new(std::env::current_exe()?, std::env::temp_dir());
    let program = program.args(["--exact", "a_program_of_its_own", "--nocapture", &vhost.url]);
    let program = program.spawn()?;
    let foreign = Foreign::connect(&vhost.url).await?;
    program.wait_for_message(log_messages::CONSUMING).await?;
    publish(&foreign, "block when asked").await?;
    // One after the other, until one of them is in hand when the program has to end.
    for _ in 0..300 {
        publish(&foreign, "wait if one was asked").await?;
    }
    let (status, text) = program.ended().await?;
    ensure!(status.code() == Some(1), "{status}: {text}");
    ensure!(text.contains("a job that blocks its thread was given up"), "{text}");
    let mut results = foreign.consume("processing.results", 1000).await?;
    let (mut waited, mut timeouts) = (0, 0);
    for _ in 0..foreign_results(&text) {
        let result = results.next().await?.json()?;
        waited += usize::from(result["processingResults"] == "wait if one was asked");
        timeouts += usize::from(result["error"]["code"] == "timeout");
    }
    assert_eq!(timeouts, 1, "{text}");
    let started = text.matches("\"message\":\"started\"").count();
    assert_eq!(started, waited + 1, "all others that were in hand were finished: {text}");
    Ok(())
}

/// How many jobs came to an end.
fn foreign_results(text: &str) -> usize {
    ["finished", "failed"]
        .map(|end| text.matches(&format!("\"message\":\"{end}\"")).count())
        .iter()
        .sum()
}

async fn publish(foreign: &Foreign, order: &str) -> Result<()> {
    let body = format!("{{\"requestId\":1,\"requestData\":\"{order}\"}}");
    foreign.publish("processing", "request", Properties::default(), body.as_bytes()).await
}

/// What the test above starts: a processor as users write it. Without a broker's URL it is none.
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
    let config = config(&settings);
    telemetry::start(&config.logging.filter, config.logging.format);
    let shutdown = Shutdown::default();
    let work = Obedient { event: shutdown.drain.clone(), ..Obedient::default() };
    let running =
        tokio::runtime::Runtime::new()?.block_on(processor_service::run(config, work, shutdown));
    let error = running.err().context("it should end with an error")?;
    tracing::error!("ended: {error:#}");
    std::process::exit(1)
}
