//! State file of a bulk run, beside its output: the id of the run, and the digest of its input.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::input_file::Survey;
use crate::{arguments::Bulk, exit::Failure};

/// The state of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunState {
    /// A part of all idempotency keys.
    run: Uuid,
    /// The type of its requests, if one was given.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    input: Input,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Input {
    bytes: u64,
    sha256: String,
}

impl RunState {
    /// Refuses an input with bad lines, unless a run of it has begun. The output is not touched.
    pub(super) fn check(bulk: &Bulk, survey: &Survey) -> Result<(), Failure> {
        if state_path(&bulk.out).exists() { Ok(()) } else { survey.check() }
    }

    /// Loads the state of this output's run, or creates the one of a new run.
    ///
    /// # Errors
    /// If the input or the type is not that of the run, or the output has content but no state.
    pub(super) fn load_or_create(
        bulk: &Bulk,
        survey: &Survey,
        out_is_empty: bool,
    ) -> Result<Self, Failure> {
        let path = state_path(&bulk.out);
        let (state, out) = (path.display(), bulk.out.display());
        let input = Input { bytes: survey.bytes, sha256: survey.digest.clone() };
        match read(&path)? {
            Some(run) if run.input == input && run.kind == bulk.kind => Ok(run),
            Some(run) if run.input == input => {
                let with = run.kind.map_or("no --type".to_owned(), |kind| format!("--type {kind}"));
                Err(Failure::Usage(format!("the run of {out} began with {with}: go on with that")))
            }
            Some(_) => Err(Failure::Usage(format!(
                "{} has changed since the run of {out} began: put it back as it was, or give another --out",
                bulk.file.display()
            ))),
            None if !out_is_empty => Err(Failure::Usage(format!(
                "{out} is not empty, and {state}, which would identify its run, is missing: give another --out"
            ))),
            None => {
                let run = Self { run: Uuid::new_v4(), kind: bulk.kind.clone(), input };
                run.save(&path).with_context(|| format!("{state} can't be written"))?;
                Ok(run)
            }
        }
    }

    /// The idempotency key of a line: the same in every start of the run.
    pub(super) fn idempotency_key(&self, line: u64) -> String {
        format!("bulk-{}-{line}", self.run)
    }

    /// Writes the state to disk, whole or not at all. Until then no line is submitted.
    fn save(&self, path: &Path) -> anyhow::Result<()> {
        let temporary = with_suffix(path, ".new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        Ok(fs::rename(temporary, path)?)
    }
}

fn read(path: &Path) -> Result<Option<RunState>, Failure> {
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
        Failure::Usage(format!(
            "{shown} is not the state file of a run ({error}): give another --out"
        ))
    })
}

fn state_path(out: &Path) -> PathBuf {
    with_suffix(out, ".state")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
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
            Self { _folder: folder, bulk: Bulk { file, out, kind: None, concurrency: 1 } }
        }

        fn start(&self, out_is_empty: bool) -> Result<RunState, Failure> {
            RunState::load_or_create(
                &self.bulk,
                &Survey::of(&self.bulk.file).unwrap(),
                out_is_empty,
            )
        }
    }

    #[test]
    fn a_second_start_has_the_keys_of_the_first_and_another_output_has_others() {
        let mut world = World::with("1\n2\n");
        let key = world.start(true).unwrap().idempotency_key(2);
        assert!(key.len() < 255 && key.is_ascii() && key.ends_with("-2"), "{key}");
        assert_eq!(world.start(false).unwrap().idempotency_key(2), key);
        world.bulk.out.set_extension("other");
        assert_ne!(world.start(true).unwrap().idempotency_key(2), key);
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
    fn a_run_goes_on_with_its_type() {
        let mut world = World::with("1\n");
        world.bulk.kind = Some("video".to_owned());
        let key = world.start(true).unwrap().idempotency_key(1);
        assert_eq!(world.start(false).unwrap().idempotency_key(1), key);
        world.bulk.kind = None;
        let Err(Failure::Usage(text)) = world.start(false) else { panic!("another type") };
        assert!(text.contains("--type video"), "{text}");
    }

    #[test]
    fn an_output_without_state_is_refused() {
        assert!(matches!(World::with("1\n").start(false), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_bad_input_begins_no_run() {
        let world = World::with("1\nnonsense\n");
        let survey = Survey::of(&world.bulk.file).unwrap();
        assert!(RunState::check(&world.bulk, &survey).is_err());
    }
}
