//! What a processor is built from when its program starts.

use std::{fmt::Display, str::FromStr};

use pipeline::{
    config::{ConfigError, Source},
    shutdown::Shutdown,
};

use crate::config::Config;

/// What a processor is built from when its program starts: the settings that were read, and its own ones.
#[non_exhaustive]
pub struct Start {
    /// The settings of the program.
    pub config: Config,
    /// Tells when the program is to stop.
    pub shutdown: Shutdown,
    pub(crate) source: Source,
}

impl Start {
    /// A setting of the processor's own, from the environment or else from `.env`. An empty value is none.
    ///
    /// ```
    /// # fn build(start: processor_service::Start) -> Result<(), processor_service::ConfigError> {
    /// let currency: String = start.setting("CURRENCY")?.unwrap_or_else(|| "EUR".to_owned());
    /// let rate: f64 = start.required_setting("RATE")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the value can't be parsed. The error has no value, which may be secret.
    pub fn setting<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        if self.source.is_not_utf8(name) {
            return Err(ConfigError::from(format!("{name}=...: it is not UTF-8")));
        }
        let value = self.source.value(name);
        let parsed = value.map(|(value, _)| value.parse()).transpose();
        parsed.map_err(|error| ConfigError::from(format!("{name}=...: {error}")))
    }

    /// A setting of the processor's own that it can't do without.
    ///
    /// # Errors
    /// If there is no value, or it can't be parsed.
    pub fn required_setting<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ConfigError> {
        self.setting(name)?.ok_or_else(|| ConfigError::from(format!("{name}= is needed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_settings_are_parsed_and_their_values_are_not_told() {
        let source = Source::of(&[("RATE", "hunter2"), ("COUNT", "7"), ("EMPTY", " ")]);
        let config = Config::read(&source).unwrap();
        let start = Start { config, shutdown: Shutdown::default(), source };
        assert_eq!(start.required_setting::<u8>("COUNT").unwrap(), 7);
        assert_eq!(start.setting::<u8>("EMPTY").unwrap(), None);
        let missing = start.required_setting::<u8>("EMPTY").unwrap_err().to_string();
        assert!(missing.ends_with("\n  EMPTY= is needed"), "{missing}");
        let bad = start.setting::<f64>("RATE").unwrap_err().to_string();
        assert!(bad.ends_with("\n  RATE=...: invalid float literal"), "{bad}");
    }
}
