//! `slowlane retry-now`: begins the attempt at once that a request waits for.

use serde_json::json;

use super::{
    request_id::parse,
    wait::{self, WaitFlag},
};
use crate::{
    api::client::Client,
    arguments::Format,
    exit::{Exit, Failure},
    output,
};

/// Begins the next attempt at a request, and with `--wait` waits for its end.
pub(super) async fn run(
    client: &Client,
    mut id: Option<String>,
    wait: Option<Option<String>>,
    format: Format,
) -> Result<Exit, Failure> {
    let wait = WaitFlag::read(wait, &mut id)?;
    let missing = || Failure::Usage("the id is missing: slowlane retry-now ID".to_owned());
    let id = parse(&id.ok_or_else(missing)?)?;
    let before = client.get(id).await?;
    client.retry_now(id, before.details.run).await?;
    let attempt = before.details.attempts + 1;
    match (wait, format) {
        (WaitFlag::Wait { timeout }, _) => {
            output::note(format!("attempt {attempt} at {id} begins now"));
            return wait::run(client, id, timeout, format).await;
        }
        (WaitFlag::Absent, Format::Text) => output::note(format!(
            "attempt {attempt} at {id} begins now; slowlane wait {id} waits for its end"
        )),
        (WaitFlag::Absent, Format::Json) => output::line(json!({ "requestId": id }))?,
    }
    Ok(Exit::Completed)
}
