//! The web service, as it is asked over HTTP. See docs/api.md.

mod answer;
mod client;
mod decisions;
mod events;
mod letter;
mod request;

use std::time::Duration;

pub(crate) use client::Client;
pub(crate) use events::Event;
pub(crate) use letter::Letter;
pub(crate) use request::{Callback, Page, Request, Status};

/// Why a call did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// There was no answer, or only the beginning of one. The service may have done it all the same.
    #[error("{0}")]
    Unreachable(String),
    /// The service can't do it now.
    #[error("{said}")]
    Busy {
        /// What it says.
        said: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// There is no such request, or no more.
    #[error("{0}")]
    Missing(String),
    /// The service will never do it.
    #[error("{said}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem's type.
        kind: String,
        /// What the service says.
        said: String,
    },
    /// What answers there is no web service of Slowlane.
    #[error("{0}")]
    Foreign(String),
}

impl CallError {
    /// Whether it makes sense to try again, and after which pause at least.
    pub(crate) fn try_again(&self) -> Option<Duration> {
        match self {
            Self::Unreachable(_) => Some(Duration::ZERO),
            Self::Busy { after, .. } => Some(after.unwrap_or_default()),
            Self::Missing(_) | Self::Refused { .. } | Self::Foreign(_) => None,
        }
    }
}
