//! `slowlane replay`: processes a failed request again, under the same id.

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

/// Replays a failed request, and with `--wait` waits for its end.
pub(super) async fn run(
    client: &Client,
    mut id: Option<String>,
    wait: Option<Option<String>>,
    format: Format,
) -> Result<Exit, Failure> {
    let wait = WaitFlag::read(wait, &mut id)?;
    let missing = || Failure::Usage("the id is missing: slowlane replay ID".to_owned());
    let id = parse(&id.ok_or_else(missing)?)?;
    let before = client.get(id).await?;
    client.replay(id, before.details.run).await?;
    match (wait, format) {
        (WaitFlag::Wait { timeout }, _) => {
            output::note(format!("{id} is queued again"));
            return wait::run(client, id, timeout, format).await;
        }
        (WaitFlag::Absent, Format::Text) => {
            output::note(format!("{id} is queued again; slowlane wait {id} waits for its end"));
        }
        (WaitFlag::Absent, Format::Json) => output::line(json!({ "requestId": id }))?,
    }
    Ok(Exit::Completed)
}
