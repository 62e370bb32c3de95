//! Callback policy: whether a request may have a `callbackUrl`, and which ones are taken.

use crate::webhooks::target::{AllowedTargets, TargetError};
use store::CallbackTarget;

/// What a `callbackUrl` has to comply with.
#[derive(Debug, Clone)]
pub struct CallbackPolicy {
    /// Whether there is a secret to sign webhooks with.
    pub can_sign: bool,
    /// Where webhooks may go.
    pub allowed: AllowedTargets,
}

impl CallbackPolicy {
    /// The target that a client names in `callbackUrl`.
    ///
    /// # Errors
    /// If callbacks can't be signed, or the target is not allowed.
    pub fn target(&self, url: &str) -> Result<CallbackTarget, TargetError> {
        if !self.can_sign {
            return Err(TargetError::NoSecret);
        }
        self.allowed.target(url)
    }
}
