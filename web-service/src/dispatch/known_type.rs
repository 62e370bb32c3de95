//! Known types: those for which there are queues.

use pipeline::topology::{RequestType, RequestTypes};

/// The most characters of an unknown type that its error shows.
const MAX_SHOWN_CHARS: usize = 60;

/// A type for which there is no queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no type {name:?}; the types are: {types} (TYPES)")]
pub struct UnknownType {
    /// The beginning of its name.
    name: String,
    /// Those that there are.
    types: RequestTypes,
}

/// The type of this name, if it is among these.
///
/// # Errors
/// If it is not.
pub(crate) fn known_type(types: &RequestTypes, name: &str) -> Result<RequestType, UnknownType> {
    let found = name.parse().ok().filter(|it| types.contains(it));
    found.ok_or_else(|| UnknownType {
        name: name.chars().take(MAX_SHOWN_CHARS).collect(),
        types: types.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_unknown_is_told_with_those_that_there_are() {
        let names = ["default", "video"].map(|name| name.parse().unwrap());
        let types = RequestTypes::new(names).unwrap();
        assert_eq!(known_type(&types, "video").unwrap().as_str(), "video");
        for (name, shown) in [("audio", "\"audio\""), ("A\n", r#""A\n""#), ("", "\"\"")] {
            let error = known_type(&types, name).unwrap_err().to_string();
            let expected =
                format!("there is no type {shown}; the types are: default, video (TYPES)");
            assert_eq!(error, expected);
        }
        let long = known_type(&types, &"ä".repeat(100_000)).unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }
}
