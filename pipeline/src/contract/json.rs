//! JSON bodies: reads objects and keeps raw fields unchanged.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::contract::encoding::utf8;

/// Reads a field that is there as raw text, also when it is `null`: a plain `Option` would take
/// that for absence.
pub(super) fn present<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}

/// Reads a field that may be `null` as if it were not there; for `#[serde(default)]`.
pub(super) fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    field: D,
) -> Result<T, D::Error> {
    Option::deserialize(field).map(Option::unwrap_or_default)
}

/// Reads a JSON object. Serde alone would take an array for one, by position.
pub(super) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    let text = utf8(body).map_err(|error| error.to_string())?;
    match text.trim_ascii_start().bytes().next() {
        None => Err("it is empty".to_owned()),
        Some(b'{') => serde_json::from_str(text).map_err(|error| error.to_string()),
        Some(_) => Err("it is not a JSON object".to_owned()),
    }
}
