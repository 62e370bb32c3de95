//! What a bulk run is to do: the action, and the requests by their ids or by filters.

use std::collections::HashSet;

use pipeline::contract::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::{
        http::problem::Problem,
        requests::list::{self, Query},
        state::State,
    },
    views::request::{RequestStatus, RequestView},
};

/// How many requests can be chosen one by one: those of a page.
pub(crate) const MAX_IDS: usize = 500;
/// How many samples a dry run shows.
const MAX_SAMPLES: usize = 5;
/// What a form has beside filters.
const NO_FILTERS: [&str; 10] =
    ["action", "canary", "cursor", "limit", "count", "confirm", "newest", "at", "run", "done"];

/// What can be done with many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BulkAction {
    /// Failed requests are processed again.
    Replay,
    /// Failed requests are deleted.
    Discard,
    /// Queued requests are cancelled.
    Cancel,
}

/// An action on many requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(crate) action: BulkAction,
    pub(crate) selection: Selection,
    /// Whether a few are replayed first, and the others only while those succeed.
    pub(crate) is_canary: bool,
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Selection {
    /// These.
    Ids(Vec<Uuid>),
    /// Those that a list with these filters has.
    Filters(Vec<(String, String)>),
}

/// What a dry run finds.
pub(crate) struct Preview {
    /// How many requests.
    pub(crate) count: u32,
    /// Whether there may be more than that.
    pub(crate) is_capped: bool,
    /// Some of them.
    pub(crate) samples: Vec<RequestView>,
    /// What it can have seen.
    pub(crate) seen: Seen,
}

/// What a dry run can have seen, which alone is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// The newest request, or an id of the time of the dry run if it has found none: those that come later are not meant.
    /// None if the requests were chosen one by one.
    pub(crate) newest: Option<Uuid>,
    /// The time of the dry run, by the store's clock: what has failed later is not meant.
    pub(crate) at: Timestamp,
}

impl BulkAction {
    pub(crate) const ALL: [Self; 3] = [Self::Replay, Self::Discard, Self::Cancel];

    /// Its name in addresses and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
            Self::Cancel => "cancel",
        }
    }

    /// The text of its button.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Replay => "Replay",
            Self::Discard => "Discard",
            Self::Cancel => "Cancel",
        }
    }

    /// The status of the requests that it is for.
    fn status(self) -> &'static str {
        match self {
            Self::Replay | Self::Discard => RequestStatus::Failed.name(),
            Self::Cancel => RequestStatus::Queued.name(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl Plan {
    /// The plan that a form or an address describes.
    ///
    /// # Errors
    /// If the action is none for many requests, or nothing chooses the requests.
    pub(crate) fn of(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let get =
            |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let action = get("action").and_then(|name| BulkAction::named(name));
        let action = action.ok_or_else(|| {
            Problem::wrong_query("An action on many requests is replay, discard or cancel.")
        })?;
        let is_canary = get("canary").is_some_and(|value| value == "true");
        if is_canary && action != BulkAction::Replay {
            return Err(Problem::wrong_query("Only a replay can begin with a few requests."));
        }
        let picks: Vec<_> = pairs.iter().filter(|(name, _)| name == "pick").collect();
        let ids = picks.iter().filter_map(|(_, id)| Uuid::try_parse(id).ok());
        let mut seen = HashSet::new();
        let ids: Vec<_> = ids.filter(|id| seen.insert(*id)).take(MAX_IDS).collect();
        if ids.is_empty() && !picks.is_empty() {
            // Whoever has chosen some does not mean all that the filters have.
            return Err(Problem::wrong_query("What was chosen are no ids of requests."));
        }
        let selection = match ids.is_empty() {
            true => Selection::Filters(filters(pairs, action)?),
            false => Selection::Ids(ids),
        };
        Ok(Self { action, selection, is_canary })
    }

    /// The plan as fields of a form.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let action = ("action".to_owned(), self.action.name().to_owned());
        let canary = self.is_canary.then(|| ("canary".to_owned(), "true".to_owned()));
        let others = match &self.selection {
            Selection::Ids(ids) => {
                ids.iter().map(|id| ("pick".to_owned(), id.to_string())).collect()
            }
            Selection::Filters(filters) => filters.clone(),
        };
        [action].into_iter().chain(canary).chain(others).collect()
    }

    /// Which requests, in words.
    pub(crate) fn words(&self) -> String {
        match &self.selection {
            Selection::Ids(_) => "Those that were chosen one by one.".to_owned(),
            Selection::Filters(filters) => {
                let filters: Vec<_> =
                    filters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                format!("All with {}.", filters.join(", "))
            }
        }
    }

    /// The query for requests of the plan, if it has filters.
    pub(crate) fn query(&self, limit: usize, cursor: Option<String>) -> Option<Query> {
        let Selection::Filters(filters) = &self.selection else { return None };
        let mut pairs: Vec<_> =
            filters.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        pairs.push(("limit", limit.to_string()));
        pairs.extend(cursor.map(|cursor| ("cursor", cursor)));
        let text =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        actix_web::web::Query::from_query(&text).ok().map(actix_web::web::Query::into_inner)
    }

    /// Counts the requests and reads some of them.
    ///
    /// # Errors
    /// If a filter has no valid value, or the store is unavailable.
    pub(crate) async fn preview(&self, state: &State) -> Result<Preview, Problem> {
        let at = state.store.clock().await?;
        if let Selection::Ids(ids) = &self.selection {
            let seen = Seen { newest: None, at };
            let samples =
                list::by_ids(state, ids.iter().copied().take(MAX_SAMPLES).collect()).await?;
            let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            return Ok(Preview { count, is_capped: false, samples, seen });
        }
        let query = self.query(MAX_IDS, None);
        let query = query.ok_or_else(|| Problem::wrong_query("There is no such filter."))?;
        let query = Query { count: Some("true".into()), ..query };
        let now = Uuid::now_v7();
        let mut page = list::page_of(state, query).await?;
        let (count, is_capped) = counted(&page);
        let newest = page.items.first().map_or(now, |newest| newest.request_id);
        let seen = Seen { newest: Some(newest), at };
        page.items.truncate(MAX_SAMPLES);
        Ok(Preview { count, is_capped, samples: page.items, seen })
    }
}

/// How many requests a list has, of which this is the first page, and whether there may be more. The store's count has
/// queued ones, too, that are worked on; a page has not.
fn counted(page: &list::Page) -> (u32, bool) {
    let shown = u32::try_from(page.items.len()).unwrap_or(u32::MAX);
    match (&page.next_cursor, page.count) {
        (None, _) => (shown, false),
        (Some(_), Some(count)) => (count, page.is_count_capped == Some(true)),
        (Some(_), None) => (shown, true),
    }
}

/// The filters of a form. Without any, all requests would be meant: that is more likely a mistake.
fn filters(
    pairs: &[(String, String)],
    action: BulkAction,
) -> Result<Vec<(String, String)>, Problem> {
    let is_filter = |name: &str| !NO_FILTERS.contains(&name);
    let mut filters: Vec<_> = pairs
        .iter()
        .filter(|(name, value)| is_filter(name) && !value.is_empty())
        .cloned()
        .collect();
    if filters.is_empty() {
        return Err(Problem::wrong_query(
            "Nothing was chosen: choose requests, or filter the list first.",
        ));
    }
    let status = action.status();
    match filters.iter().find(|(name, _)| name == "status") {
        Some((_, chosen)) if chosen != status => {
            let label = action.label();
            let detail = format!(
                "{label} is for requests that are {status}, and the list has {chosen} ones."
            );
            return Err(Problem::wrong_query(detail));
        }
        Some(_) => {}
        None => filters.push(("status".to_owned(), status.to_owned())),
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(query: &str) -> Result<Plan, Problem> {
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Plan::of(&pairs)
    }

    #[test]
    fn filters_choose_requests_of_the_status_that_the_action_is_for() {
        let chosen = plan("action=replay&canary=true&type=a%26b&cursor=a0&limit=9").unwrap();
        assert_eq!(chosen.words(), "All with type = a&b, status = failed.");
        assert!(chosen.is_canary);
        let again: Vec<_> = chosen.pairs();
        assert_eq!(Plan::of(&again).unwrap(), chosen);
        let json = serde_json::to_string(&chosen).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), chosen, "{json}");
        assert!(plan("action=cancel&status=queued").is_ok());
    }

    #[test]
    fn an_empty_or_contradictory_choice_is_refused() {
        for query in [
            "action=replay",
            "action=replay&limit=5&type=",
            "action=replay&status=completed",
            "action=discard&status=failed&canary=true",
            "action=retry-now&status=queued",
            "action=explode&status=failed",
            "status=failed",
            "action=replay&type=a&pick=x",
        ] {
            assert!(plan(query).is_err(), "{query}");
        }
    }

    #[test]
    fn chosen_ids_go_before_filters() {
        let id = Uuid::now_v7();
        let chosen = plan(&format!("action=discard&status=queued&pick={id}&pick=x")).unwrap();
        assert_eq!(chosen.selection, Selection::Ids(vec![id]));
    }

    #[test]
    fn an_id_that_is_chosen_twice_is_one_request() {
        let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
        let picked = format!("action=replay&canary=true&pick={one}&pick={other}&pick={one}");
        assert_eq!(plan(&picked).unwrap().selection, Selection::Ids(vec![one, other]));
    }
}
