//! The id of a request, as users type it.

use uuid::Uuid;

use crate::api::error::CallError;

/// Reads an id.
///
/// # Errors
/// [`CallError::NotFound`], since no request has an id that is not a UUID.
pub(super) fn parse(text: &str) -> Result<Uuid, CallError> {
    Uuid::try_parse(text).map_err(|_| {
        CallError::NotFound(format!(
            "there is no request {text:?}: an id is a UUID, as submit prints it"
        ))
    })
}
