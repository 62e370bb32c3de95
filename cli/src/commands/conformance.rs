//! `slowlane conformance`: runs a worker against the contract, and says which rules it keeps.
//!
//! The worker connects through a proxy, which sees what it does, and keeps confirms back to see whether it waits for them.

mod checks;
mod frames;
mod report;
mod rules;
mod stage;
mod tap;
mod trace;
mod worker;

use std::collections::HashMap;

use pipeline::{
    config::{self, BrokerConfig, ConfigError, Reader, Source, variables},
    topology::RetryDelays,
};

use self::{report::Report, stage::Stage};
use super::interrupt::{until_interrupted, until_interrupted_again};
use crate::{
    arguments::{Conformance, Format},
    exit::{Exit, Failure},
    output,
};

/// Checks a worker, and ends with 1 if it breaks a rule, or if a signal interrupts the check.
pub(super) async fn run(conformance: Conformance, format: Format) -> Result<Exit, Failure> {
    let Conformance { refused, kind, timeout, command } = conformance;
    if let Some(refused) = &refused {
        let read = serde_json::from_str::<&serde_json::value::RawValue>(refused);
        read.map_err(|error| Failure::Usage(format!("--refused takes JSON: {error}")))?;
    }
    let (broker, delays) = settings().map_err(|error| Failure::Usage(error.to_string()))?;
    let address = broker.addresses.first().ok_or_else(|| Failure::Usage("no broker".to_owned()))?;
    output::note(format!("checking `{}` at {address}", command.join(" ")));
    let (mut stage, mut report, mut unchecked) = (None, Report::new(format), "");
    let checking = async {
        let stage = stage.insert(Stage::set_up(address, command, kind, &delays, timeout).await?);
        unchecked = checks::run(stage, refused.as_deref(), &mut report).await?;
        Ok(())
    };
    let has_ended = until_interrupted(checking).await;
    if let Ok(false) = has_ended {
        output::note("interrupted, clearing the queue of requests; once more leaves what is there");
    }
    if let Some(stage) = stage {
        tear_down(stage).await?;
    }
    if has_ended? { report.end(unchecked) } else { Ok(Exit::Other) }
}

/// Takes back what the check has published, or a later one would find it; unless there is another signal meanwhile.
async fn tear_down(stage: Stage) -> Result<(), Failure> {
    let clearing = async {
        stage.tear_down().await;
        Ok(())
    };
    until_interrupted_again(clearing).await.map(drop)
}

/// The broker from `AMQP_URL` or `CLOUDAMQP_URL`, and `RETRY_DELAYS`, as of the other programs.
fn settings() -> Result<(BrokerConfig, RetryDelays), ConfigError> {
    let source = Source::of_process(HashMap::new())?;
    let mut reader = Reader::new(&source);
    let broker = BrokerConfig::read(&mut reader);
    let delays = reader.read(&variables::RETRY_DELAYS, config::retry_delays);
    reader.finish()?;
    Ok((broker, delays))
}
