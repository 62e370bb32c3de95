//! Jobs that take too long or are to stop early: whatever they do, the runner returns in time.

use std::{
    future::{pending, ready},
    time::Instant,
};

use serde_json::value::to_raw_value;

use super::*;
use crate::processor::by_type::Processors;

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Does what its data says.
#[derive(Clone, Default)]
struct Obedient {
    /// What a job waits for that is told to wait.
    event: CancellationToken,
}

impl Processor for Obedient {
    type Input = String;
    type Output = String;

    async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
        match job.input.as_str() {
            "hang" => sleep(AN_HOUR).await,
            "block" => std::thread::sleep(AN_HOUR),
            "spin" => {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(5) {}
            }
            "block after a moment" => {
                sleep(Duration::from_millis(50)).await;
                std::thread::sleep(AN_HOUR);
            }
            "take a while" => sleep(Duration::from_millis(300)).await,
            "end when asked" => job.stop.cancelled().await,
            "panic" => panic!("as ordered"),
            "panic for good" => std::panic::panic_any(ProcessError::permanent("no such page")),
            "fail" => Err(std::io::Error::from(std::io::ErrorKind::TimedOut))?,
            "wait" => self.event.cancelled().await,
            _ => {}
        }
        Ok(job.input)
    }
}

fn runner(job_timeout: Duration) -> JobRunner<Obedient> {
    JobRunner::new(Obedient::default(), 4, job_timeout).expect("there are threads")
}

fn job(order: &str) -> Job {
    Job::new("me", to_raw_value(order).expect("it is JSON"))
}

fn is_timeout(outcome: &JobOutcome) -> bool {
    let JobOutcome::Retry(error, None) = outcome else { return false };
    error.code == "timeout" && error.message.contains("200ms (JOB_TIMEOUT)")
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_asked_to_stop_and_then_dropped() {
    let runner = runner(Duration::from_millis(200));
    let (hang, ask) = (job("hang"), job("end when asked"));
    let stopped = hang.stop.clone();
    let (hang, ask) = tokio::join!(runner.run(hang, pending()), runner.run(ask, pending()));
    assert!(is_timeout(&hang) && stopped.is_cancelled(), "{hang:?}");
    // The result of a job that was asked to stop may be half of one.
    assert!(is_timeout(&ask), "{ask:?}");
    assert!(!runner.stuck().is_cancelled(), "both are gone");
}

#[tokio::test]
async fn jobs_that_block_all_threads_are_timed_out_all_the_same() {
    let runner = runner(Duration::from_millis(200));
    let orders = ["block", "block", "block", "spin", "block after a moment"];
    let ended = orders.map(|order| runner.run(job(order), pending()));
    for outcome in futures_util::future::join_all(ended).await {
        assert!(is_timeout(&outcome), "{outcome:?}");
    }
    assert!(runner.stuck().is_cancelled());
}

#[tokio::test]
async fn a_job_that_blocks_its_thread_does_not_delay_other_jobs() {
    let runner = runner(AN_HOUR);
    let (other_ended, job_that_blocks) = (CancellationToken::new(), job("block after a moment"));
    let blocking = runner.run(job_that_blocks, async {
        other_ended.cancelled().await;
        StopReason::Interrupted
    });
    let other = async {
        // Its timer fires when no thread looks at timers any more, unless the runtime is kept awake.
        runner.run(job("take a while"), pending()).await;
        other_ended.cancel();
    };
    let (blocking, ()) = tokio::join!(blocking, other);
    assert!(matches!(blocking, JobOutcome::Interrupted));
    assert!(!runner.stuck().is_cancelled(), "the program is ending anyway");
}

#[tokio::test]
async fn a_job_that_cannot_be_stopped_asks_for_the_end_of_the_program() {
    let processor = Obedient::default();
    let runner = JobRunner::new(processor.clone(), 2, AN_HOUR).unwrap();
    let other = runner.run(job("wait"), pending());
    let blocking = runner.run(job("block"), ready(StopReason::Cancelled));
    let stuck = async {
        runner.stuck().cancelled().await;
        processor.event.cancel();
    };
    let (other, blocking, ()) = tokio::join!(other, blocking, stuck);
    assert!(matches!(other, JobOutcome::Completed(_)), "{other:?}");
    assert!(matches!(blocking, JobOutcome::Cancelled), "{blocking:?}");
}

#[tokio::test]
async fn the_reason_to_stop_is_the_outcome() {
    let runner = runner(AN_HOUR);
    for order in ["hang", "end when asked"] {
        let cancelled = runner.run(job(order), ready(StopReason::Cancelled)).await;
        assert!(matches!(cancelled, JobOutcome::Cancelled), "{order}: {cancelled:?}");
        let began = Instant::now();
        let interrupted = runner.run(job(order), ready(StopReason::Interrupted)).await;
        assert!(matches!(interrupted, JobOutcome::Interrupted), "{order}: {interrupted:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "it fits into WORKER_STOP_TIMEOUT");
    }
}

#[tokio::test]
async fn a_panic_may_pass_unless_the_work_decides_and_an_error_is_what_it_was_made_of() {
    let runner = runner(AN_HOUR);
    let panicked = runner.run(job("panic"), pending()).await;
    let JobOutcome::Retry(error, None) = panicked else { panic!("{panicked:?}") };
    assert_eq!(error.message, "the processor panicked: as ordered");
    let decided = runner.run(job("panic for good"), pending()).await;
    assert!(matches!(&decided, JobOutcome::Failed(error) if error.message == "no such page"));
    let failed = runner.run(job("fail"), pending()).await;
    assert!(matches!(failed, JobOutcome::Retry(_, None)), "{failed:?}");
}

#[tokio::test]
async fn data_of_the_wrong_type_fails_before_the_job_is_called() {
    let number = Job::new("me", to_raw_value(&1).expect("it is JSON"));
    let outcome = runner(AN_HOUR).run(number, pending()).await;
    let JobOutcome::Failed(error) = outcome else { panic!("{outcome:?}") };
    assert!(error.message.contains("expected a string"), "{}", error.message);
}

#[test]
fn a_type_without_a_processor_is_named_with_those_that_there_are() {
    let processors = Processors::new()
        .with("thumbnail", Obedient::default())
        .with("default", Obedient::default());
    let of = |names: &str| {
        let types = names.split(',').map(|name| name.parse().expect("a type"));
        RequestTypes::new(types).expect("some types")
    };
    let several = JobRunner::new(processors, 1, AN_HOUR).expect("there are threads");
    assert!(several.check_types(&of("default")).is_ok());
    assert!(several.check_types(&of("thumbnail,default")).is_ok());
    let error = several.check_types(&of("default,video,audio")).unwrap_err().to_string();
    let expected = "TYPES=default,video,audio: this program has no processor for video, audio, it has processors for thumbnail, default";
    assert!(error.contains(expected), "{error}");
    assert!(runner(AN_HOUR).check_types(&of("video")).is_ok(), "it takes all types");
}
