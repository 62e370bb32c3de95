//! What was found out about each rule.

use owo_colors::{AnsiColors, OwoColorize, Stream};
use serde::Serialize;

use super::rules::Rule;
use crate::{
    arguments::Format,
    exit::{Exit, Failure},
    output,
    text::escape_controls,
};

/// How a worker keeps a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Kept,
    /// What was seen instead.
    Broken(String),
    /// Why it was not checked.
    NotChecked(String),
}

/// The verdicts so far. Each is printed at once, for people.
#[derive(Debug)]
pub(super) struct Report {
    format: Format,
    verdicts: Vec<(Rule, Verdict)>,
}

#[derive(Serialize)]
struct Line<'a> {
    rule: &'static str,
    requires: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Self { format, verdicts: Vec::new() }
    }

    /// Adds a verdict. The first one about a rule that it breaks holds.
    ///
    /// # Errors
    /// If it can't be printed.
    pub(super) fn add(&mut self, rule: Rule, verdict: Verdict) -> Result<(), Failure> {
        if self.knows(rule) {
            return Ok(());
        }
        if self.format == Format::Text {
            output::answer(escape_controls(&text(rule, &verdict), &['\u{1b}', '\n']))?;
        }
        self.verdicts.push((rule, verdict));
        Ok(())
    }

    /// Whether there is a verdict about a rule.
    pub(super) fn knows(&self, rule: Rule) -> bool {
        self.verdicts.iter().any(|(known, _)| *known == rule)
    }

    /// Says why the rules that there is no verdict about were not checked, and prints the rest.
    ///
    /// # Errors
    /// If it can't be printed.
    pub(super) fn end(mut self, reason: &str) -> Result<Exit, Failure> {
        for rule in Rule::ALL {
            self.add(rule, Verdict::NotChecked(reason.to_owned()))?;
        }
        let broken = self.count(|verdict| matches!(verdict, Verdict::Broken(_)));
        match self.format {
            Format::Json => {
                let lines: Vec<_> = self.verdicts.iter().map(line).collect();
                let rules = serde_json::json!({"conforms": broken == 0, "rules": lines});
                output::answer(rules)?;
            }
            Format::Text => output::note(self.summary(broken)),
        }
        Ok(if broken == 0 { Exit::Completed } else { Exit::Other })
    }

    fn summary(&self, broken: usize) -> String {
        let kept = self.count(|verdict| *verdict == Verdict::Kept);
        let rest = match self.verdicts.len() - kept - broken {
            0 => String::new(),
            rest => format!(", {rest} not checked"),
        };
        match broken {
            0 => format!("the worker keeps the contract: {kept} rules{rest}"),
            _ => format!("the worker breaks {broken} of {} rules{rest}", self.verdicts.len()),
        }
    }

    fn count(&self, is_it: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| is_it(verdict)).count()
    }
}

fn text(rule: Rule, verdict: &Verdict) -> String {
    let word = |text: &'static str, colour: AnsiColors| {
        text.if_supports_color(Stream::Stdout, |text| text.color(colour)).to_string()
    };
    let (name, rule) = (rule.name(), rule.text());
    match verdict {
        Verdict::Kept => format!("{} {name}: {rule}", word("ok          ", AnsiColors::Green)),
        Verdict::Broken(seen) => {
            let word = word("broken      ", AnsiColors::Red);
            format!("{word} {name}: {rule}\n             seen: {seen}")
        }
        Verdict::NotChecked(reason) => format!("not checked  {name}: {reason}"),
    }
}

fn line((rule, verdict): &(Rule, Verdict)) -> Line<'_> {
    let (outcome, detail) = match verdict {
        Verdict::Kept => ("kept", None),
        Verdict::Broken(seen) => ("broken", Some(seen.as_str())),
        Verdict::NotChecked(reason) => ("not-checked", Some(reason.as_str())),
    };
    Line { rule: rule.name(), requires: rule.text(), outcome, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_says_what_was_seen() {
        let broken = Verdict::Broken("it acked first".to_owned());
        let text = text(Rule::AckAfterConfirm, &broken);
        assert!(text.contains("ack-after-confirm: ack a request when"), "{text}");
        assert!(text.ends_with("\n             seen: it acked first"), "{text}");
    }

    #[test]
    fn the_first_verdict_about_a_rule_holds() {
        let mut report = Report::new(Format::Json);
        report.add(Rule::Malformed, Verdict::Broken("it died".to_owned())).unwrap();
        report.add(Rule::Malformed, Verdict::Kept).unwrap();
        assert_eq!(report.verdicts.len(), 1);
        assert_eq!(report.summary(1), "the worker breaks 1 of 1 rules");
    }

    #[test]
    fn all_rules_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Rule::ALL.map(Rule::name).into();
        assert_eq!(names.len(), Rule::ALL.len());
    }
}
