//! `slowlane failed list`: lists failed requests, and parked messages that belong to none.

use std::io;

use super::{
    select::{for_each_message, for_each_request},
    text,
};
use crate::{
    api::client::Client,
    arguments::{Format, failed::FailedList},
    commands::table::{self, Table},
    exit::{Exit, Failure},
    output,
};

/// Prints both lists page by page.
pub(super) async fn run(
    client: &Client,
    list: &FailedList,
    format: Format,
) -> Result<Exit, Failure> {
    let limit = if list.all { u64::MAX } else { list.limit };
    json_part("{\"requests\":", format)?;
    let mut table = Table::new(format, text::REQUEST_HEADER, limit);
    let more_requests = for_each_request(client, &list.filters, |request| {
        Ok(table.print(|| text::request_row(request), request.json())?)
    })
    .await?;
    let requests = table.end()?;
    json_part(",\"messages\":", format)?;
    let mut table = Table::new(format, text::MESSAGE_HEADER, limit);
    let more_messages = for_each_message(client, &list.filters, |message| {
        Ok(table.print(|| text::message_row(message), message.json())?)
    })
    .await?;
    let messages = table.end()?;
    json_part("}", format)?;
    if format == Format::Text && requests + messages == 0 {
        let such = if list.filters.any() { " that match" } else { "" };
        output::note(format!("there are no failed requests or messages{such}"));
    }
    for (listed, has_more) in [(requests, more_requests), (messages, more_messages)] {
        if has_more && listed > 0 {
            output::note(table::more(listed));
        }
    }
    Ok(Exit::Completed)
}

/// Prints a part of the JSON object around the two arrays.
fn json_part(json: &str, format: Format) -> io::Result<()> {
    if format == Format::Json { output::line(json) } else { Ok(()) }
}
