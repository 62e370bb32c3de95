//! `slowlane status`: shows what happens at present, once or again and again.

mod screen;

use std::{
    io::{IsTerminal, stdout},
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};

use super::interrupt::until_interrupted;
use crate::{
    api::{client::Client, status::SystemStatus},
    arguments::Format,
    exit::{Exit, Failure},
    output, text,
};

/// How often the status is shown again: as often as the service finds out anew.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// Moves to the upper left corner of a terminal, and clears it.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Prints the status, with `watch` until a signal comes.
pub(super) async fn run(client: &Client, watch: bool, format: Format) -> Result<Exit, Failure> {
    if watch {
        until_interrupted(show_for_ever(client, format)).await?;
        return Ok(Exit::Completed);
    }
    let status = client.status().await?;
    output::answer(shown(client, &status, format))?;
    match status.details.status.as_str() {
        "ready" => Ok(Exit::Completed),
        _ => Ok(Exit::Other),
    }
}

async fn show_for_ever(client: &Client, format: Format) -> Result<(), Failure> {
    let clear = format == Format::Text && stdout().is_terminal();
    let mut clock = interval(REFRESH_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        clock.tick().await;
        let shown = shown(client, &client.status().await?, format);
        match (clear, format) {
            (true, _) => output::line(format!("{CLEAR}{shown}"))?,
            (false, Format::Text) if !is_first => output::line(format!("\n{shown}"))?,
            (false, _) => output::line(shown)?,
        }
        is_first = false;
    }
}

fn shown(client: &Client, status: &SystemStatus, format: Format) -> String {
    match format {
        Format::Text => screen::text(&status.details, client.address(), SystemTime::now()),
        Format::Json => text::one_line(status.json()).into_owned(),
    }
}
