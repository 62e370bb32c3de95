//! A processor of one's own, as small as it can be: every request gets its own data back, at once. `cargo xtask bench`
//! measures with it, since it adds no work.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use pipeline::{config::Source, shutdown::Shutdown, telemetry};
use processor_service::{Config, Job, ProcessError, Processor};
use serde_json::value::RawValue;

struct Echo;

impl Processor for Echo {
    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        Ok(job.data)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let source = Source::of_process(HashMap::new()).map_err(|problem| anyhow!(problem))?;
    let config = Config::read(&source)?;
    telemetry::start(&config.logging.filter, config.logging.format);
    processor_service::run(config, Echo, Shutdown::on_signals()?).await
}
