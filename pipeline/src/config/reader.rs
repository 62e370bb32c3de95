//! Reader: reads the variables of a program, and reports all bad values together.

use std::fmt;

use crate::config::{
    env_file::EnvFileError, parse::ParseError, source::Source, variables::Variable,
};

/// Reads variables one after the other and collects the bad values.
pub struct Reader<'a> {
    source: &'a Source,
    problems: Vec<String>,
}

/// All bad values of a program's settings.
#[derive(Debug)]
pub struct ConfigError(Vec<String>);

impl<'a> Reader<'a> {
    /// A reader of this source.
    pub fn new(source: &'a Source) -> Self {
        Self { source, problems: Vec::new() }
    }

    /// Reads a variable that has a default. A bad value is remembered, and the default returned,
    /// so that reading can go on and find the other bad ones.
    ///
    /// # Panics
    /// If the variable has no default or a bad one, which is a mistake in [`crate::config::variables`].
    pub fn read<T>(&mut self, variable: &Variable, parse: fn(&str) -> Result<T, ParseError>) -> T {
        self.read_optional(variable, parse).unwrap_or_else(|| {
            let default = variable.default.expect("a variable read so has a default");
            parse(default).unwrap_or_else(|_| panic!("the default of {} is good", variable.name))
        })
    }

    /// Reads a variable that may be unset.
    pub fn read_optional<T>(
        &mut self,
        variable: &Variable,
        parse: fn(&str) -> Result<T, ParseError>,
    ) -> Option<T> {
        let (value, _) = self.source.get(variable)?;
        let parsed = match self.source.is_not_utf8(variable.name) {
            true => Err(ParseError::because("it is not UTF-8")),
            false => parse(value),
        };
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let shown = if variable.secret { "..." } else { value };
                let name = variable.name;
                let detail = error.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
                self.problem(format!("{name}={shown}: takes {}{detail}", variable.takes));
                None
            }
        }
    }

    /// Where the values come from.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Adds a problem that concerns several values together.
    pub fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// If anything was wrong.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError(self.problems)) }
    }
}

impl From<String> for ConfigError {
    fn from(problem: String) -> Self {
        Self(vec![problem])
    }
}

impl From<EnvFileError> for ConfigError {
    fn from(error: EnvFileError) -> Self {
        Self(vec![error.to_string()])
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration can't be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        parse::{count, duration, duration_or_zero},
        variables,
    };

    #[test]
    fn all_bad_values_are_reported_together() {
        let source =
            Source::of(&[("WORKERS", "many"), ("DRAIN_TIMEOUT", "5"), ("PUBLISH_TIMEOUT", "2s")]);
        let mut reader = Reader::new(&source);
        reader.read(&variables::WORKERS, count);
        reader.read(&variables::DRAIN_TIMEOUT, duration_or_zero);
        let publish = reader.read(&variables::PUBLISH_TIMEOUT, duration);
        assert_eq!(publish.as_secs(), 2);
        let error = reader.finish().unwrap_err().to_string();
        assert!(error.contains("WORKERS=many: takes a number from 1 to 1000"), "{error}");
        assert!(error.contains("DRAIN_TIMEOUT=5: takes 0 or a duration"), "{error}");
        assert!(!error.contains("PUBLISH_TIMEOUT"), "{error}");
    }
}
