//! Follows a request: its status changes and the progress of the work on it.

use actix_web::web;
use pipeline::{
    contract::{self, Timestamp},
    log_messages::CALLER_FOLLOWS,
};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use uuid::Uuid;

use crate::{
    api::{
        http::problem::Problem,
        requests::{load::load, long_poll::RELOAD_INTERVAL},
        state::State,
    },
    events::{
        jobs::job::{Job, Progress},
        waiters::Waiter,
    },
    views::{progress_count::CountView, request::RequestView},
};

/// What a follower receives.
pub(crate) struct Update {
    /// [`RequestView::event_id`].
    pub(crate) id: String,
    /// What it is about.
    pub(crate) kind: UpdateKind,
    /// The request, after it has changed, or the new progress; as JSON.
    pub(crate) json: String,
}

/// What an update is about.
pub(crate) enum UpdateKind {
    Status,
    Progress,
}

/// A client that follows a request.
pub(crate) struct Follower {
    state: web::Data<State>,
    id: Uuid,
    /// Wakes at the end of the request.
    end: Waiter,
    /// Wakes when a job begins, makes progress or is gone.
    work: Waiter,
    /// The request as it was last loaded, and when to load it again.
    request: RequestView,
    reload_at: Instant,
    /// The last updates that were sent: the request without its progress, and the progress.
    sent_status: String,
    sent_progress: Option<Progress>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgressBody<'a> {
    request_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_count: Option<CountView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    at: Timestamp,
}

impl Follower {
    /// Begins with the request as it is now.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) async fn new(state: web::Data<State>, id: Uuid) -> Result<Self, Problem> {
        // Registered before the request is loaded, so that no change in between is missed.
        let (end, work) = (state.waiters.register(id), state.jobs.follow(id));
        debug!(requestId = %id, "{CALLER_FOLLOWS}");
        let request = load(&state, id).await?;
        let reload_at = Instant::now() + RELOAD_INTERVAL;
        let (sent_status, sent_progress) = (String::new(), None);
        Ok(Self { state, id, end, work, request, reload_at, sent_status, sent_progress })
    }

    /// Whether a client that has received the event with this id needs no more.
    pub(crate) fn has_ended_for(&self, last_event_id: &str) -> bool {
        self.request.has_ended_for(last_event_id)
    }

    /// Sends the request as it is, then each change of it and the progress of its work, until the request
    /// has ended or was deleted, or the service stops. `send` returns false when nobody receives any more. While it
    /// waits for a slow client, updates are skipped; the latest is sent next.
    pub(crate) async fn run(mut self, mut send: impl AsyncFnMut(Update) -> bool) {
        loop {
            let update = match self.status_update() {
                Some(status) => Some(status),
                None => self.progress_update(),
            };
            let goes_on = match update {
                Some(update) => send(update).await,
                None => !self.request.is_final() && self.changed().await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// The request, if it differs from what was sent.
    fn status_update(&mut self) -> Option<Update> {
        let status = self.request.json_without_progress();
        (status != self.sent_status).then(|| {
            self.sent_status = status;
            self.update(UpdateKind::Status, self.request.json())
        })
    }

    /// The progress, if it differs from what was sent.
    fn progress_update(&mut self) -> Option<Update> {
        let job = self.current_job()?;
        let progress = job.progress.filter(|new| self.sent_progress.as_ref() != Some(new))?;
        let body = ProgressBody {
            request_id: self.id,
            progress: progress.value.map(contract::Progress::fraction),
            progress_count: progress.value.and_then(contract::Progress::count).map(CountView::from),
            message: progress.message.as_deref(),
            at: progress.at,
        };
        let json = serde_json::to_string(&body).ok()?;
        self.sent_progress = Some(progress);
        Some(self.update(UpdateKind::Progress, json))
    }

    fn update(&self, kind: UpdateKind, json: String) -> Update {
        Update { id: self.request.event_id(), kind, json }
    }

    /// The job as it is now, if it is the one that the loaded request shows.
    fn current_job(&self) -> Option<Job> {
        let shown = self.request.job()?;
        self.state.jobs.get(self.id).filter(|job| job.is_same_work(shown))
    }

    /// Waits until there may be an update. Returns false if there will be none: the service stops, or the request was deleted.
    /// A client that connects again then learns which of the two it was.
    async fn changed(&mut self) -> bool {
        loop {
            tokio::select! {
                _news = self.end.changed() => {}
                // Progress alone needs no read of the store.
                _news = self.work.changed() => if self.current_job().is_some() { return true },
                () = sleep_until(self.reload_at) => {}
                () = self.state.drain.cancelled() => return false,
            }
            let loaded = load(&self.state, self.id).await;
            self.reload_at = Instant::now() + RELOAD_INTERVAL;
            match loaded {
                Ok(request) => {
                    self.request = request;
                    return true;
                }
                // While the store is unavailable, the request is taken to be unchanged.
                Err(problem) if problem.may_be_repeated() => {}
                Err(_) => return false,
            }
        }
    }
}
