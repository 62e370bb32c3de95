//! Submission rules: which types and callback URLs the web service takes.

use pipeline::topology::RequestTypes;

use crate::webhooks::callback_policy::CallbackPolicy;

/// Which submissions are taken.
#[derive(Debug, Clone)]
pub(crate) struct SubmissionRules {
    /// Which `callbackUrl`s.
    pub(crate) callbacks: CallbackPolicy,
    /// Which types.
    pub(crate) types: RequestTypes,
}
