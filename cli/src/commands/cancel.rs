//! `slowlane cancel`: cancels a request that has not ended.

use uuid::Uuid;

use crate::{
    api::{
        client::Client,
        error::CallError,
        request::{Request, Status},
    },
    arguments::Format,
    exit::{Exit, Failure},
    output, text,
};

/// Cancels a request. It succeeds too if the request is cancelled already.
pub(super) async fn run(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let request = cancelled(client, id).await?;
    match format {
        Format::Text => output::note(format!("{id} is cancelled")),
        Format::Json => output::line(text::one_line(request.json()))?,
    }
    Ok(Exit::Completed)
}

/// The cancelled request. An earlier call may have cancelled it and lost its response.
async fn cancelled(client: &Client, id: Uuid) -> Result<Request, CallError> {
    let error = match client.cancel(id).await {
        Err(error) => error,
        cancelled => return cancelled,
    };
    if let CallError::Rejected { problem_type, .. } = &error
        && problem_type == "already-ended"
    {
        let request = client.get(id).await?;
        if request.status == Status::Cancelled {
            return Ok(request);
        }
    }
    Err(error)
}
