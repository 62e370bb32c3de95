//! Sources of settings: flags, the environment, or `.env`.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    path::Path,
};

use crate::config::{
    env_file::{self, EnvFileError},
    variables::Variable,
};

/// Where values come from: flags before the environment before a `.env` file.
///
/// Tests build one from a map instead of changing the process's environment.
#[derive(Default)]
pub struct Source {
    flags: HashMap<String, String>,
    environment: HashMap<String, String>,
    /// The names in the environment whose values are not UTF-8.
    not_utf8: HashSet<String>,
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
        let file = env_file::read(&folder.join(".env"))?;
        Ok(Self { flags, file, ..Self::of_environment(std::env::vars_os()) })
    }

    /// No variable has a name that is not UTF-8. A value that is not is kept, or it would count as unset.
    fn of_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut source = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            let value = value.into_string().unwrap_or_else(|value| {
                source.not_utf8.insert(name.clone());
                value.to_string_lossy().into_owned()
            });
            source.environment.insert(name, value);
        }
        source
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

    /// Whether the value that is set for a name is not UTF-8. What [`Source::value`] gives is not the value then.
    pub fn is_not_utf8(&self, name: &str) -> bool {
        let origin = self.value(name).map(|(_, origin)| origin);
        origin == Some(Origin::Environment) && self.not_utf8.contains(name)
    }

    /// The same as [`Source::get`] for a name that Slowlane has no variable for.
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
        let mut source = Source {
            flags: map("flag"),
            environment: map("env"),
            file: map("file"),
            ..Source::default()
        };
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
    fn a_value_that_is_not_utf_8_is_a_bad_value_unless_a_flag_comes_before_it() {
        use std::os::unix::ffi::OsStringExt;
        let bad = |name: &str, value: &[u8]| (name.into(), OsString::from_vec(value.to_vec()));
        let all = [bad("AMQP_URL", b"amqp://u:hunter2\xe4@h"), bad("HTTP_ADDR", b"\xe4:80")];
        let environment = || Source::of_environment(all.clone().into_iter());
        let problems = |source: &Source| {
            let mut reader = Reader::new(source);
            let named_by = BrokerConfig::read(&mut reader).named_by;
            reader.read(&HTTP_ADDR, crate::config::address);
            (named_by, reader.finish().map_err(|error| error.to_string()))
        };
        let (named_by, refused) = problems(&Source { file: map("[::1]:80"), ..environment() });
        let text = refused.unwrap_err();
        assert_eq!(named_by, "AMQP_URL");
        for said in ["AMQP_URL=...: takes", "HTTP_ADDR=\u{fffd}:80: takes", "(it is not UTF-8)"] {
            assert!(text.contains(said) && !text.contains("hunter2"), "{said}: {text}");
        }
        let mut flags = map("[::1]:80");
        flags.insert("AMQP_URL".to_owned(), "amqp://h".to_owned());
        assert_eq!(problems(&Source { flags, ..environment() }), ("AMQP_URL", Ok(())));
    }
}
