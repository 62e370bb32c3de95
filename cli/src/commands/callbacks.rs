//! `slowlane callbacks`.

use uuid::Uuid;

use crate::{
    api::Client,
    exit::{Exit, Failure},
    output,
};

/// Has a callback sent again.
pub(super) async fn retry(client: &Client, id: Uuid) -> Result<Exit, Failure> {
    client.retry_callback(id).await?;
    output::note(format!("the callback is being sent; slowlane get {id} shows what comes of it"));
    Ok(Exit::Completed)
}
