//! What to start: program, arguments, environment, folder.

use std::{
    ffi::OsString,
    io::PipeWriter,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Start {
    /// The name of the process in error messages.
    pub name: String,
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// The folder it runs in.
    pub dir: PathBuf,
    /// A folder that is removed if this process dies before the child does.
    pub remove_if_orphaned: Option<PathBuf>,
    /// Whether its output is captured; otherwise it goes to this process's own output.
    pub capture: bool,
    /// How many of its lines are kept, the latest; all unless it is to run for long.
    pub keep_lines: usize,
    /// Where standard error goes instead.
    pub stderr: Option<Arc<PipeWriter>>,
}

impl Start {
    /// Starts from `program` with no arguments, an empty environment and captured output, in `dir`.
    pub fn new(program: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (args, env) = (Vec::new(), Vec::new());
        Self {
            name,
            program,
            args,
            env,
            dir: dir.into(),
            remove_if_orphaned: None,
            capture: true,
            keep_lines: usize::MAX,
            stderr: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds variables to the environment.
    #[must_use]
    pub fn envs<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env.extend(env.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }
}

/// The variables that every program needs from the environment of this process: `PATH` alone.
pub fn minimal_env() -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    vec![("PATH".into(), path)]
}

/// Whether a variable says through which proxy to reach other machines, or which ones without.
pub fn is_proxy(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"].contains(&key.as_str())
}

/// A `PATH` that starts with `first` and goes on with the present one.
pub(crate) fn path_with(first: &Path) -> OsString {
    let mut path = first.as_os_str().to_owned();
    for (_, rest) in minimal_env() {
        path.push(":");
        path.push(rest);
    }
    path
}
