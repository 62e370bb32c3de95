//! Verify: compares the open requests in the store with what the queues hold and what workers claim, and names the requests
//! whose message is missing.
//!
//! A message that is taken out of a queue to look at it counts as delivered, so none is. What can be seen is how many
//! messages a queue holds, and that they leave it in order. See [`decide`] for what follows from that.

pub mod decide;
pub mod error;
mod observe;

use std::{collections::HashMap, sync::Arc};

use pipeline::{
    broker::Broker,
    topology::{RequestTypes, RetryDelays, retry},
};
use store::Store;
use uuid::Uuid;

use crate::{
    events::jobs::RunningJobs,
    shared_answer::SharedAnswer,
    verify::{
        decide::{Missing, Observation, missing},
        error::VerifyError,
        observe::Observer,
    },
};

/// Finds requests whose message is missing.
pub struct Verifier {
    broker: Arc<Broker>,
    store: Store,
    jobs: RunningJobs,
    types: RequestTypes,
    /// The names of the retry queues.
    retry_queues: Vec<String>,
    /// One verification at a time: it reads all open requests.
    found: SharedAnswer<Result<Verified, VerifyError>>,
}

/// What a verification found.
#[derive(Debug)]
pub struct Verified {
    /// The requests whose message is missing.
    pub missing: Vec<Missing>,
    /// The last look at the system.
    pub seen: Observation,
}

impl Verifier {
    /// A verifier of the requests in this store and on this broker, with the queues of these types and the retry queues of
    /// these delays.
    pub fn new(
        broker: Arc<Broker>,
        store: Store,
        jobs: RunningJobs,
        types: &RequestTypes,
        delays: &RetryDelays,
    ) -> Self {
        let retry_queues = delays.steps().into_iter().map(retry).collect();
        let types = types.clone();
        Self { broker, store, jobs, types, retry_queues, found: SharedAnswer::default() }
    }

    /// Looks at the system for some seconds, and at what seems to be missing for some seconds more. Calls at the same time share
    /// what is found.
    ///
    /// # Errors
    /// If the broker or the store is away.
    pub async fn verify(&self) -> Arc<Result<Verified, VerifyError>> {
        self.found.get(self.look()).await
    }

    async fn look(&self) -> Result<Verified, VerifyError> {
        let observer = Observer {
            broker: &self.broker,
            store: &self.store,
            jobs: &self.jobs,
            types: &self.types,
            retry_queues: &self.retry_queues,
        };
        let first = observer.observe().await?;
        let suspects: HashMap<Uuid, u32> = runs(&missing(&first));
        if suspects.is_empty() {
            return Ok(Verified { missing: Vec::new(), seen: first });
        }
        let seen = observer.observe().await?;
        let mut missing = missing(&seen);
        missing.retain(|it| suspects.get(&it.request.id) == Some(&it.request.run));
        Ok(Verified { missing, seen })
    }
}

fn runs(missing: &[Missing]) -> HashMap<Uuid, u32> {
    missing.iter().map(|it| (it.request.id, it.request.run)).collect()
}
