//! `slowlane failed list`.

use super::{
    super::table::Table,
    choose::{each_message, each_request},
    print,
};
use crate::{
    api::Client,
    arguments::{FailedList, Format},
    exit::{Exit, Failure},
    output,
};

/// Prints failed requests, and the messages that belong to none, page by page as they come.
pub(super) async fn run(
    client: &Client,
    list: &FailedList,
    format: Format,
) -> Result<Exit, Failure> {
    let most = if list.all { u64::MAX } else { list.limit };
    between("{\"requests\":", format)?;
    let (mut table, mut left) = (Table::new(format), most);
    each_request(client, &list.filters, |request| {
        table.print(print::REQUESTS, || print::request(request), request.json())?;
        left -= 1;
        Ok(left > 0)
    })
    .await?;
    let requests = table.end()?;
    between(",\"messages\":", format)?;
    let (mut table, mut left) = (Table::new(format), most);
    each_message(client, &list.filters, |letter| {
        table.print(print::MESSAGES, || print::message(letter), letter.json())?;
        left -= 1;
        Ok(left > 0)
    })
    .await?;
    let messages = table.end()?;
    between("}", format)?;
    if format == Format::Text && requests + messages == 0 {
        let what = if list.filters.any() { "nothing like this" } else { "nothing" };
        output::note(format!("{what} has failed, or all of it was let go of"));
    }
    Ok(Exit::Completed)
}

/// What stands between the arrays.
fn between(json: &str, format: Format) -> Result<(), Failure> {
    if format == Format::Json { output::line(json) } else { Ok(()) }
}
