//! Doctor: looks for what is configured wrongly or works badly, and says how to mend it.
//!
//! It uses what any program may use: AMQP with the rights of the web service, and the store. What these don't show is listed
//! with the command that shows it.

mod ack_timeout;
mod clocks;
mod connections;
pub mod diagnosis;
mod objects;
mod probes;
mod queues;
mod store_settings;

use std::{sync::Arc, time::Duration};

use pipeline::{
    broker::{Address, Broker},
    health::Readiness,
    topology::{RequestTypes, RetryDelays},
};
use store::Store;

use crate::{
    doctor::diagnosis::{Check, Verdict},
    events::jobs::RunningJobs,
    shared_answer::SharedAnswer,
};

/// What the doctor examines.
pub struct Doctor {
    broker: Arc<Broker>,
    store: Store,
    jobs: RunningJobs,
    settings: DoctorSettings,
    /// One examination at a time: each opens connections.
    found: SharedAnswer<Vec<Check>>,
}

/// The settings that are compared with what is found.
#[derive(Debug, Clone)]
pub struct DoctorSettings {
    /// The broker's addresses.
    pub addresses: Vec<Address>,
    /// `TYPES`.
    pub types: RequestTypes,
    /// `RETRY_DELAYS`.
    pub delays: RetryDelays,
    /// How long a worker may hold a request, by `JOB_TIMEOUT`, `PREFETCH` and `DRAIN_TIMEOUT`; none if `JOB_TIMEOUT` is not set
    /// for this program.
    pub longest_hold: Option<Duration>,
}

impl Doctor {
    /// A doctor for this broker and this store.
    pub fn new(
        broker: Arc<Broker>,
        store: Store,
        jobs: RunningJobs,
        settings: DoctorSettings,
    ) -> Self {
        Self { broker, store, jobs, settings, found: SharedAnswer::default() }
    }

    /// Examines everything, in some seconds at most. What is away is a finding. Calls at the same time share what is found.
    pub async fn examine(&self, readiness: &Readiness) -> Arc<Vec<Check>> {
        self.found.get(self.look(readiness)).await
    }

    async fn look(&self, readiness: &Readiness) -> Vec<Check> {
        let mut checks: Vec<_> = readiness.parts.iter().map(part).collect();
        checks.extend(connections::plaintext(&self.settings.addresses).await);
        let opened = connections::open(&self.settings.addresses).await;
        checks.extend(opened.checks);
        let DoctorSettings { types, delays, .. } = &self.settings;
        if let Some(mut declarer) = opened.declarer {
            checks.push(connections::tuning(&declarer.tuning()));
            let objects = objects::check(&mut declarer, types, delays).await;
            let (longest, release) = (self.settings.longest_hold, declarer.version());
            checks.push(ack_timeout::check(objects.requests, longest, release));
            checks.extend(objects.checks);
            let suspects = self.jobs.suspects();
            checks.extend(queues::check(&mut declarer, types, suspects).await);
            declarer.close().await;
            checks.extend(probes::check(&self.broker.publisher()).await);
        }
        checks.extend(clocks::check(&self.store, &self.jobs).await);
        checks.push(store_settings::check(&self.store).await);
        checks.extend(diagnosis::never_seen());
        checks
    }
}

fn part((name, part): (&&'static str, &pipeline::health::Part)) -> Check {
    let verdict = match part.ok {
        true => Verdict::Fine(part.detail.clone()),
        false => Verdict::finding(part.detail.clone(), mend_of(name)),
    };
    Check::new(name, verdict)
}

/// What to do about a part of the service that is missing.
fn mend_of(part: &str) -> &'static str {
    match part {
        "broker.publish" | "broker.consume" => {
            "rabbitmqctl status shows whether the broker runs; check AMQP_URL"
        }
        "topology" => "setup",
        "store" => {
            "check DATABASE_URL and what the detail names; the web service goes on by itself"
        }
        _ => "see the log of the web service",
    }
}
