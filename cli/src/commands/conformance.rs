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

use pipeline::config::{BrokerConfig, ConfigError, Reader, Source};

use self::{report::Report, stage::Stage};
use super::interrupt::until_interrupted;
use crate::{
    arguments::{Conformance, Format},
    exit::{Exit, Failure},
    output,
};

/// Checks a worker, and ends with 1 if it breaks a rule.
pub(super) async fn run(conformance: Conformance, format: Format) -> Result<Exit, Failure> {
    let Conformance { refused, kind, timeout, command } = conformance;
    if let Some(refused) = &refused {
        let read = serde_json::from_str::<&serde_json::value::RawValue>(refused);
        read.map_err(|error| Failure::Usage(format!("--refused takes JSON: {error}")))?;
    }
    let broker = broker().map_err(|error| Failure::Usage(error.to_string()))?;
    let address = broker.addresses.first().ok_or_else(|| Failure::Usage("no broker".to_owned()))?;
    let mut exit = Exit::Other;
    let work = async {
        output::note(format!("checking `{}` at {address}", command.join(" ")));
        let mut stage = Stage::set_up(address, command, kind, timeout).await?;
        let mut report = Report::new(format);
        let checked = checks::run(&mut stage, refused.as_deref(), &mut report).await;
        stage.tear_down().await;
        exit = report.end(checked?)?;
        Ok(())
    };
    let has_ended = until_interrupted(work).await?;
    Ok(if has_ended { exit } else { Exit::NotInTime })
}

/// The broker from `AMQP_URL` or `CLOUDAMQP_URL`, as of the other programs.
fn broker() -> Result<BrokerConfig, ConfigError> {
    let source = Source::of_process(HashMap::new())?;
    let mut reader = Reader::new(&source);
    let broker = BrokerConfig::read(&mut reader);
    reader.finish()?;
    Ok(broker)
}
