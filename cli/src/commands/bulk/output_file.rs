//! The output file of a bulk run: finds the last whole line, appends results, and replaces those that were repaired.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::{self, File, OpenOptions, TryLockError},
    io::{BufRead, BufReader, BufWriter, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use uuid::Uuid;

use super::submit_line::LineResult;
use crate::exit::Failure;

/// The output file, locked by this process.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    file: File,
    /// Its bytes when it was opened.
    length: u64,
    end: End,
}

/// A line whose request has failed, and the request.
pub(super) type FailedLine = (u64, Uuid);

/// The results in the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) completed: u64,
    pub(super) failed: u64,
}

impl Counts {
    /// The number of lines.
    pub(super) fn lines(self) -> u64 {
        self.completed + self.failed
    }

    /// Counts a line.
    pub(super) fn add(&mut self, completed: bool) {
        self.completed += u64::from(completed);
        self.failed += u64::from(!completed);
    }
}

/// The end of the whole lines of an output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct End {
    /// The number in the input of the last line that is done; 0 if none is.
    line: u64,
    /// The bytes up to the end of the last whole line.
    bytes: u64,
    counts: Counts,
}

impl OutputFile {
    /// Opens the output, creates it if it is missing, and finds where it ends. It does not change the content.
    ///
    /// # Errors
    /// If it can't be written, another process writes it, or it has lines that are no results.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let refused = |why: &dyn Display| {
            Failure::Usage(format!("the output {shown} can't be written: {why}"))
        };
        // A run can't continue if its results went into a pipe or a device.
        if path.exists() && !path.is_file() {
            return Err(refused(&"it is not a regular file"));
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

    /// Whether it was empty when it was opened.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Removes an incomplete last line, which a killed process leaves.
    pub(super) fn truncate(&mut self) -> Result<(), Failure> {
        let truncated = self.file.set_len(self.end.bytes);
        Ok(truncated.with_context(|| format!("{} can't be written", self.path.display()))?)
    }

    /// The number in the input of the last line that is done; 0 if none is.
    pub(super) fn last_line(&self) -> u64 {
        self.end.line
    }

    /// The results in the output.
    pub(super) fn counts(&self) -> Counts {
        self.end.counts
    }

    /// Appends the line of a result.
    pub(super) fn write(&mut self, result: &LineResult) -> Result<(), Failure> {
        let line = format!("{}\n", result.json);
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| format!("{} can't be written", self.path.display()))?;
        self.end.line = result.line;
        self.end.bytes += line.len() as u64;
        self.end.counts.add(result.completed);
        Ok(())
    }

    /// The lines whose requests have failed.
    pub(super) fn failed_lines(&self) -> Result<Vec<FailedLine>, Failure> {
        let mut failed = Vec::new();
        self.for_each_line(|_, line| {
            failed.extend(line.failed());
            Ok(())
        })?;
        Ok(failed)
    }

    /// Replaces results by others of the same lines. The file is written anew beside the old one, and takes its place
    /// when it is complete and on disk. A symbolic link to it stays one.
    pub(super) fn replace(
        &mut self,
        mut results: BTreeMap<u64, LineResult>,
    ) -> Result<(), Failure> {
        if results.is_empty() {
            return Ok(());
        }
        let old = fs::canonicalize(&self.path)
            .with_context(|| format!("the output {}", self.path.display()))?;
        let mut path = old.as_os_str().to_owned();
        path.push(".new");
        let path = PathBuf::from(path);
        let unwritten = || format!("{} can't be written", path.display());
        let new = self.successor(&path).with_context(unwritten)?;
        let mut writer = BufWriter::new(&new);
        let mut end = End::default();
        self.for_each_line(|text, line| {
            let replaced = results.remove(&line.line);
            let (json, completed) = match &replaced {
                Some(result) => (result.json.as_bytes(), result.completed),
                None => (text.trim_ascii_end(), line.is_completed()),
            };
            writer
                .write_all(json)
                .and_then(|()| writer.write_all(b"\n"))
                .with_context(unwritten)?;
            end.line = line.line;
            end.bytes += json.len() as u64 + 1;
            end.counts.add(completed);
            Ok(())
        })?;
        writer.flush().with_context(unwritten)?;
        drop(writer);
        new.sync_all().with_context(unwritten)?;
        fs::rename(&path, &old).with_context(unwritten)?;
        // It was written from its beginning, so what is written next goes to its end.
        (self.file, self.length, self.end) = (new, end.bytes, end);
        Ok(())
    }

    /// Creates the file that is to take the place of the output, with its mode, locked.
    fn successor(&self, path: &Path) -> anyhow::Result<File> {
        let mut options = OpenOptions::new();
        // Until it has the mode of the output, nobody else may read it.
        let new = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        new.set_permissions(self.file.metadata()?.permissions())?;
        // Whoever opens it once it has its name has to wait for us.
        new.try_lock()?;
        Ok(new)
    }

    /// Passes each whole line, with what is known of it.
    fn for_each_line(
        &self,
        mut take: impl FnMut(&[u8], &Known) -> anyhow::Result<()>,
    ) -> Result<(), Failure> {
        let shown = self.path.display();
        let file = File::open(&self.path).with_context(|| format!("the output {shown}"))?;
        let mut lines = BufReader::new(file.take(self.end.bytes));
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).with_context(|| format!("the output {shown}"))? > 0
        {
            let known = serde_json::from_slice(&line);
            let known = known.with_context(|| format!("the output {shown} has changed"))?;
            take(&line, &known)?;
            line.clear();
        }
        Ok(())
    }

    /// Waits until the file is on disk.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let synced = self.file.sync_data();
        Ok(synced.with_context(|| format!("{} can't be written", self.path.display()))?)
    }
}

/// The fields of an output line that are read again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    line: u64,
    status: String,
    #[serde(default)]
    request_id: Option<Uuid>,
}

impl Known {
    fn is_completed(&self) -> bool {
        self.status == "completed"
    }

    /// The line, if its request has failed. The service knows nothing of a line that it has rejected.
    fn failed(&self) -> Option<FailedLine> {
        let id = self.request_id.filter(|_| self.status == "failed")?;
        Some((self.line, id))
    }
}

/// Reads the output up to its last whole line.
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
            let number = end.counts.lines() + 1;
            bail!("has other content in line {number} and was not changed: give another --out");
        };
        end.line = known.line;
        end.bytes += read as u64;
        end.counts.add(known.is_completed());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Cursor,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    const TWO: &str =
        "{\"line\":1,\"status\":\"completed\"}\n{\"line\":3,\"status\":\"failed\",\"error\":{}}\n";

    fn of(text: &str) -> anyhow::Result<End> {
        end(Cursor::new(text.as_bytes()))
    }

    #[test]
    fn the_end_is_behind_the_last_whole_line() {
        let counts = Counts { completed: 1, failed: 1 };
        let expected = End { line: 3, bytes: TWO.len() as u64, counts };
        for rest in ["", "{\"line\":4,\"sta", "{\"line\":4,\"status\":\"completed\"}", "\0\0\0"] {
            assert_eq!(of(&format!("{TWO}{rest}")).unwrap(), expected, "{rest:?}");
        }
        assert_eq!(of("").unwrap(), End::default());
        assert_eq!(of("{\"line\":1").unwrap(), End::default());
    }

    #[test]
    fn a_file_with_other_content_is_refused() {
        for other in ["dear diary\n", "{\"line\":0,\"status\":\"x\"}\n", "{\"a\":1}\n", "\n"] {
            assert!(of(other).is_err(), "{other:?}");
            assert!(of(&format!("{TWO}{other}")).is_err(), "{other:?}");
        }
        assert!(of(&format!("{TWO}{TWO}")).is_err(), "lines come twice");
    }

    #[test]
    fn a_new_line_replaces_the_incomplete_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, format!("{TWO}{{\"line\":4,\"st")).unwrap();
        let mut out = OutputFile::open(&path).unwrap();
        out.truncate().unwrap();
        assert!(OutputFile::open(&path).is_err(), "two write at a time");
        let json = "{\"line\":4,\"status\":\"completed\"}".to_owned();
        out.write(&LineResult { json: json.clone(), line: 4, completed: true }).unwrap();
        assert_eq!((out.last_line(), out.counts().lines()), (4, 3));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{TWO}{json}\n"));
    }

    #[test]
    fn a_repaired_line_replaces_the_failed_one_and_further_lines_follow_at_the_end() {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        let failed = |line: u64| {
            format!(
                "{{\"line\":{line},\"requestId\":\"{id}\",\"status\":\"failed\",\"error\":{{}}}}\n"
            )
        };
        let rejected = "{\"line\":4,\"requestId\":null,\"status\":\"failed\"}\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let before = format!("{}{}{rejected}", failed(1), failed(3));
        fs::write(&path, format!("{before}{{\"line\":5,\"st")).unwrap();
        let mut out = OutputFile::open(&path).unwrap();
        out.truncate().unwrap();
        let id = Uuid::parse_str(id).unwrap();
        assert_eq!(
            out.failed_lines().unwrap(),
            [(1, id), (3, id)],
            "the service has none of the rejected"
        );
        out.replace(BTreeMap::new()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);

        let completed = |line: u64| {
            let json = format!("{{\"line\":{line},\"status\":\"completed\"}}");
            LineResult { json, line, completed: true }
        };
        out.replace([(3, completed(3))].into()).unwrap();
        assert!(OutputFile::open(&path).is_err(), "the new file is locked, too");
        out.write(&completed(5)).unwrap();
        let after =
            format!("{}{}\n{rejected}{}\n", failed(1), completed(3).json, completed(5).json);
        assert_eq!(fs::read_to_string(&path).unwrap(), after);
        assert_eq!((out.last_line(), out.counts()), (5, Counts { completed: 2, failed: 2 }));
        assert_eq!(out.failed_lines().unwrap(), [(1, id)]);
    }

    #[test]
    fn an_output_keeps_its_mode_and_the_link_that_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&file, TWO).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        let json = "{\"line\":3,\"status\":\"completed\"}".to_owned();
        let repaired = LineResult { json: json.clone(), line: 3, completed: true };
        OutputFile::open(&link).unwrap().replace([(3, repaired)].into()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::read_to_string(&file).unwrap().ends_with(&format!("{json}\n")));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }
}
