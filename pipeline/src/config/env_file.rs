//! The file `.env`: lines of `NAME=value`.

use std::{collections::HashMap, io::ErrorKind, path::Path};

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

/// What the file sets: nothing if there is none.
pub(super) fn read(path: &Path) -> Result<HashMap<String, String>, EnvFileError> {
    let shown = || path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(EnvFileError::Unreadable(shown(), error)),
    };
    parse(&text).map_err(|place| EnvFileError::Syntax(shown(), place))
}

/// The values by their names, or the place of the error.
fn parse(text: &str) -> Result<HashMap<String, String>, String> {
    // Editors on Windows write a byte order mark, which dotenvy skips only when it sets the variables itself.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let values = dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>();
    values.map_err(|error| place(text, &error))
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

    #[test]
    fn a_broken_file_is_named_without_what_stands_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "AMQP_URL=amqp://u:hunter2@h word\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 1 (AMQP_URL)") && !error.contains("hunter2"), "{error:?}");
        assert!(read(&folder.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for text in ["\u{feff}A=1\r\nB=2\r\n", "\u{feff}# settings\nA=1\nB=2"] {
            let values = parse(text).unwrap();
            assert_eq!((values["A"].as_str(), values["B"].as_str()), ("1", "2"), "{text:?}");
        }
    }
}
