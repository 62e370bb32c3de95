//! Client of the web service's HTTP API, which docs/api.md describes.
//!
//! [`client`] sends one call and repeats it while that can help; [`requests`], [`failed`], [`status`], [`verification`], [`diagnosis`] and [`why`] are
//! the calls by subject; the other files are what goes over the wire.

pub(crate) mod client;
pub(crate) mod diagnosis;
pub(crate) mod failed;
pub(crate) mod requests;
pub(crate) mod status;
pub(crate) mod verification;
pub(crate) mod why;

pub(crate) mod error;
mod error_response;
mod http;
pub(crate) mod retry;

pub(crate) mod attempts;
pub(crate) mod bulk_runs;
pub(crate) mod event_stream;
pub(crate) mod page;
pub(crate) mod parked_message;
pub(crate) mod progress;
pub(crate) mod request;
pub(crate) mod submission;
