//! The data of a request: read from an argument, a file or standard input, and checked to be JSON.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use anyhow::Context;
use pipeline::contract::encoding;
use serde_json::value::RawValue;

use crate::exit::Failure;

/// Data of this length or longer is not sent: `BODY_LIMIT` of the web service is 15 MiB at most.
pub(super) const MAX_DATA_BYTES: usize = 16 * 1024 * 1024;

/// Where data comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line.
    Argument(String),
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Origin {
    /// Chooses the origin by the arguments; from a `terminal` no data is read.
    pub(super) fn choose(
        data: Option<String>,
        file: Option<PathBuf>,
        terminal: bool,
    ) -> Result<Self, Failure> {
        match (data, file) {
            (Some(data), _) => Ok(Self::Argument(data)),
            (None, Some(file)) if file.as_os_str() == "-" => Ok(Self::Stdin),
            (None, Some(file)) => Ok(Self::File(file)),
            (None, None) if !terminal => Ok(Self::Stdin),
            (None, None) => Err(Failure::Usage(
                "there is no data: give it as an argument, as in slowlane submit '{\"a\": 1}', \
                 with --file FILE, or through a pipe"
                    .to_owned(),
            )),
        }
    }

    /// Reads the data.
    ///
    /// # Errors
    /// If it can't be read, or is too long.
    pub(super) fn read(self) -> Result<Vec<u8>, Failure> {
        let bytes = match self {
            Self::Argument(text) => text.into_bytes(),
            Self::Stdin => read(io::stdin().lock()).context("standard input can't be read")?,
            Self::File(path) => File::open(&path).and_then(read).map_err(|error| {
                Failure::Usage(format!("the file {} can't be read: {error}", path.display()))
            })?,
        };
        match bytes.len() {
            0..MAX_DATA_BYTES => Ok(bytes),
            _ => Err(Failure::Usage("the data is longer than 15 MiB".to_owned())),
        }
    }
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_DATA_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The data as JSON: with `text` as a JSON string, otherwise as it is. A byte order mark is skipped.
///
/// # Errors
/// If it is not UTF-8, or should be JSON and is not.
pub(super) fn json(bytes: Vec<u8>, text: bool) -> Result<Box<RawValue>, Failure> {
    let string = encoding::utf8(&bytes)
        .map_err(|error| Failure::Usage(format!("the data can't be read: {error}")))?;
    if text {
        return string_as_json(string);
    }
    if string.trim().is_empty() {
        return Err(Failure::Usage("the data is empty; to send no data, send null".to_owned()));
    }
    serde_json::from_str(string).map_err(|error| {
        Failure::Usage(format!(
            "the data is not JSON: {error}. A string needs its quotes, as in slowlane submit \
             '\"hello\"'; --text sends the data as a string"
        ))
    })
}

/// The line break at the end of a file or pipe is not part of the text.
fn string_as_json(text: &str) -> Result<Box<RawValue>, Failure> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(serde_json::value::to_raw_value(text).context("the text can't be sent as JSON")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        match json(bytes.to_vec(), false) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn json_keeps_its_text() {
        for data in ["null", "1e400", "{\"b\":1, \"a\":12345678901234567890.10}", "\"🦀\""] {
            assert_eq!(json(data.into(), false).unwrap().get(), data);
        }
    }

    #[test]
    fn an_error_says_what_to_type_instead() {
        assert!(error(b"hello").contains("--text"), "{}", error(b"hello"));
        assert!(error(b" \n").contains("empty") && error(b"{} {}").contains("not JSON"));
        assert!(error(b"\xff").contains("not UTF-8"));
        assert!(error(b"\xff\xfe1\0").contains("it is UTF-16"));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for (text, expected) in [(false, "{}"), (true, "\"{}\"")] {
            assert_eq!(json("\u{feff}{}".into(), text).unwrap().get(), expected);
        }
    }

    #[test]
    fn text_becomes_a_string_without_its_last_line_break() {
        let text = |text: &str| json(text.into(), true).unwrap().get().to_owned();
        assert_eq!(text("say \"a\"\r\n"), r#""say \"a\"""#);
        assert_eq!(text("a\n\n"), r#""a\n""#);
        assert_eq!(text(""), r#""""#);
    }

    #[test]
    fn the_arguments_choose_the_origin() {
        let choose = |data: Option<&str>, file: Option<&str>, terminal| {
            Origin::choose(data.map(Into::into), file.map(Into::into), terminal)
        };
        assert_eq!(choose(Some("1"), None, false).unwrap(), Origin::Argument("1".into()));
        assert_eq!(choose(None, Some("f"), false).unwrap(), Origin::File("f".into()));
        assert_eq!(choose(None, Some("-"), true).unwrap(), Origin::Stdin);
        assert_eq!(choose(None, None, false).unwrap(), Origin::Stdin);
        assert!(matches!(choose(None, None, true), Err(Failure::Usage(_))));
    }
}
