//! `slowlane failed list`.

use super::{
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
    let mut printer = Printer { format, printed: 0 };
    printer.begin("{\"requests\":")?;
    let mut left = most;
    each_request(client, &list.filters, |request| {
        printer.print(print::REQUESTS, || print::request(request), request.json())?;
        left -= 1;
        Ok(left > 0)
    })
    .await?;
    let requests = printer.end()?;
    printer.begin(",\"messages\":")?;
    let mut left = most;
    each_message(client, &list.filters, |letter| {
        printer.print(print::MESSAGES, || print::message(letter), letter.json())?;
        left -= 1;
        Ok(left > 0)
    })
    .await?;
    let messages = printer.end()?;
    printer.begin("}")?;
    if format == Format::Text && requests + messages == 0 {
        let what = if list.filters.any() { "nothing like this" } else { "nothing" };
        output::note(format!("{what} has failed, or all of it was let go of"));
    }
    Ok(Exit::Completed)
}

/// Prints tables, or arrays with an item on each line.
struct Printer {
    format: Format,
    /// In the present table.
    printed: u64,
}

impl Printer {
    /// What stands between the arrays.
    fn begin(&self, json: &str) -> Result<(), Failure> {
        if self.format == Format::Json { output::line(json) } else { Ok(()) }
    }

    fn print(
        &mut self,
        header: &str,
        text: impl Fn() -> String,
        json: &str,
    ) -> Result<(), Failure> {
        let first = self.printed == 0;
        self.printed += 1;
        match self.format {
            Format::Text => {
                if first {
                    output::line(header)?;
                }
                output::line(text())
            }
            Format::Json => {
                let before = if first { '[' } else { ',' };
                output::line(format!("{before}{}", output::one_line(json)))
            }
        }
    }

    /// Ends a table and says how many stand there.
    fn end(&mut self) -> Result<u64, Failure> {
        let printed = std::mem::take(&mut self.printed);
        self.begin(if printed == 0 { "[]" } else { "]" })?;
        Ok(printed)
    }
}
