//! The input file of a bulk run: checks all lines first, then reads them one by one.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use anyhow::Context;
use pipeline::contract::encoding;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{commands::request_data::MAX_DATA_BYTES, exit::Failure};

/// How many bad lines an error names.
const MAX_REPORTED_LINES: usize = 3;

/// The data of one request.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number in the file, from 1; empty lines are counted.
    pub(super) number: u64,
    pub(super) data: Box<RawValue>,
}

/// Facts about a whole file, collected before any line is submitted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// How many lines are not empty.
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub(super) digest: String,
    /// The errors of the first bad lines.
    bad: Vec<String>,
}

impl Survey {
    /// Reads a whole file.
    ///
    /// # Errors
    /// If it can't be read.
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let mut reader = RawLines::open(path)?;
        let mut digest = Sha256::new();
        let mut survey = Self { lines: 0, bytes: 0, digest: String::new(), bad: Vec::new() };
        while let Some(bytes) = reader.next().context("the input can't be read")? {
            digest.update(bytes);
            survey.bytes += bytes.len() as u64;
            let problem = match parse(bytes) {
                Parsed::Empty => continue,
                Parsed::Data(_) => None,
                Parsed::Bad(problem) => Some(problem),
            };
            survey.lines += 1;
            if let Some(problem) = problem.filter(|_| survey.bad.len() < MAX_REPORTED_LINES) {
                survey.bad.push(format!("line {}: {problem}", reader.number));
            }
        }
        survey.digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(survey)
    }

    /// Refuses a file with lines that are not JSON, or too long.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.bad.is_empty() {
            true => Ok(()),
            false => Err(Failure::Usage(format!(
                "nothing was sent, since not every line is JSON:\n  {}",
                self.bad.join("\n  ")
            ))),
        }
    }
}

/// Reads the lines one by one.
pub(super) struct Lines {
    raw: RawLines,
    after: u64,
}

impl Lines {
    /// The lines of a file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self { raw: RawLines::open(path)?, after: 0 })
    }

    /// Skips all lines up to number `line`.
    pub(super) fn after(self, line: u64) -> Self {
        Self { after: line, ..self }
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Failure> {
        while let Some(bytes) = self.raw.next().context("the input can't be read")? {
            let parsed = parse(bytes);
            let number = self.raw.number;
            match parsed {
                _ if number <= self.after => {}
                Parsed::Empty => {}
                Parsed::Data(data) => return Ok(Some(Line { number, data })),
                // It was valid in the survey.
                Parsed::Bad(problem) => {
                    let text = format!("the input has changed, line {number}: {problem}");
                    return Err(Failure::Usage(text));
                }
            }
        }
        Ok(None)
    }
}

enum Parsed {
    Empty,
    Data(Box<RawValue>),
    Bad(String),
}

fn parse(bytes: &[u8]) -> Parsed {
    if bytes.len() >= MAX_DATA_BYTES {
        return Parsed::Bad("longer than 15 MiB".to_owned());
    }
    let text = match encoding::utf8(bytes) {
        Ok(text) => text.trim_ascii_end(),
        Err(error) => return Parsed::Bad(error.to_string()),
    };
    if text.trim_ascii_start().is_empty() {
        return Parsed::Empty;
    }
    match serde_json::from_str(text) {
        Ok(data) => Parsed::Data(data),
        Err(error) => Parsed::Bad(problem(&error)),
    }
}

/// The error of a line, without serde's line number, which is always 1.
fn problem(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let what = text.strip_suffix(&format!(" at line {} column {column}", error.line()));
    format!("{} at column {column}", what.unwrap_or(&text))
}

/// Lines with their line breaks; one that is too long comes in parts.
struct RawLines {
    reader: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    /// Whether the last part read ended its line.
    at_line_end: bool,
}

impl RawLines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let unreadable = |why: &dyn std::fmt::Display| {
            Failure::Usage(format!("the file {} can't be read: {why}", path.display()))
        };
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        // It is read twice, which a pipe does not allow.
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(unreadable(&"it is not a regular file"));
        }
        Ok(Self { reader: BufReader::new(file), line: Vec::new(), number: 0, at_line_end: true })
    }

    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let limit = MAX_DATA_BYTES as u64;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line)?;
        self.number += u64::from(self.at_line_end);
        self.at_line_end = self.line.ends_with(b"\n");
        Ok((read > 0).then_some(self.line.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn numbers(text: &[u8], after: u64) -> Vec<u64> {
        let file = file(text);
        let mut lines = Lines::open(file.path()).unwrap().after(after);
        let mut numbers = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            numbers.push(line.number);
        }
        numbers
    }

    #[test]
    fn empty_lines_are_counted_and_skipped() {
        let text = b"1\n\n{\"a\":1}\r\n  \n\"last\"";
        assert_eq!(numbers(text, 0), [1, 3, 5]);
        assert_eq!(numbers(text, 3), [5]);
        assert_eq!(Survey::of(file(text).path()).unwrap().lines, 3);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_another_encoding_is_named() {
        assert_eq!(numbers("\u{feff}{\"a\":1}\r\n2\n".as_bytes(), 0), [1, 2]);
        let utf16: Vec<u8> =
            "\u{feff}1\r\n2\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let survey = Survey::of(file(&utf16).path()).unwrap();
        let Err(Failure::Usage(text)) = survey.check() else { panic!("it was accepted") };
        assert!(text.contains("line 1: it is UTF-16, not UTF-8"), "{text}");
    }

    #[test]
    fn bad_lines_are_reported_before_anything_is_submitted() {
        let survey = Survey::of(file(b"1\nnonsense\n2\n{\n\xff\n[\n").path()).unwrap();
        let Err(Failure::Usage(text)) = survey.check() else { panic!("it was accepted") };
        assert!(text.contains("line 2:") && text.contains("line 4:"), "{text}");
        assert!(text.contains("line 5:") && !text.contains("line 6:"), "{text}");
        assert!(text.contains("line 4: EOF while parsing an object at column 1\n"), "{text}");
    }

    #[test]
    fn every_change_changes_the_digest() {
        let digest = |text: &[u8]| Survey::of(file(text).path()).unwrap().digest;
        let known = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";
        assert_eq!(digest(b"1\n"), known);
        assert!(digest(b"1") != known && digest(b"1\n\n") != known);
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_longest() {
        let mut text = vec![b' '; MAX_DATA_BYTES + 10];
        text.extend_from_slice(b"\n1\n");
        let file = file(&text);
        let survey = Survey::of(file.path()).unwrap();
        assert_eq!(survey.bytes, text.len() as u64);
        let Err(Failure::Usage(text)) = survey.check() else { panic!("it was accepted") };
        assert!(text.contains("line 1: longer"), "{text}");
    }
}
