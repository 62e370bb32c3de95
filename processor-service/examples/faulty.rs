//! A worker for tests that fails as its data says: `{"fail": 2}` fails twice and then succeeds, `{"always": "text"}` fails
//! in each attempt, `{"permanent": "text"}` for good, `{"retryAfter": "3s"}` once and asks for that delay, `{"progress":
//! [3, 8]}` reports that much, `{"sleep": "2s"}` takes that long, `{"until": "file"}` waits for that file, `{"hang": true}` never ends, `{"kill": true}` kills its
//! process, and `{"killAfter": "2s"}` does so after that time. The result is the data; of `{"endless": true}` it is longer than any
//! result may be.

use std::{future::pending, path::Path, process::ExitCode, time::Duration};

use pipeline::config;
use processor_service::{Job, ProcessError, Processor};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;
use tokio::time::sleep;

/// How often a file is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// What `RESULT_LIMIT` is at most.
const MAX_RESULT_BYTES: usize = 15 << 20;

struct Faulty;

impl Processor for Faulty {
    type Input = Value;
    type Output = Value;

    async fn process(&self, job: Job<Value>) -> Result<Value, ProcessError> {
        let order = job.input;
        if order["kill"] == true {
            let _dead = kill_process(getpid(), Signal::KILL);
        }
        if let Some((done, total)) = progress(&order) {
            job.reporter.progress((done, total), format!("page {done}"));
        }
        if order["hang"] == true {
            return pending().await;
        }
        if let Some(time) = duration(&order["sleep"]) {
            sleep(time).await;
        }
        if let Some(time) = duration(&order["killAfter"]) {
            sleep(time).await;
            let _dead = kill_process(getpid(), Signal::KILL);
        }
        if let Some(file) = order["until"].as_str() {
            while !Path::new(file).exists() {
                sleep(POLL_INTERVAL).await;
            }
        }
        if order["endless"] == true {
            return Ok("y".repeat(MAX_RESULT_BYTES).into());
        }
        match fault(&order, job.attempt) {
            Some(error) => Err(error),
            None => Ok(order),
        }
    }
}

fn fault(order: &Value, attempt: i64) -> Option<ProcessError> {
    if let Some(text) = order["permanent"].as_str() {
        return Some(ProcessError::permanent(text));
    }
    if let Some(text) = order["always"].as_str() {
        return Some(ProcessError::transient(format!("{text} {attempt}")));
    }
    if let Some(pause) = duration(&order["retryAfter"]) {
        let error = ProcessError::transient("busy").after(pause);
        return (attempt == 1).then_some(error);
    }
    let fails = order["fail"].as_i64().unwrap_or(0) >= attempt;
    fails.then(|| ProcessError::transient("as ordered"))
}

fn progress(order: &Value) -> Option<(u64, u64)> {
    Some((order["progress"][0].as_u64()?, order["progress"][1].as_u64()?))
}

fn duration(text: &Value) -> Option<Duration> {
    config::duration(text.as_str()?).ok()
}

fn main() -> ExitCode {
    processor_service::main(Faulty)
}
