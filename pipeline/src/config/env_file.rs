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

/// Stands for `$` while the file is parsed. A variable can't contain it, so no value has it.
const DOLLAR: char = '\0';

/// What the file sets: nothing if there is none.
pub(super) fn read(path: &Path) -> Result<HashMap<String, String>, EnvFileError> {
    let shown = || path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        // A folder of this name, as of a virtual environment of Python, is no file either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
            return Ok(HashMap::new());
        }
        Err(error) => return Err(EnvFileError::Unreadable(shown(), error)),
    };
    parse(&text).map_err(|place| EnvFileError::Syntax(shown(), place))
}

/// The values by their names, or the place of the error. `$` stands for itself, as in an `EnvironmentFile` of systemd: what
/// dotenvy would put in place of `$word` in a password is most likely nothing.
fn parse(text: &str) -> Result<HashMap<String, String>, String> {
    // Editors on Windows write a byte order mark, which dotenvy skips only when it sets the variables itself.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let masked = mask_dollars(text);
    let unmask = |(name, value): (String, String)| (name, value.replace(DOLLAR, "$"));
    let values = dotenvy::from_read_iter(masked.as_bytes()).map(|line| line.map(unmask));
    values.collect::<Result<_, _>>().map_err(|error| place(text, &masked, &error))
}

/// The text without a `$` that dotenvy would substitute. It takes `\$` for `$`, except in single quotes, where it keeps both.
fn mask_dollars(text: &str) -> String {
    let mut is_escaped = false;
    let mask = |char| {
        let masked = if char == '$' && !is_escaped { DOLLAR } else { char };
        is_escaped = char == '\\' && !is_escaped;
        masked
    };
    text.chars().map(mask).collect()
}

/// The place of the error, without the line's text, since that may be a password. The error quotes the masked text.
fn place(text: &str, masked: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(part, _) = error else { return String::new() };
    let mut lines = text.lines().zip(masked.lines()).enumerate();
    let found = lines.find(|(_, (_, masked))| masked.contains(part.as_str()));
    found.map_or_else(String::new, |(index, (line, _))| {
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
        assert!(read(folder.path()).unwrap().is_empty(), "a folder is no file");
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for text in ["\u{feff}A=1\r\nB=2\r\n", "\u{feff}# settings\nA=1\nB=2"] {
            let values = parse(text).unwrap();
            assert_eq!((values["A"].as_str(), values["B"].as_str()), ("1", "2"), "{text:?}");
        }
    }

    #[test]
    fn a_dollar_stands_for_itself() {
        for (line, value) in [
            (r"A=amqps://app:pa$word@host/$PATH", "amqps://app:pa$word@host/$PATH"),
            (r#"A="pa$word ${PATH}" # $"#, "pa$word ${PATH}"),
            (r"A='pa$word'$PATH", "pa$word$PATH"),
            (r"A=pa\\$PATH\$PATH", r"pa\$PATH$PATH"),
            (r#"A="pa\$PATH\\$PATH""#, r"pa$PATH\$PATH"),
            (r"A='pa\$PATH\\$PATH'", r"pa\$PATH\\$PATH"),
            (r"A=${", "${"),
        ] {
            assert_eq!(parse(line).unwrap()["A"], value, "{line}");
        }
    }

    #[test]
    fn the_place_of_an_error_is_found_beside_a_dollar() {
        let error = parse("A=$1\nB=pa$word word\n").unwrap_err();
        assert_eq!(error, " in line 2 (B)");
    }
}
