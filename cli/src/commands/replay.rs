//! `slowlane replay`.

use super::{parse, wait};
use crate::{
    api::Client,
    arguments::Format,
    exit::{Exit, Failure},
    input, output,
};
use serde_json::json;

/// Has a failed request done again, and with `--wait` waits for its end.
pub(super) async fn run(
    client: &Client,
    mut id: Option<String>,
    waiting: Option<Option<String>>,
    format: Format,
) -> Result<Exit, Failure> {
    // In `replay --wait ID` the id looks like the timeout.
    let waiting = input::waiting(waiting, &mut id)?;
    let missing = || Failure::Usage("which request? slowlane replay ID".to_owned());
    let id = parse(&id.ok_or_else(missing)?)?;
    let before = client.get(id).await?;
    client.replay(id, before.details.run).await?;
    match (waiting, format) {
        (Some(timeout), _) => {
            output::note(format!("{id} is done again"));
            return wait::run(client, id, timeout, format).await;
        }
        (None, Format::Text) => {
            output::note(format!("{id} is done again; slowlane wait {id} waits for its end"));
        }
        (None, Format::Json) => output::line(json!({ "requestId": id }))?,
    }
    Ok(Exit::Completed)
}
