//! `slowlane replay`: processes a failed request again, under the same id.

use super::{
    request_id::parse,
    wait::{self, WaitFlag},
};
use crate::{
    api::client::Client,
    arguments::Format,
    exit::{Exit, Failure},
};

/// Replays a failed request, and with `--wait` waits for its end.
pub(super) async fn run(
    client: &Client,
    mut id: Option<String>,
    wait: Option<Option<String>>,
    format: Format,
) -> Result<Exit, Failure> {
    let wait = WaitFlag::read(wait, &mut id, true)?;
    let missing = || Failure::Usage("the id is missing: slowlane replay ID".to_owned());
    let id = parse(&id.ok_or_else(missing)?)?;
    let before = client.get(id).await?;
    client.replay(id, before.details.run).await?;
    wait::after(client, id, wait, format, &format!("{id} is queued again")).await
}
