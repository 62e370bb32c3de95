//! Names in `.env` that no program reads: most likely misspelt.

use strsim::damerau_levenshtein;

use crate::config::{
    source::Source,
    variables::{self, Variable},
};

/// The names in `.env` that no program reads. `.env` is for all programs, so names that another one reads are fine.
#[derive(Debug, Default)]
pub(crate) struct UnknownNames<'a> {
    /// Those that look like the name of a variable, with that.
    pub(crate) misspelt: Vec<(&'a str, &'static str)>,
    /// The others.
    pub(crate) others: Vec<&'a str>,
}

/// Finds such names; `own` are the variables of this program.
pub(crate) fn unknown_names<'a>(source: &'a Source, own: &[&'static Variable]) -> UnknownNames<'a> {
    let known = [variables::ALL, own].concat();
    let mut unknown = UnknownNames::default();
    for name in source.other_names_in_file(&known) {
        match nearest(name, &known) {
            Some(nearest) => unknown.misspelt.push((name, nearest)),
            None => unknown.others.push(name),
        }
    }
    unknown
}

/// The variable that may be meant: the nearest, if no more than a fifth of its name differs.
fn nearest(name: &str, known: &[&'static Variable]) -> Option<&'static str> {
    let distance = |variable: &&'static Variable| {
        (damerau_levenshtein(&name.to_uppercase(), variable.name), variable.name)
    };
    let (distance, nearest) = known.iter().map(distance).min()?;
    (distance * 5 <= nearest.len()).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_for_the_variable_that_it_is_nearest_to() {
        let nearest = |name| nearest(name, variables::ALL);
        for (name, meant) in [
            ("WORKER", "WORKERS"),
            ("PROCESING_DELAY", "PROCESSING_DELAY"),
            ("workers", "WORKERS"),
            ("AMQP_URI", "AMQP_URL"),
            ("DATABSE_URL", "DATABASE_URL"),
            ("JOB_TIMEOUTS", "JOB_TIMEOUT"),
        ] {
            assert_eq!(nearest(name), Some(meant), "{name}");
        }
        for name in ["OPENAI_API_KEY", "PORT", "RUST_BACKTRACE", "SMTP_URL", "REDIS_URL", ""] {
            assert_eq!(nearest(name), None, "{name}");
        }
    }
}
