//! The output file: where it ends, and what is added to it.

use std::{
    fmt::Display,
    fs::{File, OpenOptions, TryLockError},
    io::{BufRead, BufReader, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::task::Outcome;
use crate::exit::Failure;

/// The output file, held by this process alone.
#[derive(Debug)]
pub(super) struct Results {
    path: PathBuf,
    file: File,
    /// When it was opened.
    length: u64,
    end: End,
}

/// What stands in the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) completed: u64,
    pub(super) failed: u64,
}

impl Counts {
    /// All lines of the output.
    pub(super) fn written(self) -> u64 {
        self.completed + self.failed
    }

    fn add(&mut self, completed: bool) {
        self.completed += u64::from(completed);
        self.failed += u64::from(!completed);
    }
}

/// Where an output ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct End {
    /// The number in the input of the last line that is done; 0 if none is.
    line: u64,
    /// Where the last whole line ends.
    bytes: u64,
    counts: Counts,
}

impl Results {
    /// Opens the output, made if it is missing, and finds where it ends. Nothing in it is changed.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let refused = |why: &dyn Display| {
            Failure::Usage(format!("the output {shown} can't be written: {why}"))
        };
        // Nobody can go on with a run whose results went through a pipe, or nowhere.
        if path.exists() && !path.is_file() {
            return Err(refused(&"it is no plain file"));
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(|error| refused(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("another slowlane bulk is writing {shown}");
                return Err(anyhow::Error::msg(text).into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(anyhow::Error::new(error).context("the output can't be locked").into());
            }
        }
        let end = end(BufReader::new(&file))
            .map_err(|why| Failure::Usage(format!("the output {shown} {why:#}")))?;
        let length = file.metadata().with_context(|| format!("the output {shown}"))?.len();
        Ok(Self { path: path.to_owned(), file, length, end })
    }

    /// Whether it held nothing when it was opened.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Cuts off a half-written line, as it is left by a kill.
    pub(super) fn cut(&mut self) -> Result<(), Failure> {
        let cut = self.file.set_len(self.end.bytes);
        Ok(cut.with_context(|| format!("{} can't be written", self.path.display()))?)
    }

    /// The number in the input of the last line that is done; 0 if none is.
    pub(super) fn last_line(&self) -> u64 {
        self.end.line
    }

    /// What stands in the output.
    pub(super) fn counts(&self) -> Counts {
        self.end.counts
    }

    /// Adds a line.
    pub(super) fn write(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        let line = format!("{}\n", outcome.json);
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| format!("{} can't be written", self.path.display()))?;
        self.end.line = outcome.line;
        self.end.counts.add(outcome.completed);
        Ok(())
    }

    /// Makes sure that it is on disk.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let synced = self.file.sync_data();
        Ok(synced.with_context(|| format!("{} can't be written", self.path.display()))?)
    }
}

/// What we look at in a line of the output.
#[derive(Deserialize)]
struct Known {
    line: u64,
    status: String,
}

fn end(mut lines: impl BufRead + Seek) -> anyhow::Result<End> {
    let mut end = End::default();
    let mut line = Vec::new();
    lines.rewind()?;
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line).context("can't be read")?;
        if !line.ends_with(b"\n") {
            return Ok(end);
        }
        let known = serde_json::from_slice::<Known>(&line);
        let Some(known) = known.ok().filter(|known| known.line > end.line) else {
            let number = end.counts.written() + 1;
            bail!(
                "has something else in its line {number}; it is left as it is: give another --out"
            );
        };
        end.line = known.line;
        end.bytes += read as u64;
        end.counts.add(known.status == "completed");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Cursor};

    use super::*;

    const TWO: &str =
        "{\"line\":1,\"status\":\"completed\"}\n{\"line\":3,\"status\":\"failed\",\"error\":{}}\n";

    fn of(text: &str) -> anyhow::Result<End> {
        end(Cursor::new(text.as_bytes()))
    }

    #[test]
    fn it_goes_on_behind_the_last_whole_line() {
        let counts = Counts { completed: 1, failed: 1 };
        let expected = End { line: 3, bytes: TWO.len() as u64, counts };
        for rest in ["", "{\"line\":4,\"sta", "{\"line\":4,\"status\":\"completed\"}", "\0\0\0"] {
            assert_eq!(of(&format!("{TWO}{rest}")).unwrap(), expected, "{rest:?}");
        }
        assert_eq!(of("").unwrap(), End::default());
        assert_eq!(of("{\"line\":1").unwrap(), End::default());
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        for other in ["dear diary\n", "{\"line\":0,\"status\":\"x\"}\n", "{\"a\":1}\n", "\n"] {
            assert!(of(other).is_err(), "{other:?}");
            assert!(of(&format!("{TWO}{other}")).is_err(), "{other:?}");
        }
        assert!(of(&format!("{TWO}{TWO}")).is_err(), "lines come twice");
    }

    #[test]
    fn what_is_added_stands_where_the_half_line_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, format!("{TWO}{{\"line\":4,\"st")).unwrap();
        let mut results = Results::open(&path).unwrap();
        results.cut().unwrap();
        assert!(Results::open(&path).is_err(), "two write at a time");
        let json = "{\"line\":4,\"status\":\"completed\"}".to_owned();
        results.write(&Outcome { json: json.clone(), line: 4, completed: true }).unwrap();
        assert_eq!((results.last_line(), results.counts().written()), (4, 3));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{TWO}{json}\n"));
    }
}
