//! `POST /requests/{id}/{action}`: what can be done with a request, as forms of its page send it.

use actix_web::{HttpResponse, web};
use maud::{Markup, html};

use crate::{
    api::{
        http::problem::Problem,
        requests::{cancel, discard, replay, retry_callback, retry_now},
        state::State,
    },
    dashboard::{layout::Section, respond},
    views::request::{RequestStatus, RequestView},
};

pub(super) const PATH: &str = "/requests/{id}/{action}";

/// What can be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Cancel,
    RetryNow,
    Replay,
    Discard,
    RetryCallback,
}

impl Action {
    const ALL: [Self; 5] =
        [Self::RetryNow, Self::Replay, Self::RetryCallback, Self::Cancel, Self::Discard];

    /// Its name in the path.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::RetryNow => "retry-now",
            Self::Replay => "replay",
            Self::Discard => "discard",
            Self::RetryCallback => "retry-callback",
        }
    }

    /// The text of its button.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Cancel => "Cancel",
            Self::RetryNow => "Retry now",
            Self::Replay => "Replay",
            Self::Discard => "Discard",
            Self::RetryCallback => "Send callback again",
        }
    }

    /// What is asked before, if it can't be undone.
    fn question(self) -> Option<&'static str> {
        match self {
            Self::Cancel => Some("Cancel this request? Its result will be dropped."),
            Self::Discard => {
                Some("Discard this request? It is deleted at once, with its data and its error.")
            }
            Self::RetryNow | Self::Replay | Self::RetryCallback => None,
        }
    }

    /// The key that does it.
    fn key(self) -> Option<&'static str> {
        match self {
            Self::Cancel => Some("c"),
            Self::RetryNow | Self::Replay => Some("r"),
            Self::Discard | Self::RetryCallback => None,
        }
    }

    /// What is said when it was done.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Cancel => "Cancelled.",
            Self::RetryNow => "The next attempt begins now.",
            Self::Replay => "Replayed: it is queued again.",
            Self::Discard => "Discarded.",
            Self::RetryCallback => "The callback is sent again.",
        }
    }

    /// The action of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Whether it can be done with a request in this state.
    fn fits(self, request: &RequestView) -> bool {
        match self {
            Self::Cancel => !request.is_final(),
            Self::RetryNow => request.waits_until().is_some(),
            Self::Replay => request.status == RequestStatus::Failed,
            Self::Discard => {
                request.status == RequestStatus::Failed && !request.has_pending_callback()
            }
            Self::RetryCallback => request.is_final() && request.has_callback(),
        }
    }
}

/// The buttons for what can be done with a request.
pub(super) fn buttons(request: &RequestView, root: &str) -> Markup {
    let fitting = Action::ALL.into_iter().filter(|action| action.fits(request));
    html! {
        @for action in fitting {
            form method="post" action={ (root) "requests/" (request.request_id) "/" (action.name()) } data-confirm=[action.question()] data-key={ "action-" (action.name()) } {
                button.primary[action.key() == Some("r")] type="submit" data-hotkey=[action.key()] aria-keyshortcuts=[action.key()] {
                    (action.label())
                }
            }
        }
    }
}

/// Does it, and leads back to the page of the request.
pub(super) async fn act(
    path: web::Path<(String, String)>,
    state: web::Data<State>,
) -> HttpResponse {
    const ROOT: &str = "../../";
    let (id, name) = path.into_inner();
    let done = match Action::named(&name) {
        Some(action) => perform(action, id.clone(), state.clone()).await.map(|()| action),
        None => Err(Problem::not_found()),
    };
    match done {
        Ok(Action::Discard) => respond::see_other("../../failed?done=discard"),
        Ok(action) => respond::see_other(&format!("../{id}?done={}", action.name())),
        Err(problem) => respond::form_problem(&state, &problem, Section::Requests, ROOT).await,
    }
}

/// The same as the call of the API.
pub(super) async fn perform(
    action: Action,
    id: String,
    state: web::Data<State>,
) -> Result<(), Problem> {
    let id = web::Path::from(id);
    match action {
        Action::Cancel => cancel::cancel(id, state).await,
        Action::RetryNow => retry_now::retry_now(id, state).await,
        Action::Replay => replay::replay(id, state).await,
        Action::Discard => discard::discard(id, state).await,
        Action::RetryCallback => retry_callback::retry(id, state).await,
    }
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_a_name_of_its_own() {
        for action in Action::ALL {
            assert_eq!(Action::named(action.name()), Some(action));
        }
        assert_eq!(Action::named("delete"), None);
    }
}
