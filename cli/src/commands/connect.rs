//! The API client of a command, with the command's default for `--retry-for`.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::{
    api::{client::Client, retry::RetryNotices},
    settings::Settings,
};

/// The default of commands that read: somebody waits for their output.
pub(super) const READ_RETRY: Duration = Duration::from_secs(5);
/// The default of commands that submit, cancel or replay a request.
pub(super) const WRITE_RETRY: Duration = Duration::from_secs(30);
/// The default of commands that run for long: they outlive a restart of the service.
pub(super) const LONG_RETRY: Duration = Duration::from_secs(300);

/// A client that retries for the time of `--retry-for`, or by default for `default_retry`.
pub(super) fn client(settings: Settings, default_retry: Duration) -> anyhow::Result<Client> {
    let retry_for = settings.retry_for.unwrap_or(default_retry);
    Client::new(settings.url, retry_for, RetryNotices::default())
}

/// The client of a long command, whose notices are printed above its progress bar.
pub(super) fn client_with_bar(settings: Settings, bar: ProgressBar) -> anyhow::Result<Client> {
    let retry_for = settings.retry_for.unwrap_or(LONG_RETRY);
    Client::new(settings.url, retry_for, RetryNotices::above(bar))
}
