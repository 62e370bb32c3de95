//! `slowlane get`: shows a request as it is now, or the data that were sent.

use std::io::{IsTerminal, stdout};

use uuid::Uuid;

use super::request_text;
use crate::{
    api::client::Client,
    arguments::Format,
    exit::{Exit, Failure},
    output, text,
};

/// Prints a request.
pub(super) async fn run(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let request = client.get(id).await?;
    match format {
        Format::Text => output::line(request_text::record(&request))?,
        Format::Json => output::line(text::one_line(request.json()))?,
    }
    Ok(Exit::of(request.status))
}

/// Prints the data of a request as they were sent.
pub(super) async fn data(client: &Client, id: Uuid) -> Result<Exit, Failure> {
    let data = client.data(id).await?;
    match stdout().is_terminal() {
        true => output::line(text::escape_lines(data.get()))?,
        false => output::line(data.get())?,
    }
    Ok(Exit::Completed)
}
