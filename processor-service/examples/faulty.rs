//! A processor whose work fails as its data tells it, for tests: `{"fail": 2}` fails twice and then goes well, `{"always":
//! "text"}` fails each time, `{"permanent": "text"}` for good, `{"retryAfter": "3s"}` once and asks for a pause, `{"sleep":
//! "2s"}` takes its time, `{"hang": true}` never ends, and `{"kill": true}` ends its process. What goes well gives its data back.

use std::{collections::HashMap, future::pending};

use anyhow::{Result, anyhow};
use pipeline::{config, config::Source, shutdown::Shutdown, telemetry};
use processor_service::{Config, Job, ProcessError, Processor};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, value::RawValue};
use tokio::time::sleep;

struct Faulty;

impl Processor for Faulty {
    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        let order: Value = serde_json::from_str(job.data.get()).unwrap_or_default();
        if order["kill"] == true {
            let _dead = kill_process(getpid(), Signal::KILL);
        }
        if order["hang"] == true {
            return pending().await;
        }
        if let Some(time) = order["sleep"].as_str().and_then(|text| config::duration(text).ok()) {
            sleep(time).await;
        }
        match fault(&order, job.attempt) {
            Some(error) => Err(error),
            None => Ok(job.data),
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
    if let Some(pause) = order["retryAfter"].as_str().and_then(|text| config::duration(text).ok()) {
        let error = ProcessError::transient("busy").after(pause);
        return (attempt == 1).then_some(error);
    }
    let fails = order["fail"].as_i64().unwrap_or(0) >= attempt;
    fails.then(|| ProcessError::transient("as ordered"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let source = Source::of_process(HashMap::new()).map_err(|problem| anyhow!(problem))?;
    let config = Config::read(&source)?;
    telemetry::start(&config.logging.filter, config.logging.format);
    processor_service::run(config, Faulty, Shutdown::on_signals()?).await
}
