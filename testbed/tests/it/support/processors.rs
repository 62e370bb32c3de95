//! Processors that are started again whenever they die, as by a service manager.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::support::{faulty::holding, stack::Stack};

/// Longer than a test takes: how long a processor that is not killed may run.
const TEST_TIMEOUT: Duration = Duration::from_secs(600);

/// Faulty processors that are started again whenever they die, until this is dropped.
pub(crate) struct Kept {
    deaths: Arc<AtomicUsize>,
    _keeping: JoinSet<Result<()>>,
}

impl Kept {
    /// Keeps so many processes alive, with so many workers each, which may hold so many requests each.
    pub(crate) fn alive(stack: &Stack, processes: usize, workers: usize, prefetch: u16) -> Self {
        let deaths = Arc::new(AtomicUsize::new(0));
        let mut keeping = JoinSet::new();
        for _ in 0..processes {
            let (stack, deaths) = (Stack { url: stack.url.clone() }, deaths.clone());
            keeping.spawn(async move {
                loop {
                    let program = holding(stack.faulty(workers), prefetch);
                    program.start()?.wait_within(TEST_TIMEOUT).await?;
                    deaths.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { deaths, _keeping: keeping }
    }

    /// How many processes have died so far.
    pub(crate) fn deaths(&self) -> usize {
        self.deaths.load(Ordering::Relaxed)
    }
}
