//! Requests: record accepted ones, cancel, look up, list.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Store,
    command::{Read, Write},
    error::StoreError,
    model::{
        count::Count,
        filter::RequestFilter,
        page::{Page, RequestQuery},
        request::{Cancel, Ended, Found, NewRequest, Origin, Summary},
        sanitize,
    },
};

impl Store {
    /// Records a request. If its result came first, the final status stays; if it has expired already, it
    /// stays expired.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be recorded all the same, and can be recorded again.
    /// [`StoreError::Refused`] if this request can't be stored.
    pub async fn accept(&self, request: NewRequest) -> Result<(), StoreError> {
        self.accept_within(self.options.timeout, request).await
    }

    /// Like [`Self::accept`], for a caller who waits until the deadline at most.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_by(
        &self,
        deadline: Instant,
        request: NewRequest,
    ) -> Result<(), StoreError> {
        self.accept_within(self.left_until(deadline), request).await
    }

    /// Prepares to record a request that is accepted once something else is done: what records it then, which never
    /// waits and may be called by any thread, and what waits for the answer. [`Self::end_accept`] makes of that what
    /// [`Self::accept_by`] returns. A request with a callback can't be recorded so.
    pub fn prepare_accept(
        &self,
        mut request: NewRequest,
    ) -> (impl FnOnce() + Send + use<>, impl Future<Output = Option<Result<(), StoreError>>> + use<>)
    {
        debug_assert!(request.callback.is_none());
        sanitize::new_request(&mut request);
        self.prepare_urgent(request)
    }

    /// The outcome of recording a request that was prepared and begun at `began`. It is recorded now if there was no
    /// `answer` and there is time left.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn end_accept(
        &self,
        began: Instant,
        answer: Option<Result<(), StoreError>>,
        deadline: Instant,
        request: impl FnOnce() -> NewRequest,
    ) -> Result<(), StoreError> {
        match answer {
            Some(answer) => {
                self.note_answered_urgent(began);
                answer
            }
            None if Instant::now() >= deadline => Err(self.unanswered_urgent(began)),
            // This is rare, and its future large.
            None => Box::pin(self.accept_by(deadline, request())).await,
        }
    }

    async fn accept_within(
        &self,
        limit: Duration,
        mut request: NewRequest,
    ) -> Result<(), StoreError> {
        sanitize::new_request(&mut request);
        let has_callback = request.callback.is_some();
        let accepted = self.write_urgent(limit, |reply| Write::Accept(request, reply)).await;
        if has_callback {
            self.callback_due.notify_one();
        }
        accepted
    }

    /// Records many requests, and says of each whether it could be stored.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], as [`Self::accept`].
    pub async fn accept_batch(
        &self,
        requests: Vec<NewRequest>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.accept_batch_within(self.options.timeout, requests).await
    }

    /// Like [`Self::accept_batch`], for a caller who waits until the deadline at most.
    ///
    /// # Errors
    /// As [`Self::accept_batch`].
    pub async fn accept_batch_by(
        &self,
        deadline: Instant,
        requests: Vec<NewRequest>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.accept_batch_within(self.left_until(deadline), requests).await
    }

    fn left_until(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(Instant::now()).min(self.options.timeout)
    }

    async fn accept_batch_within(
        &self,
        limit: Duration,
        mut requests: Vec<NewRequest>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        requests.iter_mut().for_each(sanitize::new_request);
        let has_callback = requests.iter().any(|request| request.callback.is_some());
        let accepted = self.write_urgent(limit, |reply| Write::AcceptBatch(requests, reply)).await;
        if has_callback {
            self.callback_due.notify_one();
        }
        accepted
    }

    /// Ends a request as cancelled, unless it is final.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be cancelled all the same.
    pub async fn cancel(&self, id: Uuid) -> Result<Cancel, StoreError> {
        let cancel = self.write_for_client(|reply| Write::Cancel(id, reply)).await;
        self.callback_due.notify_one();
        cancel
    }

    /// What is known of an id, with the result.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn get(&self, id: Uuid) -> Result<Found, StoreError> {
        self.read(|reply| Read::Get(id, reply)).await
    }

    /// These requests without their results, in any order. Those that are not stored are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn get_many(&self, ids: Vec<Uuid>) -> Result<Vec<Summary>, StoreError> {
        self.read(|reply| Read::GetMany(ids, reply)).await
    }

    /// Those of these requests that have ended, or of which an earlier run has, in any order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ended(&self, ids: Vec<Uuid>) -> Result<Vec<Ended>, StoreError> {
        self.read(|reply| Read::GetEnded(ids, reply)).await
    }

    /// What a request was made of, as far as it is known.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn origin(&self, id: Uuid) -> Result<Origin, StoreError> {
        self.read(|reply| Read::GetOrigin(id, reply)).await
    }

    /// A page of requests, newest first. If filters are combined, a page looks at 4,000 rows at most: it may be short, or
    /// empty, though there is a next one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list(&self, mut query: RequestQuery) -> Result<Page, StoreError> {
        sanitize::filter(&mut query.filter);
        self.read(|reply| Read::List(query, reply)).await
    }

    /// How many requests there are, [`MAX_COUNT`](crate::MAX_COUNT) at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn count(&self, mut filter: RequestFilter) -> Result<Count, StoreError> {
        sanitize::filter(&mut filter);
        self.read(|reply| Read::Count(filter, reply)).await
    }
}
