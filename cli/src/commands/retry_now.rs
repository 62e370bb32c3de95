//! `slowlane retry-now`: begins the attempt at once that a request waits for.

use super::{
    request_id::parse,
    wait::{self, WaitFlag},
};
use crate::{
    api::client::Client,
    arguments::Format,
    exit::{Exit, Failure},
};

/// Begins the next attempt at a request, and with `--wait` waits for its end.
pub(super) async fn run(
    client: &Client,
    mut id: Option<String>,
    wait: Option<Option<String>>,
    format: Format,
) -> Result<Exit, Failure> {
    let wait = WaitFlag::read(wait, &mut id, true)?;
    let missing = || Failure::Usage("the id is missing: slowlane retry-now ID".to_owned());
    let id = parse(&id.ok_or_else(missing)?)?;
    let before = client.get(id).await?;
    client.retry_now(id, before.details.run).await?;
    let attempt = before.details.attempts + 1;
    let done = format!("attempt {attempt} at {id} begins now");
    wait::after(client, id, wait, format, &done).await
}
