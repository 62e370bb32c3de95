//! `slowlane failed`: what has failed is for people, who look at it, have it done again, or let go of it.
//!
//! [`choose`] finds what is meant, page by page; [`mod@print`] shows it; [`many`] does something about all of it.

mod choose;
mod list;
mod many;
mod print;
mod show;

use uuid::Uuid;

use self::{
    choose::{chosen, messages},
    many::Deed,
};
use super::{LASTS, client};
use crate::{
    api::CallError,
    arguments::{Choice, Failed, Settings},
    exit::{Exit, Failure},
};

/// One of those that something is done about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A request that has come to this run.
    Request(Uuid, u64),
    /// A message that belongs to no request.
    Message(i64),
}

/// Runs one of the commands.
pub(super) async fn run(command: Failed, settings: Settings) -> Result<Exit, Failure> {
    let format = settings.format;
    match command {
        Failed::List(list) => list::run(&client(settings, LASTS)?, &list, format).await,
        Failed::Show { which } => show::run(&client(settings, LASTS)?, &which, format).await,
        Failed::Replay(choice) => {
            let numbers = choice.ids.iter().any(|id| number(id).is_some());
            if numbers {
                let text = "a message that belongs to no request can't be done again";
                return Err(Failure::Usage(text.to_owned()));
            }
            check(&choice)?;
            let all = chosen(&client(settings.clone(), LASTS)?, &choice).await?;
            many::run(settings, Deed::Replay, all, &choice).await
        }
        Failed::Discard { choice, messages: true } => {
            let all = messages(&client(settings.clone(), LASTS)?, &choice.filters).await?;
            many::run(settings, Deed::Discard, all, &choice).await
        }
        Failed::Discard { choice, messages: false } => {
            check(&choice)?;
            let all = chosen(&client(settings.clone(), LASTS)?, &choice).await?;
            many::run(settings, Deed::Discard, all, &choice).await
        }
    }
}

/// Nothing is done about all of them unless that was said.
fn check(choice: &Choice) -> Result<(), Failure> {
    if choice.ids.is_empty() && !choice.all && !choice.filters.any() {
        let text = "which? Give ids, or --type, --code, --since, --before, or --all";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(())
}

/// The number of a message, if it is one: no id of a request is short.
fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| *number > 0)
}

/// The request or message of this name.
fn target(text: &str) -> Result<Result<Uuid, i64>, CallError> {
    if let Some(number) = number(text) {
        return Ok(Err(number));
    }
    Uuid::try_parse(text).map(Ok).map_err(|_| {
        CallError::Missing(format!(
            "there is no request {text:?}: an id is a UUID, as submit prints it; a message has a number"
        ))
    })
}
