//! `slowlane callbacks retry`: makes the service send a callback again.

use uuid::Uuid;

use crate::{
    api::client::Client,
    exit::{Exit, Failure},
    output,
};

/// Asks the service to send the callback of a request.
pub(super) async fn retry(client: &Client, id: Uuid) -> Result<Exit, Failure> {
    client.retry_callback(id).await?;
    output::note(format!("the callback is being sent; slowlane get {id} shows the outcome"));
    Ok(Exit::Completed)
}
