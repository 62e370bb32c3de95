//! What comes of a command. One file each.

pub(crate) mod completions;

mod bulk;
mod callbacks;
mod cancel;
mod failed;
mod get;
mod list;
mod replay;
mod submit;
mod table;
mod wait;
mod watch;

use std::time::Duration;

use uuid::Uuid;

use crate::{
    api::{CallError, Client},
    arguments::{Callbacks, Command, Settings},
    exit::{Exit, Failure},
    patience::Notes,
};

/// How long a command tries again that somebody waits for.
const LOOKS: Duration = Duration::from_secs(5);
/// How long data is tried to be sent.
const SENDS: Duration = Duration::from_secs(30);
/// How long a command tries again that is there to last.
const LASTS: Duration = Duration::from_secs(300);

/// Runs a command.
pub(crate) async fn run(command: Command, settings: Settings) -> Result<Exit, Failure> {
    let format = settings.format;
    match command {
        Command::Submit(submit) => submit::run(&client(settings, SENDS)?, submit, format).await,
        Command::Get { id } => get::run(&client(settings, LOOKS)?, parse(&id)?, format).await,
        Command::Wait { id, timeout } => {
            wait::run(&client(settings, LASTS)?, parse(&id)?, timeout, format).await
        }
        Command::List(list) => list::run(&client(settings, LOOKS)?, list, format).await,
        Command::Watch { id } => watch::run(&client(settings, LASTS)?, parse(&id)?, format).await,
        Command::Bulk(bulk) => bulk::run(settings, bulk).await,
        Command::Callbacks { command: Callbacks::Retry { id } } => {
            callbacks::retry(&client(settings, LOOKS)?, parse(&id)?).await
        }
        Command::Cancel { id } => cancel::run(&client(settings, SENDS)?, parse(&id)?, format).await,
        Command::Replay { id, wait } => {
            replay::run(&client(settings, SENDS)?, id, wait, format).await
        }
        Command::Failed { command } => failed::run(command, settings).await,
        Command::Completions { shell } => completions::run(shell),
    }
}

fn client(settings: Settings, usual: Duration) -> Result<Client, Failure> {
    let retry_for = settings.retry_for.unwrap_or(usual);
    Ok(Client::new(settings.url, retry_for, Notes::default())?)
}

/// No request has another id.
fn parse(id: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(id).map_err(|_| {
        let text = format!("there is no request {id:?}: an id is a UUID, as submit prints it");
        CallError::Missing(text).into()
    })
}
