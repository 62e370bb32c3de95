//! Whether the program stops, for work that has just failed: what ended the work may have reached the program, too.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long signals that are sent one after the other may take to arrive.
pub(super) const SIGNALS_TIMEOUT: Duration = Duration::from_millis(200);

/// Whether the program stops. `stopping` is cancelled when it does; if it is not yet, its signal may be on the way.
pub(super) async fn is_stopping(stopping: &CancellationToken) -> bool {
    timeout(SIGNALS_TIMEOUT, stopping.cancelled()).await.is_ok()
}
