//! `slowlane submit`: submits a request.

use std::io::{self, IsTerminal};

use serde_json::json;
use uuid::Uuid;

use super::{
    request_data::{self, Origin},
    wait::{self, WaitFlag},
};
use crate::{
    api::{client::Client, submission::Submission},
    arguments::{Format, Submit},
    exit::{Exit, Failure},
    output,
};

/// Submits a request, and with `--wait` waits for its end.
pub(super) async fn run(
    client: &Client,
    mut submit: Submit,
    format: Format,
) -> Result<Exit, Failure> {
    let wait = WaitFlag::read(submit.wait, &mut submit.data, submit.file.is_none())?;
    let origin = Origin::choose(submit.data, submit.file, io::stdin().is_terminal())?;
    let data = request_data::json(origin.read()?, submit.text)?;
    let (expires_in, callback_url) = (submit.expires_in.as_deref(), submit.callback_url.as_deref());
    let kind = submit.kind.as_deref();
    let submission = Submission { data: &data, kind, expires_in, callback_url };
    let key = submit.idempotency_key.unwrap_or_else(|| Uuid::new_v4().to_string());
    let id = client.submit(&submission, &key).await?;
    match (wait, format) {
        (WaitFlag::Wait { timeout }, _) => {
            // A user who interrupts the wait still has the id.
            output::note(format!("accepted as {id}"));
            return wait::run(client, id, timeout, format).await;
        }
        (WaitFlag::Absent, Format::Text) => output::line(id)?,
        (WaitFlag::Absent, Format::Json) => output::line(json!({ "requestId": id }))?,
    }
    Ok(Exit::Completed)
}
