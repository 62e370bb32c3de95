//! Observer: looks at the open requests, at the queues, and at what workers claim, for some seconds.

use std::{collections::BTreeSet, time::Duration};

use pipeline::{
    broker::{Broker, Declarer},
    contract::{Control, Timestamp},
    topology::{FAILED, RESULTS, RequestType, RequestTypes},
};
use store::{OpenRequest, RequestFilter, RequestQuery, Status, Store};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    events::jobs::RunningJobs,
    verify::{
        decide::{Observation, Sample},
        error::VerifyError,
    },
};

/// How often the queues are looked at, first and then: at first nothing has been added to what was just read.
const SAMPLES: [(usize, Duration); 2] =
    [(3, Duration::from_millis(20)), (10, Duration::from_millis(200))];
/// How many requests are read at once.
const PAGE: u32 = 5000;
/// How many open requests are looked at, so that they fit into memory.
const MAX_OPEN: usize = 1_000_000;
/// How many of the newest completed requests are looked at for one that came after the beginning.
const MAX_NEWEST: u32 = 20;
/// An id that is further in the future was not made by a web service.
const MAX_AHEAD: Duration = Duration::from_secs(600);

/// Looks at a system.
pub(super) struct Observer<'a> {
    pub(super) broker: &'a Broker,
    pub(super) store: &'a Store,
    pub(super) jobs: &'a RunningJobs,
    pub(super) types: &'a RequestTypes,
    pub(super) retry_queues: &'a [String],
}

impl Observer<'_> {
    /// Looks for about two seconds: longer than a worker takes to announce its work, and to answer when it is asked.
    pub(super) async fn observe(&self) -> Result<Observation, VerifyError> {
        let declarer = self.broker.declarer()?;
        let mark = self.newest_id().await?;
        let began = Timestamp::now();
        let (before, is_cut) = self.open_requests().await?;
        let mut queues = Queues::of(declarer, self.types_of(&before), self.retry_queues);
        self.broker.event_publisher().try_publish(Control::Who.message());
        let mut samples = Vec::new();
        for (count, pause) in SAMPLES {
            for _ in 0..count {
                samples.push(queues.count().await?);
                sleep(pause).await;
            }
        }
        queues.close().await;
        let (open, mut stayed) = self.still_open(before).await?;
        let (has_waited, in_work) = (stayed.len(), self.jobs.counts().0);
        stayed.retain(|request| !self.is_claimed(request));
        let overtaken =
            if has_waited > 0 { self.overtaken(mark, &stayed).await? } else { BTreeSet::new() };
        let between = [began, Timestamp::now()];
        Ok(Observation { open, in_work, stayed, between, samples, overtaken, is_cut })
    }

    /// The types of these requests, and those for which there are queues.
    fn types_of(&self, requests: &[OpenRequest]) -> BTreeSet<RequestType> {
        let mut types: BTreeSet<_> = self.types.iter().cloned().collect();
        for OpenRequest { request_type, .. } in requests {
            if !types.contains(request_type) {
                types.insert(request_type.clone());
            }
        }
        types
    }

    /// All open requests, in the order of their ids, and whether there are more than are looked at.
    async fn open_requests(&self) -> Result<(Vec<OpenRequest>, bool), VerifyError> {
        let (mut all, mut after) = (Vec::new(), Uuid::nil());
        while all.len() < MAX_OPEN {
            let page = self.store.open_requests(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok((all, false)) };
            after = last.id;
            all.extend(page);
        }
        Ok((all, true))
    }

    /// How many requests are open now, and those of `before` that are still in the same attempt.
    async fn still_open(
        &self,
        before: Vec<OpenRequest>,
    ) -> Result<(usize, Vec<OpenRequest>), VerifyError> {
        let (mut open, mut stayed, mut after) = (0, Vec::new(), Uuid::nil());
        let mut before = before.into_iter().peekable();
        while open < MAX_OPEN {
            let page = self.store.open_requests(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            open += page.len();
            for request in page {
                while before.next_if(|it| it.id < request.id).is_some() {}
                stayed.extend(before.next_if_eq(&request));
            }
        }
        Ok((open, stayed))
    }

    fn is_claimed(&self, request: &OpenRequest) -> bool {
        self.jobs.get(request.id).is_some_and(|job| {
            (job.execution.run, job.execution.attempt) > (request.run, request.attempts)
        })
    }

    /// An id that is not below those of the requests that were accepted until now.
    async fn newest_id(&self) -> Result<Uuid, VerifyError> {
        let newest = self.newest(RequestFilter::default(), 1).await?;
        Ok(newest.into_iter().chain([Uuid::now_v7()]).max().unwrap_or_default())
    }

    /// Of the types of these requests, those of which a request above this id was worked on.
    async fn overtaken(
        &self,
        mark: Uuid,
        stayed: &[OpenRequest],
    ) -> Result<BTreeSet<RequestType>, VerifyError> {
        let claimed = self.jobs.newest(Uuid::max(), PAGE as usize).into_iter();
        let claimed = claimed.filter(|id| *id > mark && is_timely(id));
        let mut overtaken: BTreeSet<_> =
            claimed.filter_map(|id| Some(self.jobs.get(id)?.request_type)).collect();
        for of_type in stayed.iter().map(|it| &it.request_type).collect::<BTreeSet<_>>() {
            let (status, kind) = (Some(Status::Completed), Some(of_type.to_string()));
            let completed = RequestFilter { status, kind, ..RequestFilter::default() };
            if self.newest(completed, MAX_NEWEST).await?.into_iter().any(|id| id > mark) {
                overtaken.insert(of_type.clone());
            }
        }
        Ok(overtaken)
    }

    /// The newest ids that were made by web services.
    async fn newest(&self, filter: RequestFilter, limit: u32) -> Result<Vec<Uuid>, VerifyError> {
        let query = RequestQuery { filter, limit, cursor: None };
        let page = self.store.list(query).await?;
        Ok(page.items.into_iter().map(|it| it.id).filter(is_timely).collect())
    }
}

/// Whether an id contains a time, which is not in the future.
fn is_timely(id: &Uuid) -> bool {
    let limit = Timestamp::now() + MAX_AHEAD;
    let seconds = id.get_timestamp().map(|at| at.to_unix().0);
    let millis = seconds.and_then(|seconds| i64::try_from(seconds.checked_mul(1000)?).ok());
    millis.is_some_and(|millis| Timestamp::from_millis(millis) <= limit)
}

/// The queues that are counted.
struct Queues<'a> {
    declarer: Declarer,
    /// Those of requests, each with the type.
    request_queues: Vec<(RequestType, String)>,
    retry_queues: Vec<&'a str>,
}

impl<'a> Queues<'a> {
    fn of(declarer: Declarer, types: BTreeSet<RequestType>, retry_queues: &'a [String]) -> Self {
        let request_queues = types.into_iter().map(|it| (it.clone(), it.queue())).collect();
        let retry_queues = retry_queues.iter().map(String::as_str).collect();
        Self { declarer, request_queues, retry_queues }
    }

    async fn count(&mut self) -> Result<Sample, VerifyError> {
        let mut sample = Sample::default();
        // In the direction in which requests move, so that one on its way is counted twice rather than not at all.
        for queue in std::mem::take(&mut self.retry_queues) {
            // A question about a missing queue costs a channel, so it is asked once.
            if let Some(waiting) = self.waiting(queue).await? {
                sample.retries = sample.retries.saturating_add(waiting);
                self.retry_queues.push(queue);
            }
        }
        for (of_type, queue) in std::mem::take(&mut self.request_queues) {
            if let Some(waiting) = self.waiting(&queue).await? {
                sample.requests.insert(of_type.clone(), waiting);
                self.request_queues.push((of_type, queue));
            }
        }
        let results = self.waiting(RESULTS).await?.unwrap_or(0);
        let failed = self.waiting(FAILED).await?.unwrap_or(0);
        sample.results = results.saturating_add(failed);
        Ok(sample)
    }

    /// How many messages wait in a queue; none if there is no such queue.
    async fn waiting(&mut self, queue: &str) -> Result<Option<u32>, VerifyError> {
        match self.declarer.queue_counts(queue).await {
            Ok(counts) => Ok(Some(counts.waiting)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn close(self) {
        self.declarer.close().await;
    }
}
