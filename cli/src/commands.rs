//! The commands of `slowlane`, one file each, and what several of them share.

pub(crate) mod completions;

mod bulk;
mod callbacks;
mod cancel;
mod conformance;
mod doctor;
mod failed;
mod get;
mod list;
mod replay;
mod retry_now;
mod status;
mod submit;
mod verify;
mod wait;
mod watch;
mod why;

mod connect;
mod follow;
mod interrupt;
mod request_data;
mod request_id;
mod request_text;
mod table;

use self::{
    connect::{LONG_RETRY, READ_RETRY, WRITE_RETRY, client},
    request_id::parse,
};
use crate::{
    arguments::{Callbacks, Command},
    exit::{Exit, Failure},
    settings::Settings,
};

/// Runs a command.
pub(crate) async fn run(command: Command, settings: Settings) -> Result<Exit, Failure> {
    let format = settings.format;
    match command {
        Command::Submit(submit) => {
            submit::run(&client(settings, WRITE_RETRY)?, submit, format).await
        }
        Command::Get { id, data: true, .. } => {
            get::data(&client(settings, READ_RETRY)?, parse(&id)?).await
        }
        Command::Get { id, attempts: true, .. } => {
            get::attempts(&client(settings, READ_RETRY)?, parse(&id)?, format).await
        }
        Command::Get { id, .. } => {
            get::run(&client(settings, READ_RETRY)?, parse(&id)?, format).await
        }
        Command::Why { id } => why::run(&client(settings, READ_RETRY)?, parse(&id)?, format).await,
        Command::Wait { id, timeout } => {
            wait::run(&client(settings, LONG_RETRY)?, parse(&id)?, timeout, format).await
        }
        Command::List(list) => list::run(&client(settings, READ_RETRY)?, list, format).await,
        Command::Watch { id } => {
            watch::run(&client(settings, LONG_RETRY)?, parse(&id)?, format).await
        }
        Command::Status { watch } => {
            let retry = if watch { LONG_RETRY } else { READ_RETRY };
            status::run(&client(settings, retry)?, watch, format).await
        }
        Command::Doctor => doctor::run(&client(settings, READ_RETRY)?, format).await,
        Command::Verify { mend } => {
            verify::run(&client(settings, WRITE_RETRY)?, mend, format).await
        }
        Command::Conformance(conformance) => conformance::run(conformance, format).await,
        Command::Bulk(bulk) => bulk::run(settings, bulk).await,
        Command::Callbacks { command: Callbacks::Retry { id } } => {
            callbacks::retry(&client(settings, READ_RETRY)?, parse(&id)?).await
        }
        Command::Cancel { id } => {
            cancel::run(&client(settings, WRITE_RETRY)?, parse(&id)?, format).await
        }
        Command::Replay { id, wait } => {
            replay::run(&client(settings, WRITE_RETRY)?, id, wait, format).await
        }
        Command::RetryNow { id, wait } => {
            retry_now::run(&client(settings, WRITE_RETRY)?, id, wait, format).await
        }
        Command::Failed { command } => failed::run(command, settings).await,
        Command::Completions { shell } => completions::run(shell),
    }
}
