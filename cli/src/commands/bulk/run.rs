//! A run's name, kept beside its output, and from which input it was made.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::input::Survey;
use crate::{arguments::Bulk, exit::Failure};

/// What is kept of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// All idempotency keys begin with it.
    run: Uuid,
    input: Input,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Input {
    bytes: u64,
    sha256: String,
}

impl Run {
    /// Refuses an input that can begin no run, before the output is touched.
    pub(super) fn check(bulk: &Bulk, survey: &Survey) -> Result<(), Failure> {
        if beside(&bulk.out).exists() { Ok(()) } else { survey.check() }
    }

    /// The run of this output: a new one, or the one before, if the input is the same.
    pub(super) fn begin_or_go_on(
        bulk: &Bulk,
        survey: &Survey,
        out_is_empty: bool,
    ) -> Result<Self, Failure> {
        let path = beside(&bulk.out);
        let (state, out) = (path.display(), bulk.out.display());
        let input = Input { bytes: survey.bytes, sha256: survey.digest.clone() };
        match read(&path)? {
            Some(run) if run.input == input => Ok(run),
            Some(_) => Err(Failure::Usage(format!(
                "{} has changed since the run of {out} began: put it back as it was, or give another --out",
                bulk.file.display()
            ))),
            None if !out_is_empty => Err(Failure::Usage(format!(
                "{out} holds something already, and {state}, which would say of which run, is missing: \
                 give another --out"
            ))),
            None => {
                let run = Self { run: Uuid::new_v4(), input };
                run.save(&path).with_context(|| format!("{state} can't be written"))?;
                Ok(run)
            }
        }
    }

    /// The idempotency key of a line: the same one in every start of the run.
    pub(super) fn key(&self, line: u64) -> String {
        format!("bulk-{}-{line}", self.run)
    }

    /// Puts it on disk, whole or not at all, before anything is sent under its name.
    fn save(&self, path: &Path) -> anyhow::Result<()> {
        let half = with_ending(path, ".new");
        let mut file = File::create(&half)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        Ok(fs::rename(half, path)?)
    }
}

fn read(path: &Path) -> Result<Option<Run>, Failure> {
    let shown = path.display();
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::Usage(format!("{shown} can't be read: {error}")));
        }
    };
    let run = serde_json::from_slice(&text);
    run.map(Some).map_err(|error| {
        Failure::Usage(format!("{shown} is no state of a run ({error}): give another --out"))
    })
}

fn beside(out: &Path) -> PathBuf {
    with_ending(out, ".state")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        _folder: tempfile::TempDir,
        bulk: Bulk,
    }

    impl World {
        fn with(input: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (file, out) = (folder.path().join("in"), folder.path().join("out"));
            fs::write(&file, input).unwrap();
            Self { _folder: folder, bulk: Bulk { file, out, concurrency: 1 } }
        }

        fn start(&self, out_is_empty: bool) -> Result<Run, Failure> {
            Run::begin_or_go_on(&self.bulk, &Survey::of(&self.bulk.file).unwrap(), out_is_empty)
        }
    }

    #[test]
    fn a_second_start_has_the_keys_of_the_first_and_another_output_has_others() {
        let mut world = World::with("1\n2\n");
        let key = world.start(true).unwrap().key(2);
        assert!(key.len() < 255 && key.is_ascii() && key.ends_with("-2"), "{key}");
        assert_eq!(world.start(false).unwrap().key(2), key);
        world.bulk.out.set_extension("other");
        assert_ne!(world.start(true).unwrap().key(2), key);
    }

    #[test]
    fn a_changed_input_is_refused() {
        let world = World::with("1\n2\n");
        world.start(true).unwrap();
        for changed in ["1\n3\n", "1\n2\n3\n", "nonsense\n"] {
            fs::write(&world.bulk.file, changed).unwrap();
            let Err(Failure::Usage(text)) = world.start(false) else { panic!("{changed}") };
            assert!(text.contains("has changed"), "{text}");
        }
    }

    #[test]
    fn an_output_of_which_nobody_knows_the_run_is_left_alone() {
        assert!(matches!(World::with("1\n").start(false), Err(Failure::Usage(_))));
    }

    #[test]
    fn of_a_bad_input_no_run_is_begun() {
        let world = World::with("1\nnonsense\n");
        let survey = Survey::of(&world.bulk.file).unwrap();
        assert!(Run::check(&world.bulk, &survey).is_err());
    }
}
