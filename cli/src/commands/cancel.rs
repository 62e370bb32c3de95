//! `slowlane cancel`.

use uuid::Uuid;

use crate::{
    api::{CallError, Client, Request, Status},
    arguments::Format,
    exit::{Exit, Failure},
    output,
};

/// Cancels a request. It is done as well if it was cancelled before.
pub(super) async fn run(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let request = cancelled(client, id).await?;
    match format {
        Format::Text => output::note(format!("{id} is cancelled")),
        Format::Json => output::line(output::one_line(request.json()))?,
    }
    Ok(Exit::Completed)
}

/// The request, which is cancelled: also by an earlier call, whose answer may have been lost.
async fn cancelled(client: &Client, id: Uuid) -> Result<Request, CallError> {
    match client.cancel(id).await {
        Err(CallError::Refused { status, kind, said }) if kind == "already-ended" => {
            let request = client.get(id).await?;
            match request.status {
                Status::Cancelled => Ok(request),
                _ => Err(CallError::Refused { status, kind, said }),
            }
        }
        other => other,
    }
}
