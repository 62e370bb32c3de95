//! `slowlane wait`.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    api::Client,
    arguments::Format,
    exit::{Exit, Failure},
    output,
};

/// Waits until a request has ended, and prints how.
pub(super) async fn run(
    client: &Client,
    id: Uuid,
    timeout: Option<Duration>,
    format: Format,
) -> Result<Exit, Failure> {
    let request = client.wait(id, timeout).await?;
    match format {
        Format::Text => output::ended(&request)?,
        Format::Json => output::line(output::one_line(request.json()))?,
    }
    Ok(Exit::of(request.status))
}
