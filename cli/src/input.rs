//! The data of a request: where it comes from, and whether it is JSON.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use serde_json::value::RawValue;

use crate::exit::Failure;

/// No web service takes more than 15 MiB (`BODY_LIMIT`).
pub(crate) const LONGEST: usize = 16 * 1024 * 1024;

/// Where data comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Argument(String),
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Origin {
    /// Chooses among what was given; `terminal` says whether somebody would have to type it in.
    pub(crate) fn choose(
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
    pub(crate) fn read(self) -> Result<Vec<u8>, Failure> {
        let bytes = match self {
            Self::Argument(text) => text.into_bytes(),
            Self::Stdin => read(io::stdin().lock()).context("standard input can't be read")?,
            Self::File(path) => File::open(&path).and_then(read).map_err(|error| {
                Failure::Usage(format!("the file {} can't be read: {error}", path.display()))
            })?,
        };
        match bytes.len() {
            0..LONGEST => Ok(bytes),
            _ => Err(Failure::Usage("the data is longer than any web service takes".to_owned())),
        }
    }
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LONGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Data as the service takes it: JSON as it is, or text as a JSON string.
pub(crate) fn json(bytes: Vec<u8>, text: bool) -> Result<Box<RawValue>, Failure> {
    let string = String::from_utf8(bytes)
        .map_err(|error| Failure::Usage(format!("the data is not UTF-8: {error}")))?;
    if text {
        return string_as_json(&string);
    }
    if string.trim().is_empty() {
        return Err(Failure::Usage("the data is empty; JSON for nothing is null".to_owned()));
    }
    serde_json::from_str(&string).map_err(|error| {
        Failure::Usage(format!(
            "the data is not JSON: {error}. A string needs its quotes, as in slowlane submit \
             '\"hello\"'; --text sends the data as a string"
        ))
    })
}

/// Files and pipes end with a line break that nobody means.
fn string_as_json(text: &str) -> Result<Box<RawValue>, Failure> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(serde_json::value::to_raw_value(text).context("a text is always JSON")?)
}

/// How long to wait, if at all: `--wait`, `--wait TIMEOUT`. In `submit --wait DATA` the data has been
/// taken for the timeout, and is given back.
pub(crate) fn waiting(
    wait: Option<Option<String>>,
    data: &mut Option<String>,
) -> Result<Option<Option<Duration>>, Failure> {
    let Some(timeout) = wait else { return Ok(None) };
    let Some(timeout) = timeout else { return Ok(Some(None)) };
    match humantime::parse_duration(&timeout) {
        Ok(timeout) => Ok(Some(Some(timeout))),
        Err(_) if data.is_none() => {
            *data = Some(timeout);
            Ok(Some(None))
        }
        Err(error) => Err(Failure::Usage(format!(
            "--wait takes a duration like 90s or 5m, not {timeout:?}: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        match json(bytes.to_vec(), false) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn json_goes_as_it_was_typed() {
        for data in ["null", "1e400", "{\"b\":1, \"a\":12345678901234567890.10}", "\"🦀\""] {
            assert_eq!(json(data.into(), false).unwrap().get(), data);
        }
    }

    #[test]
    fn what_is_not_json_is_answered_with_what_to_type() {
        assert!(refused(b"hello").contains("--text"), "{}", refused(b"hello"));
        assert!(refused(b" \n").contains("empty") && refused(b"{} {}").contains("not JSON"));
        assert!(refused(b"\xff").contains("not UTF-8"));
    }

    #[test]
    fn text_becomes_a_string_without_the_last_line_break() {
        let text = |text: &str| json(text.into(), true).unwrap().get().to_owned();
        assert_eq!(text("say \"a\"\r\n"), r#""say \"a\"""#);
        assert_eq!(text("a\n\n"), r#""a\n""#);
        assert_eq!(text(""), r#""""#);
    }

    #[test]
    fn data_is_taken_from_where_it_was_given() {
        let choose = |data: Option<&str>, file: Option<&str>, terminal| {
            Origin::choose(data.map(Into::into), file.map(Into::into), terminal)
        };
        assert_eq!(choose(Some("1"), None, false).unwrap(), Origin::Argument("1".into()));
        assert_eq!(choose(None, Some("f"), false).unwrap(), Origin::File("f".into()));
        assert_eq!(choose(None, Some("-"), true).unwrap(), Origin::Stdin);
        assert_eq!(choose(None, None, false).unwrap(), Origin::Stdin);
        assert!(matches!(choose(None, None, true), Err(Failure::Usage(_))));
    }

    #[test]
    fn data_behind_wait_is_no_timeout() {
        let minute = Some(Some(Duration::from_secs(60)));
        let mut data = None;
        assert_eq!(waiting(Some(Some("1m".into())), &mut data).unwrap(), minute);
        assert_eq!(waiting(Some(Some("{\"a\":1}".into())), &mut data).unwrap(), Some(None));
        assert_eq!(data.as_deref(), Some("{\"a\":1}"));
        assert!(waiting(Some(Some("soon".into())), &mut data).is_err());
        assert_eq!(waiting(Some(None), &mut data).unwrap(), Some(None));
        assert_eq!(waiting(None, &mut data).unwrap(), None);
    }
}
