//! The id in a body that can't be read: truncated text, `NaN`, another encoding.

use serde_json::value::RawValue;

use crate::contract::{
    encoding::lossy,
    id::{MAX_ID_BYTES, RequestId},
};

/// The field of a request and of a result that has the id.
const FIELD: &str = "requestId";

/// The `requestId` of a body that is not JSON, if it can be told: that of the outermost object, not of the
/// payload. None if there are different ones.
pub(super) fn find(body: &[u8]) -> Option<RequestId> {
    let text = lossy(body);
    let text = text.trim_start();
    // JSON that was made a string, and so JSON again.
    if let Ok(inner) = serde_json::from_str::<String>(text) {
        return find_in(inner.trim_start());
    }
    find_in(text)
}

fn find_in(text: &str) -> Option<RequestId> {
    let mut scanner = Scanner { rest: text.trim_start_matches(['[', ' ', '\t', '\r', '\n']) };
    let (mut depth, mut found) = (0_usize, None);
    while let Some(token) = scanner.next() {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Text(name) if depth == 1 && name == FIELD => {
                let Some(id) = scanner.value() else { continue };
                match &found {
                    Some(other) if *other != id => return None,
                    _ => found = Some(id),
                }
            }
            Token::Text(_) | Token::Other => {}
        }
    }
    found
}

enum Token {
    Open,
    Close,
    /// A string in quotes.
    Text(String),
    Other,
}

/// Reads what looks like JSON, token by token.
struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<Token> {
        let first = self.rest.chars().next()?;
        if let '"' | '\'' = first {
            return Some(Token::Text(self.string(first)?));
        }
        self.rest = &self.rest[first.len_utf8()..];
        Some(match first {
            '{' | '[' => Token::Open,
            '}' | ']' => Token::Close,
            _ => Token::Other,
        })
    }

    /// A string with its quotes; none if it does not end.
    fn string(&mut self, quote: char) -> Option<String> {
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, char)| {
            let is_end = *char == quote && !is_escaped;
            is_escaped = *char == '\\' && !is_escaped;
            is_end
        });
        let (text, rest) = self.rest.split_at(end?.0 + 1);
        self.rest = rest;
        let plain = || text[1..text.len() - 1].to_owned();
        Some(serde_json::from_str(text).unwrap_or_else(|_| plain()))
    }

    /// The value behind a name, if it can be an id and does not end with the text.
    fn value(&mut self) -> Option<RequestId> {
        let rest = self.rest.trim_start().strip_prefix(':')?.trim_start();
        self.rest = rest;
        let json = match rest.chars().next()? {
            quote @ ('"' | '\'') => serde_json::to_string(&self.string(quote)?).ok()?,
            _ => {
                // No further than an id can reach: a body may have very many values without an end.
                let mut bytes = rest.bytes().take(MAX_ID_BYTES + 1);
                let end = bytes.position(|byte| b",} \t\r\n".contains(&byte))?;
                rest[..end].to_owned()
            }
        };
        RequestId::parse(&RawValue::from_string(json).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1fd87-448c-755a-a380-a6f598ec5ae1";

    fn found(body: &[u8]) -> Option<String> {
        find(body).map(|id| id.text().to_owned())
    }

    #[test]
    fn the_id_of_a_body_that_is_not_json_is_found() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let whole = format!(r#"{{"requestId": "{ID}", "processingResults": 1}}"#);
        for body in [
            format!(r#"{{"requestId":"{ID}","processingResults":{{"a":NaN}}}}"#).into_bytes(),
            format!(r#"{{"processingResults":[-Infinity,"\"{{"], "requestId" :"{ID}"}}"#).into(),
            format!(r#"{{"requestId":"{ID}","processingResults":{{"requestId":"other","#).into(),
            format!(r#"{{"requestId":"{ID}""#).into(),
            format!(r#"{{'requestId': '{ID}', 'processingResults': None}}"#).into(),
            format!(r#"[{{"requestId":"{ID}","processingResults":1}}]"#).into(),
            serde_json::to_vec(&whole).unwrap(),
            utf16(&whole),
            [whole.as_bytes(), b"\xff"].concat(),
        ] {
            assert_eq!(found(&body).as_deref(), Some(ID), "{}", String::from_utf8_lossy(&body));
        }
        assert_eq!(found(br#"{"requestId":7,"processingResults":NaN}"#).as_deref(), Some("7"));
    }

    #[test]
    fn a_long_number_is_found_whole_or_not_at_all() {
        let body = |digits| format!(r#"{{"requestId":{},NaN}}"#, "7".repeat(digits));
        let longest = found(body(MAX_ID_BYTES).as_bytes()).unwrap();
        assert_eq!(longest.len(), MAX_ID_BYTES);
        assert_eq!(found(body(MAX_ID_BYTES + 1).as_bytes()), None);
    }

    #[test]
    fn a_long_body_of_values_without_an_end_is_read_once() {
        // It takes hours if the end of each value is looked for in all that follows.
        let body = format!("{{{}", "\"requestId\":ü".repeat(300_000));
        assert_eq!(found(body.as_bytes()), None);
    }

    #[test]
    fn what_is_not_surely_the_id_is_none() {
        for body in [
            "",
            "requestId",
            "{\"requestId\":\"01a1fd87-448c",
            "{\"requestId\":12",
            "{\"requestId\":NaN,",
            "{\"requestId\":{\"requestId\":\"a\"},",
            "{\"processingResults\":{\"requestId\":\"a\"},NaN}",
            "{\"processingResults\":\"\\\"requestId\\\":\\\"a\\\"\", NaN}",
            "{\"requestId\":\"a\",\"processingResults\":1}\n{\"requestId\":\"b\"}",
        ] {
            assert_eq!(found(body.as_bytes()), None, "{body}");
        }
    }
}
