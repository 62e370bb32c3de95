//! Following a request: its states, and how far the work on it is.

use actix_web::web;
use pipeline::contract::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use uuid::Uuid;

use crate::{
    api::state::State,
    events::{
        jobs::job::{Job, Progress},
        waiters::Waiter,
    },
};
use crate::{
    api::{
        http::problem::Problem,
        requests::long_poll::{LOOK_AGAIN, look},
    },
    views::request::View,
};

/// What one who follows is told.
pub(crate) enum Told {
    /// The request has changed: its body.
    Status(String),
    /// The work has come further.
    Progress(String),
}

/// One who follows a request.
pub(crate) struct Follower {
    state: web::Data<State>,
    id: Uuid,
    /// Wakes at the end.
    end: Waiter,
    /// Wakes when the work begins, goes on, or is not done any more.
    work: Waiter,
    /// The request as it was last seen, and when it is to be looked at again.
    view: View,
    again: Instant,
    /// What was told last, of both.
    told: String,
    told_progress: Option<Progress>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgressBody<'a> {
    request_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    at: Timestamp,
}

impl Follower {
    /// Begins with the request as it is now.
    pub(crate) async fn of(state: web::Data<State>, id: Uuid) -> Result<Self, Problem> {
        // Registered before the look, or news may come in between.
        let (end, work) = (state.waiters.register(id), state.jobs.follow(id));
        debug!(requestId = %id, "a caller follows");
        let view = look(&state, id).await?;
        let again = Instant::now() + LOOK_AGAIN;
        Ok(Self { state, id, end, work, view, again, told: String::new(), told_progress: None })
    }

    /// Tells the request as it is, then whenever it has changed and how far the work is; the last
    /// time when it has ended or the service stops. `tell` says whether anybody still listens. As
    /// long as it takes, what happens meanwhile is made up for by the latest.
    pub(crate) async fn run(mut self, mut tell: impl AsyncFnMut(Told) -> bool) {
        loop {
            let told = match self.status() {
                Some(status) => Some(status),
                None => self.progress(),
            };
            let goes_on = match told {
                Some(told) => tell(told).await,
                None => !self.view.is_final() && self.changed().await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// The status, if it is new.
    fn status(&mut self) -> Option<Told> {
        let state = self.view.state();
        (state != self.told).then(|| {
            self.told = state;
            Told::Status(self.view.json())
        })
    }

    /// How far the work is, if that is new.
    fn progress(&mut self) -> Option<Told> {
        let job = self.current()?;
        let progress = job.progress.filter(|new| self.told_progress.as_ref() != Some(new))?;
        let body = ProgressBody {
            request_id: self.id,
            progress: progress.value,
            message: progress.message.as_deref(),
            at: progress.at,
        };
        let json = serde_json::to_string(&body).ok()?;
        self.told_progress = Some(progress);
        Some(Told::Progress(json))
    }

    /// The work as it is now, if it is the work that the request was last seen with.
    fn current(&self) -> Option<Job> {
        let seen = self.view.job()?;
        self.state.jobs.get(self.id).filter(|job| job.is_same_work(seen))
    }

    /// Waits until there may be something to tell. False if the service stops.
    async fn changed(&mut self) -> bool {
        loop {
            tokio::select! {
                () = self.end.changed() => {}
                // For progress alone nobody looks at the store.
                () = self.work.changed() => if self.current().is_some() { return true },
                () = sleep_until(self.again) => {}
                () = self.state.drain.cancelled() => return false,
            }
            let seen = look(&self.state, self.id).await;
            self.again = Instant::now() + LOOK_AGAIN;
            // A store that is away for a while is no news.
            if let Ok(view) = seen {
                self.view = view;
                return true;
            }
        }
    }
}
