//! Load comes from a thread of its own, with a runtime of its own: that costs least.

use std::thread;

use anyhow::{Context, Result};
use tokio::{runtime::Builder, sync::oneshot};

/// Does work apart from everything else. If the wait is given up, the work goes on until the program ends.
pub(super) async fn apart<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("load".to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let done = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work()));
        // Nobody waits any more if the program is about to end.
        let _ = tell.send(done);
    })?;
    told.await.context("the thread that makes the load is gone")?
}
