//! `slowlane get`: shows a request as it is now, its attempts, or the data that were sent.

use std::io::{IsTerminal, stdout};

use uuid::Uuid;

use super::request_text;
use crate::{
    api::{attempts::Attempt, client::Client},
    arguments::Format,
    exit::{Exit, Failure},
    output, text,
};

/// Prints a request.
pub(super) async fn run(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let request = client.get(id).await?;
    match format {
        Format::Text => output::answer(request_text::record(&request))?,
        Format::Json => output::answer(text::one_line(request.json()))?,
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

/// The columns of the attempts.
const HEADER: &str =
    "RUN  ATTEMPT  OUTCOME    STARTED                   ENDED                     WORKER  ERROR";

/// Prints the attempts at a request.
pub(super) async fn attempts(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let attempts = client.attempts(id).await?;
    if format == Format::Json {
        let items: Vec<_> = attempts.items.iter().map(|item| text::one_line(item.get())).collect();
        output::line(format!("[{}]", items.join(",")))?;
        return Ok(Exit::Completed);
    }
    if attempts.is_cut {
        output::note("there were more attempts before these");
    }
    match attempts.items.is_empty() {
        true => output::note("no attempt is known yet"),
        false => output::line(HEADER)?,
    }
    for item in &attempts.items {
        output::line(row(&serde_json::from_str(item.get()).unwrap_or_default()))?;
    }
    Ok(Exit::Completed)
}

fn row(attempt: &Attempt) -> String {
    let escape = |text: &str| text::escape_controls(text, &[]).into_owned();
    let [started, ended] =
        [&attempt.started_at, &attempt.ended_at].map(|at| at.as_deref().unwrap_or("-"));
    let (outcome, worker) = (escape(&attempt.outcome), escape(&attempt.worker));
    let error = attempt.error.as_ref();
    let error = error.map(|it| {
        format!(
            "{} ({})",
            text::short_error(&it.message, text::SHORT_ERROR_CHARS),
            escape(&it.code)
        )
    });
    let error = error.unwrap_or_default();
    let Attempt { run, attempt, .. } = attempt;
    let row = format!(
        "{run:<3}  {attempt:<7}  {outcome:<9}  {started:<24}  {ended:<24}  {worker}  {error}"
    );
    row.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_attempts_are_aligned_with_their_header() {
        let json = r#"{"run":1,"attempt":2,"outcome":"given-up","worker":"a:1/1","startedAt":"2026-11-21T09:54:22.988Z",
            "endedAt":"2026-11-21T09:54:23.988Z","error":{"code":"poison","message":"it\nfell"}}"#;
        let row = row(&serde_json::from_str(json).unwrap());
        let at = |name: &str| &row[HEADER.find(name).unwrap()..];
        assert!(row.starts_with("1    2") && at("ATTEMPT").starts_with("2 "), "{row}");
        assert!(
            at("OUTCOME").starts_with("given-up") && at("STARTED").starts_with("2026"),
            "{row}"
        );
        assert!(at("ENDED").starts_with("2026-11-21T09:54:23") && !row.contains('\n'), "{row}");
        assert!(at("WORKER").starts_with("a:1/1  it") && row.ends_with("(poison)"), "{row}");
    }
}
