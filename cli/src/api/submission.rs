//! The body of a submission: what `POST /api/v1/processData` takes.

use serde::Serialize;
use serde_json::value::RawValue;

/// A request to submit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Submission<'a> {
    pub(crate) data: &'a RawValue,
    /// The type of the request; the service's default if none is given.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'a str>,
    /// A duration like `10m`, after which a request that has not started fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) callback_url: Option<&'a str>,
}

impl<'a> Submission<'a> {
    /// A submission with data alone.
    pub(crate) fn new(data: &'a RawValue) -> Self {
        Self { data, kind: None, expires_in: None, callback_url: None }
    }

    /// The submission as JSON; the data keeps its text.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and checked JSON serialize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_keeps_the_text_of_the_data_and_leaves_out_unset_fields() {
        let data = RawValue::from_string("{\"b\":1e400, \"a\":1}".to_owned()).unwrap();
        let plain = Submission::new(&data);
        assert_eq!(plain.json(), r#"{"data":{"b":1e400, "a":1}}"#);
        let expiring = Submission { expires_in: Some("10m"), ..Submission::new(&data) }.json();
        assert!(expiring.ends_with(r#","expiresIn":"10m"}"#), "{expiring}");
        let typed = Submission { kind: Some("video"), ..Submission::new(&data) }.json();
        assert!(typed.ends_with(r#","type":"video"}"#), "{typed}");
        let callback_url = Some("https://a/");
        let with_callback = Submission { callback_url, ..Submission::new(&data) }.json();
        assert!(with_callback.ends_with(r#","callbackUrl":"https://a/"}"#), "{with_callback}");
    }
}
