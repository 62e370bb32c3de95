//! A thread with its own runtime for load: on a current-thread runtime, load costs the least CPU time.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use tokio::{runtime::Builder, sync::oneshot, time::timeout};

/// Longer than the longest load takes, a million requests.
const LOAD_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Does work on a thread of its own. Dropping the future does not cancel the work.
pub(super) async fn on_load_thread<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("load".to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let done = runtime.map_err(Into::into).and_then(|runtime| {
            let work = async { timeout(LOAD_TIMEOUT, work()).await };
            runtime.block_on(work).context("the load took longer than 15 minutes")?
        });
        // The receiver is gone if the program is about to end.
        let _ = sender.send(done);
    })?;
    receiver.await.context("the thread that makes the load has ended")?
}
