//! `slowlane failed`: lists failed requests and parked messages, shows, replays or discards them.

mod bulk_action;
mod canary;
mod confirm;
mod list;
mod select;
mod show;
mod target;
mod text;

use self::{
    bulk_action::BulkAction,
    select::{select, select_messages},
};
use super::connect::{LONG_RETRY, client};
use crate::{
    arguments::failed::{Failed, Selector},
    exit::{Exit, Failure},
    settings::Settings,
};

/// Runs one of the commands.
pub(super) async fn run(command: Failed, settings: Settings) -> Result<Exit, Failure> {
    let format = settings.format;
    let client = client(settings.clone(), LONG_RETRY)?;
    let (action, selection, selector) = match command {
        Failed::List(list) => return list::run(&client, &list, format).await,
        Failed::Show { which } => return show::run(&client, &which, format).await,
        Failed::Replay { selector, canary } => {
            if selector.ids.iter().any(|id| target::message_number(id).is_some()) {
                let text = "a message that belongs to no request can't be replayed";
                return Err(Failure::Usage(text.to_owned()));
            }
            check(&selector)?;
            if canary && !selector.dry_run {
                return canary::run(settings, &selector).await;
            }
            (BulkAction::Replay, select(&client, &selector).await?, selector)
        }
        Failed::Discard { selector, messages, yes } => {
            let is_everything = selector.all || (messages && !selector.filters.any());
            let ask = is_everything && !yes && !selector.dry_run;
            if ask {
                confirm::can_be_asked()?;
            }
            let selection = match messages {
                true => select_messages(&client, &selector.filters).await?,
                false => {
                    check(&selector)?;
                    select(&client, &selector).await?
                }
            };
            if ask && !confirm::discard(selection.targets.len())? {
                return Ok(Exit::Other);
            }
            (BulkAction::Discard, selection, selector)
        }
    };
    bulk_action::run(settings, action, selection, &selector).await
}

/// Refuses an empty selector: to select everything, a user has to say so.
fn check(selector: &Selector) -> Result<(), Failure> {
    if selector.ids.is_empty() && !selector.all && !selector.filters.any() {
        let text = "nothing is selected: give ids, or --type, --code, --group, --since, --before, or --all";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(())
}
