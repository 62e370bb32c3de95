//! Pages of lists: query parameters, `limit` and `cursor`.

use std::str::FromStr;

use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::IntoParams;

use crate::api::http::problem::Problem;

/// The number of items on a page if the client does not set `limit`.
const DEFAULT_LIMIT: u32 = 50;
/// The highest `limit`.
const MAX_LIMIT: u32 = 500;

/// The query parameters of a request. All fields of `T` are texts that may be missing.
pub(crate) fn query<T: DeserializeOwned + IntoParams>(request: &HttpRequest) -> Result<T, Problem> {
    let query = request.query_string();
    let known: Vec<_> =
        T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect();
    let mut seen = Vec::new();
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if !known.iter().any(|known| **known == *name) {
            let detail = format!("There is no parameter {name:?}, only {}.", known.join(", "));
            return Err(Problem::wrong_query(detail));
        }
        if seen.contains(&name) {
            return Err(Problem::wrong_query(format!("{name} is given twice.")));
        }
        seen.push(name);
    }
    web::Query::from_query(query)
        .map(web::Query::into_inner)
        .map_err(|_| Problem::wrong_query("The query is malformed."))
}

/// The parameter `limit`.
pub(crate) fn limit(text: Option<&str>) -> Result<u32, Problem> {
    match text.map(str::parse) {
        None => Ok(DEFAULT_LIMIT),
        Some(Ok(limit @ 1..=MAX_LIMIT)) => Ok(limit),
        Some(_) => Err(Problem::wrong_query(format!("limit is a number from 1 to {MAX_LIMIT}"))),
    }
}

/// A parameter that is true or false.
pub(crate) fn flag(name: &str, text: Option<&str>) -> Result<bool, Problem> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::wrong_query(format!("{name} is true or false"))),
    }
}

/// The parameter `cursor`.
pub(crate) fn cursor<T: FromStr>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let cursor = text.map(str::parse).transpose();
    cursor.map_err(|_| Problem::wrong_query("cursor is the nextCursor of a page"))
}

/// Cuts `items` to a page of `limit` items. Returns the last item of the page if another page follows,
/// which one more item than `limit` tells.
pub(crate) fn cut<T>(items: &mut Vec<T>, limit: u32) -> Option<&T> {
    let limit = limit as usize;
    let is_last = items.len() <= limit;
    items.truncate(limit);
    items.last().filter(|_| !is_last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_from_1_to_500() {
        assert_eq!(limit(None).unwrap(), 50);
        assert_eq!((limit(Some("1")).unwrap(), limit(Some("500")).unwrap()), (1, 500));
        for bad in ["0", "501", "-1", "", "many"] {
            assert!(limit(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_more_item_tells_of_another_page() {
        let mut items = vec![5, 4, 3];
        assert_eq!(cut(&mut items, 3), None);
        assert_eq!(cut(&mut items, 2), Some(&4));
        assert_eq!(items, [5, 4]);
    }
}
