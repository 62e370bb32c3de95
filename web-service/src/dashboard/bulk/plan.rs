//! What a bulk action is to do: the action, and the requests by their ids or by filters.

use uuid::Uuid;

use crate::{
    api::{
        http::problem::Problem,
        requests::list::{self, Query},
        state::State,
    },
    dashboard::{actions::Action, format::of},
    views::request::{RequestStatus, RequestView},
};

/// How many requests can be chosen one by one: those of a page.
const MAX_IDS: usize = 500;
/// How many samples a dry run shows.
const MAX_SAMPLES: usize = 5;
/// What a form has beside filters.
const NO_FILTERS: [&str; 7] = ["action", "cursor", "limit", "count", "confirm", "newest", "done"];

/// An action on many requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dashboard) struct Plan {
    pub(in crate::dashboard) action: Action,
    pub(in crate::dashboard) selection: Selection,
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dashboard) enum Selection {
    /// These.
    Ids(Vec<Uuid>),
    /// Those that a list with these filters has.
    Filters(Vec<(String, String)>),
}

/// What a dry run finds.
pub(in crate::dashboard) struct Preview {
    /// How many requests.
    pub(in crate::dashboard) count: u32,
    /// Whether there may be more than that.
    pub(in crate::dashboard) is_capped: bool,
    /// Some of them.
    pub(in crate::dashboard) samples: Vec<RequestView>,
    /// The newest one: those that come later are not meant.
    pub(in crate::dashboard) newest: Option<Uuid>,
}

impl Plan {
    /// The plan that a form or an address describes.
    ///
    /// # Errors
    /// If the action is none for many requests, or nothing chooses the requests.
    pub(in crate::dashboard) fn of(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let get =
            |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let action = get("action").and_then(|name| Action::named(name));
        let action = action.filter(|action| status_for(*action).is_some());
        let action = action.ok_or_else(|| {
            Problem::wrong_query("An action on many requests is replay, discard or cancel.")
        })?;
        let ids = pairs.iter().filter(|(name, _)| name == "pick");
        let ids: Vec<_> =
            ids.filter_map(|(_, id)| Uuid::try_parse(id).ok()).take(MAX_IDS).collect();
        let selection = if ids.is_empty() {
            Selection::Filters(filters(pairs, action)?)
        } else {
            Selection::Ids(ids)
        };
        Ok(Self { action, selection })
    }

    /// The plan as fields of a form.
    pub(in crate::dashboard) fn pairs(&self) -> Vec<(String, String)> {
        let action = ("action".to_owned(), self.action.name().to_owned());
        let others = match &self.selection {
            Selection::Ids(ids) => {
                ids.iter().map(|id| ("pick".to_owned(), id.to_string())).collect()
            }
            Selection::Filters(filters) => filters.clone(),
        };
        [action].into_iter().chain(others).collect()
    }

    /// Which requests, in words.
    pub(in crate::dashboard) fn words(&self) -> String {
        match &self.selection {
            Selection::Ids(_) => "Those that were chosen in the list.".to_owned(),
            Selection::Filters(filters) => {
                let filters: Vec<_> =
                    filters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                format!("All with {}.", filters.join(", "))
            }
        }
    }

    /// The query for requests of the plan, if it has filters.
    pub(in crate::dashboard) fn query(
        &self,
        limit: usize,
        cursor: Option<String>,
    ) -> Option<Query> {
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
    pub(in crate::dashboard) async fn preview(&self, state: &State) -> Result<Preview, Problem> {
        if let Selection::Ids(ids) = &self.selection {
            let samples =
                list::by_ids(state, ids.iter().copied().take(MAX_SAMPLES).collect()).await?;
            let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            return Ok(Preview { count, is_capped: false, samples, newest: None });
        }
        let query = self.query(MAX_IDS, None);
        let query = query.ok_or_else(|| Problem::wrong_query("There is no such filter."))?;
        let query = Query { count: Some("true".into()), ..query };
        let mut page = list::page_of(state, query).await?;
        let (count, is_capped) = counted(&page);
        let newest = page.items.first().map(|newest| newest.request_id);
        page.items.truncate(MAX_SAMPLES);
        Ok(Preview { count, is_capped, samples: page.items, newest })
    }
}

impl Preview {
    /// How many requests, in words.
    pub(in crate::dashboard) fn words(&self) -> String {
        let words = of(self.count.into(), "request", "requests");
        if self.is_capped { format!("{words} or more") } else { words }
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

/// The status of the requests that an action is for; none if it is not for many.
fn status_for(action: Action) -> Option<RequestStatus> {
    match action {
        Action::Replay | Action::Discard => Some(RequestStatus::Failed),
        Action::Cancel => Some(RequestStatus::Queued),
        Action::RetryNow | Action::RetryCallback => None,
    }
}

/// The filters of a form. Without any, all requests would be meant: that is more likely a mistake.
fn filters(pairs: &[(String, String)], action: Action) -> Result<Vec<(String, String)>, Problem> {
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
    let status = status_for(action).map(RequestStatus::name).unwrap_or_default();
    match filters.iter().find(|(name, _)| name == "status") {
        Some((_, chosen)) if chosen != status => {
            let detail = format!(
                "{} is for requests that are {status}, and the list has {chosen} ones.",
                action.label()
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
        let chosen = plan("action=replay&type=a%26b&cursor=a0&limit=9").unwrap();
        assert_eq!(chosen.words(), "All with type = a&b, status = failed.");
        let again: Vec<_> = chosen.pairs();
        assert_eq!(Plan::of(&again).unwrap(), chosen);
        assert!(plan("action=cancel&status=queued").is_ok());
    }

    #[test]
    fn an_empty_or_contradictory_choice_is_refused() {
        for query in [
            "action=replay",
            "action=replay&limit=5&type=",
            "action=replay&status=completed",
            "action=retry-now&status=queued",
            "action=explode&status=failed",
            "status=failed",
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
}
