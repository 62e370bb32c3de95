//! Whether unicode and numbers come through: the work has to return its data, or a text with them.

use pipeline::topology;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use crate::{
    commands::conformance::{
        checks::{
            asked::{Asked, broken, result_of},
            kept_headers,
        },
        report::{Report, Verdict},
        rules::Rule,
        stage::{Arrived, Stage},
    },
    exit::Failure,
};

pub(super) const TEXT: &str = "Zażółć gęślą jaźń, 漢字, 😀";
/// None of them is a number of 64 bits with a floating point.
const NUMBERS: [&str; 4] =
    ["12345678901234567890", "9007199254740993", "0.1234567890123456789012345", "1e400"];

/// The part of a result that the work has returned, as it was written.
#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow, rename = "processingResults")]
    results: &'a RawValue,
}

pub(super) async fn content(stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let text = format!("[{},{{\"b\":1,\"a\":2}}]", json!(TEXT));
    if let Some(arrived) = returned(stage, report, &text).await? {
        report_text(report, &arrived)?;
        kept_headers::check(report, stage.kind(), &arrived)?;
    }
    let numbers = format!("[{}]", NUMBERS.join(","));
    if let Some(arrived) = returned(stage, report, &numbers).await? {
        report_numbers(report, &arrived)?;
    }
    report.add(Rule::Content, Verdict::Kept)
}

/// What the worker publishes for these data. What is no JSON counts, too: nobody waits for anything better.
async fn returned(
    stage: &mut Stage,
    report: &mut Report,
    data: &str,
) -> Result<Option<Arrived>, Failure> {
    let asked = Asked::new(data);
    stage.publish(asked.properties(stage.kind()), &asked.body).await?;
    let published =
        stage.until(|_, arrived| result_of(&asked.id, arrived).or_else(|| no_json(arrived)));
    match published.await {
        Ok(arrived) => Ok(Some(arrived)),
        Err(silence) => {
            let verdict = broken("publish a result for a list", silence);
            report.add(Rule::Content, verdict).map(|()| None)
        }
    }
}

fn no_json(arrived: &[Arrived]) -> Option<Arrived> {
    let is_it = |message: &&Arrived| {
        message.queue == topology::RESULTS
            && serde_json::from_slice::<IgnoredAny>(&message.body).is_err()
    };
    arrived.iter().find(is_it).cloned()
}

/// Reports a result that does not contain the text that was sent.
pub(super) fn report_text(report: &mut Report, arrived: &Arrived) -> Result<(), Failure> {
    let body = serde_json::from_slice::<Value>(&arrived.body).unwrap_or_default();
    match contains(&body["processingResults"], TEXT) {
        true => Ok(()),
        false => report_lost(report, TEXT, arrived),
    }
}

/// Reports a result that lacks one of the numbers.
fn report_numbers(report: &mut Report, arrived: &Arrived) -> Result<(), Failure> {
    match NUMBERS.into_iter().find(|sent| !has_number(&arrived.body, sent)) {
        None => Ok(()),
        Some(lost) => report_lost(report, lost, arrived),
    }
}

fn report_lost(report: &mut Report, sent: &str, arrived: &Arrived) -> Result<(), Failure> {
    let body = String::from_utf8_lossy(&arrived.body);
    let seen = format!("it was sent {sent}, and published {body}");
    report.add(Rule::Content, Verdict::Broken(seen))
}

fn contains(value: &Value, sent: &str) -> bool {
    match value {
        Value::String(text) => text.contains(sent),
        Value::Array(items) => items.iter().any(|item| contains(item, sent)),
        Value::Object(fields) => fields.values().any(|item| contains(item, sent)),
        _ => false,
    }
}

/// Whether a result has a number with all its digits, however it is written.
fn has_number(body: &[u8], sent: &str) -> bool {
    let Ok(Published { results }) = serde_json::from_slice(body) else { return false };
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let mut numbers = results.get().split(|c| !is_of_number(c));
    numbers.any(|number| decimal(number).is_some_and(|it| Some(it) == decimal(sent)))
}

/// A positive number as its digits and the power of ten by which they are multiplied: `1e400` is `10E+399`, too.
fn decimal(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    let power = (digits.len() - significant.len()) as i64 - fraction.len() as i64;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(power)?;
    Some((significant.trim_start_matches('0').to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    use pipeline::contract::Properties;

    use super::*;

    fn arrived(body: &str) -> Arrived {
        Arrived { queue: "", properties: Properties::default(), body: body.as_bytes().to_vec() }
    }

    fn is_reported(
        check: impl Fn(&mut Report, &Arrived) -> Result<(), Failure>,
        results: &str,
    ) -> bool {
        let mut report = Report::new(crate::arguments::Format::Json);
        check(&mut report, &arrived(&format!("{{\"processingResults\":{results}}}"))).unwrap();
        report.knows(Rule::Content)
    }

    #[test]
    fn a_text_is_found_wherever_it_is_in_the_results() {
        assert!(!is_reported(report_text, &json!({"a": [format!("<{TEXT}>")]}).to_string()));
        assert!(is_reported(report_text, "\"Za??\""));
    }

    #[test]
    fn numbers_are_found_in_lists_and_texts_with_all_their_digits() {
        let numbers = NUMBERS.join(",");
        assert!(!is_reported(report_numbers, &format!("[{numbers}]")));
        assert!(!is_reported(report_numbers, &format!("\"[{numbers}]\"")));
        for (sent, rounded) in [
            ("12345678901234567890", "12345678901234567000"),
            ("9007199254740993", "9007199254740992"),
            ("0.1234567890123456789012345", "0.12345678901234568"),
            ("1e400", "null"),
            ("1e400", "Infinity"),
        ] {
            let numbers = numbers.replace(sent, rounded);
            assert!(is_reported(report_numbers, &format!("[{numbers}]")), "{numbers}");
        }
    }

    #[test]
    fn a_number_may_be_written_in_another_way() {
        for same in ["1E+400", "10e399", "1.00e400", "0.1e401"] {
            assert_eq!(decimal(same), decimal("1e400"), "{same}");
        }
        for other in ["1e399", "1e4000", "11e400", "-1e400", "1e", "e400", ""] {
            assert_ne!(decimal(other), decimal("1e400"), "{other}");
        }
    }

    #[test]
    fn a_result_that_is_no_json_is_not_waited_for_any_longer() {
        let [good, bad] = ["[1e400]", "[Infinity]"].map(|body| {
            let queue = topology::RESULTS;
            Arrived { queue, ..arrived(body) }
        });
        let both = [good, bad];
        assert!(no_json(&both[..1]).is_none());
        assert_eq!(no_json(&both).unwrap().body, b"[Infinity]");
    }
}
