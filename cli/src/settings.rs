//! Settings that hold for every command: flags joined with the environment and `.env`.

use std::{collections::HashMap, time::Duration};

use pipeline::config::{self, ConfigError, Reader, Source, variables::SLOWLANE_URL};
use url::Url;

use crate::arguments::{Arguments, Format};

/// The settings of a command.
#[derive(Clone)]
pub(crate) struct Settings {
    /// `SLOWLANE_URL`. It may hold a password.
    pub(crate) url: Url,
    pub(crate) format: Format,
    /// `--retry-for`; without it each command has its own default.
    pub(crate) retry_for: Option<Duration>,
}

impl Settings {
    /// Joins the flags with the environment and `.env`.
    ///
    /// # Errors
    /// If the URL can't be used, or `.env` can't be read.
    pub(crate) fn read(arguments: &Arguments) -> Result<Self, ConfigError> {
        let flag = arguments.url.iter().map(|url| (SLOWLANE_URL.name.to_owned(), url.clone()));
        let source = Source::of_process(flag.collect::<HashMap<_, _>>())?;
        let mut reader = Reader::new(&source);
        let url = reader.read(&SLOWLANE_URL, config::http_url);
        reader.finish()?;
        Ok(Self { url, format: arguments.output, retry_for: arguments.retry_for })
    }
}
