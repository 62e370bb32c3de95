//! `slowlane doctor`: looks for what is wrong, and says how to mend it.

use owo_colors::{AnsiColors, OwoColorize, Stream};

use crate::{
    api::{
        client::Client,
        diagnosis::{Diagnosis, Finding, NotSeen, Passed},
    },
    arguments::Format,
    exit::{Exit, Failure},
    output,
    text::{escape_controls, one_line},
};

/// Prints what was found.
pub(super) async fn run(client: &Client, format: Format) -> Result<Exit, Failure> {
    let told = client.doctor().await?;
    match format {
        Format::Json => output::answer(one_line(told.json()))?,
        Format::Text => {
            for line in lines(&told.details) {
                output::answer(escape_controls(&line, &['\u{1b}']))?;
            }
            output::note(summary(&told.details));
        }
    }
    Ok(if told.details.findings.is_empty() { Exit::Completed } else { Exit::Other })
}

fn lines(told: &Diagnosis) -> Vec<String> {
    let word = |text: &'static str, colour: AnsiColors| {
        text.if_supports_color(Stream::Stdout, |text| text.color(colour)).to_string()
    };
    let [ok, wrong] = [word("ok        ", AnsiColors::Green), word("wrong     ", AnsiColors::Red)];
    let passed = told.passed.iter();
    let passed = passed.map(|Passed { check, detail }| format!("{ok} {check}: {detail}"));
    let unseen = told.unseen.iter();
    let unseen = unseen.map(|NotSeen { check, detail, see }| {
        format!("can't see  {check}: {detail}\n           see:  {see}")
    });
    let findings = told.findings.iter();
    let findings = findings.map(|Finding { check, detail, mend }| {
        format!("{wrong} {check}: {detail}\n           mend: {mend}")
    });
    let lines = passed.chain(unseen).chain(findings);
    lines.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn summary(told: &Diagnosis) -> String {
    let findings = match told.findings.len() {
        0 => "nothing wrong was found".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        count => format!("{count} things are wrong"),
    };
    format!(
        "{findings}; {} checks passed, {} can't be made from here",
        told.passed.len(),
        told.unseen.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_last_with_what_mends_them() {
        let told: Diagnosis = serde_json::from_str(
            r#"{"findings":[{"check":"workers","detail":"No worker consumes","mend":"start one"}],
            "unseen":[{"check":"policies","detail":"Policies","see":"rabbitmqctl list_policies"}],
            "passed":[{"check":"store","detail":"it answers"}]}"#,
        )
        .unwrap();
        let expected = [
            "ok         store: it answers",
            "can't see  policies: Policies",
            "           see:  rabbitmqctl list_policies",
            "wrong      workers: No worker consumes",
            "           mend: start one",
        ];
        assert_eq!(lines(&told), expected);
        assert_eq!(summary(&told), "1 thing is wrong; 1 checks passed, 1 can't be made from here");
    }
}
