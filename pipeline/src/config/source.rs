//! Sources of settings: flags, the environment, or `.env`.

use std::{collections::HashMap, io::ErrorKind, path::Path};

use crate::config::variables::Variable;

/// Where values come from: flags before the environment before a `.env` file.
///
/// Tests build one from a map instead of changing the process's environment.
#[derive(Default)]
pub struct Source {
    flags: HashMap<String, String>,
    environment: HashMap<String, String>,
    file: HashMap<String, String>,
}

/// Where a value came from; a smaller one has precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A flag on the command line.
    Flag,
    /// The environment.
    Environment,
    /// The file `.env` in the current folder.
    File,
}

/// Why the file `.env` can't be used. No message contains a value, which may be secret.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// It exists and can't be read.
    #[error("{0} can't be read: {1}")]
    Unreadable(String, std::io::Error),
    /// It can't be parsed: the file, and the place of the error if known.
    #[error("{0} can't be understood{1}; put values with spaces or # in quotes")]
    Syntax(String, String),
}

impl Source {
    /// The process's environment and `./.env`; never a parent folder's, so that a program started
    /// in the wrong place doesn't use the broker of another project.
    ///
    /// # Errors
    /// [`EnvFileError`] if `.env` exists and can't be read or parsed.
    pub fn of_process(flags: HashMap<String, String>) -> Result<Self, EnvFileError> {
        Self::of_process_in(Path::new(""), flags)
    }

    /// Like [`Source::of_process`], with the `.env` of `folder` instead of the current one.
    ///
    /// # Errors
    /// [`EnvFileError`] if `.env` exists and can't be read or parsed.
    pub fn of_process_in(
        folder: &Path,
        flags: HashMap<String, String>,
    ) -> Result<Self, EnvFileError> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self { flags, environment, file: read_file(&folder.join(".env"))? })
    }

    /// A source with these values, as if they were set in the environment.
    pub fn of(values: &[(&str, &str)]) -> Self {
        let environment = values.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { environment, ..Self::default() }
    }

    /// The names that `.env` sets, except these, in their order.
    pub(crate) fn other_names_in_file<'a>(&'a self, known: &[&Variable]) -> Vec<&'a str> {
        let is_known = |name: &str| known.iter().any(|variable| variable.name == name);
        let names = self.file.keys().map(String::as_str).filter(|name| !is_known(name));
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    /// The value that is set for a variable and where it came from. An empty value is none.
    pub fn get(&self, variable: &Variable) -> Option<(&str, Origin)> {
        self.value(variable.name)
    }

    /// The same for a name that Slowlane has no variable for.
    pub fn value(&self, name: &str) -> Option<(&str, Origin)> {
        let places = [
            (&self.flags, Origin::Flag),
            (&self.environment, Origin::Environment),
            (&self.file, Origin::File),
        ];
        places.into_iter().find_map(|(values, origin)| {
            let value = values.get(name)?.trim();
            (!value.is_empty()).then_some((value, origin))
        })
    }
}

/// Whether the log may have colours: unless `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn allows_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn read_file(path: &Path) -> Result<HashMap<String, String>, EnvFileError> {
    let shown = || path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(EnvFileError::Unreadable(shown(), error)),
    };
    dotenvy::from_read_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| EnvFileError::Syntax(shown(), place(&text, &error)))
}

/// The place of the error, without the line's text, since that may be a password.
fn place(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(part, _) = error else { return String::new() };
    let found = text.lines().enumerate().find(|(_, line)| line.contains(part.as_str()));
    found.map_or_else(String::new, |(index, line)| {
        let name = line.split_once('=').map_or("", |(name, _)| name).trim();
        format!(" in line {} ({name})", index + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        BrokerConfig,
        reader::Reader,
        variables::{AMQP_URL, HTTP_ADDR},
    };

    fn map(value: &str) -> HashMap<String, String> {
        HashMap::from([("HTTP_ADDR".to_owned(), value.to_owned())])
    }

    #[test]
    fn a_flag_comes_before_the_environment_before_the_file() {
        let mut source = Source { flags: map("flag"), environment: map("env"), file: map("file") };
        assert_eq!(source.get(&HTTP_ADDR), Some(("flag", Origin::Flag)));
        source.flags = map(" ");
        assert_eq!(source.get(&HTTP_ADDR), Some(("env", Origin::Environment)));
        source.environment.clear();
        assert_eq!(source.get(&HTTP_ADDR), Some(("file", Origin::File)));
        assert_eq!(source.get(&AMQP_URL), None);
    }

    #[test]
    fn the_strongest_place_names_the_broker() {
        let url = |name: &str, host| HashMap::from([(name.to_owned(), format!("amqp://{host}"))]);
        let file = url("AMQP_URL", "file");
        let named_by = |source: Source| BrokerConfig::read(&mut Reader::new(&source)).named_by;
        let flags = url("CLOUDAMQP_URL", "flag");
        assert_eq!(
            named_by(Source { flags, file: file.clone(), ..Source::default() }),
            "CLOUDAMQP_URL"
        );
        let mut both = file.clone();
        both.extend(url("CLOUDAMQP_URL", "file"));
        assert_eq!(named_by(Source { file: both, ..Source::default() }), "AMQP_URL");
    }

    #[test]
    fn a_broken_file_is_named_without_what_stands_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "AMQP_URL=amqp://u:hunter2@h word\n").unwrap();
        let error = read_file(&path).unwrap_err().to_string();
        assert!(error.contains("AMQP_URL") && !error.contains("hunter2"), "{error:?}");
        assert!(read_file(&folder.path().join("none")).unwrap().is_empty());
    }
}
