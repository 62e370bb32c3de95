//! Unpacks Debian's own packages into `.slowlane/`, without root and without installing.
//!
//! apt checks the signatures and the checksums. Nothing of the packages is run at installation, so no service is set up
//! and none is left behind.

mod apt;
pub(crate) mod relocate;

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
pub(crate) use relocate::files_under;
use tokio::time::sleep;

use crate::{
    process::{self, Start, minimal_env},
    workspace,
};

/// How often it is looked whether another process has unpacked a program.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How long one package may take to unpack.
const UNPACK_TIMEOUT: Duration = Duration::from_secs(600);

/// The libraries that programs of either suite were built against.
const LIBRARIES: &str = "libc6 libgcc-s1 libstdc++6 libtinfo6 zlib1g libzstd1 libsystemd0 libcap2 \
    libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libssl3 libssl3t64";

/// Where the packages of a bundle come from, beside those that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependencies {
    /// All are named, and the usual [`LIBRARIES`] come with them. So the packages may be those of another suite.
    Named,
    /// apt finds what they depend on. What is installed on this machine is not downloaded, so they are of its suite.
    Resolved,
}

/// A program packaged by Debian, with the packages it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bundle {
    /// The name of the program, also in the name of its folder.
    pub(crate) name: &'static str,
    /// The package that must be there.
    pub(crate) package: &'static str,
    /// The other packages. Their names differ between suites: those a suite does not have are skipped.
    pub(crate) others: &'static str,
    /// What else is downloaded.
    pub(crate) dependencies: Dependencies,
    /// The folder whose programs are to run from where they lie, below the root of the packages; none if `finish` does
    /// that.
    pub(crate) programs: Option<&'static str>,
    /// How much there is to download, for people.
    pub(crate) size: &'static str,
}

impl Bundle {
    /// The folder that stands for `/`; unpacks the packages of `suite` unless that was done before. `finish` makes the
    /// last changes to a newly unpacked one, `say` gets each step as a line for people.
    pub(crate) async fn unpacked(
        &self,
        suite: &str,
        finish: impl Fn(&Path) -> Result<()>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<PathBuf> {
        let dir = self.folder(suite)?;
        let root = dir.join("root");
        if !self.is_ready(&dir, &root) {
            check_path(&root)?;
            let _lock = lock(&dir.with_extension("lock"), self.name, say).await?;
            // Whoever held the lock before may have done all the work.
            if !self.is_ready(&dir, &root) {
                self.fill(&dir, &root, suite, &finish, say).await?;
            }
        }
        Ok(root)
    }

    /// Lets the packages of `suite` be unpacked anew the next time.
    pub(crate) fn forget(&self, suite: &str) -> Result<()> {
        match fs::remove_file(self.folder(suite)?.join("ready")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn folder(&self, suite: &str) -> Result<PathBuf> {
        Ok(workspace::state_dir()?.join(format!("{}-{suite}", self.name.to_lowercase())))
    }

    /// Whether all is unpacked.
    fn is_ready(&self, dir: &Path, root: &Path) -> bool {
        fs::read_to_string(dir.join("ready")).is_ok_and(|ready| ready == self.ready_text(root))
    }

    /// The place, which the programs contain, so that a folder that was moved has to be filled again, and the packages.
    fn ready_text(&self, root: &Path) -> String {
        format!("{}\n{} {}\n", root.display(), self.package, self.others)
    }

    async fn fill(
        &self,
        dir: &Path,
        root: &Path,
        suite: &str,
        finish: &impl Fn(&Path) -> Result<()>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<()> {
        let began = Instant::now();
        let _ = fs::remove_dir_all(dir);
        let archives = self.download(dir, suite, say).await?;
        say("unpacking");
        unpack(&archives, root).await?;
        if let Some(programs) = self.programs {
            relocate::relocate(root, &root.join(programs))?;
        }
        finish(root)?;
        fs::remove_dir_all(dir.join("apt")).context("cannot remove the downloads")?;
        fs::write(dir.join("ready"), self.ready_text(root))?;
        say(&format!("unpacked {} into {} in {:.0?}", self.name, dir.display(), began.elapsed()));
        Ok(())
    }

    /// Downloads the packages of `suite` and gives the folder they are in.
    async fn download(
        &self,
        dir: &Path,
        suite: &str,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<PathBuf> {
        let codename = codename().context("this system does not say which release it is")?;
        let apt = dir.join("apt");
        let apt = match self.dependencies {
            Dependencies::Named => apt::Apt::of_suite(apt, &codename, suite).await?,
            Dependencies::Resolved => apt::Apt::beside_installed(apt, &codename).await?,
        };
        say(&format!("reading the package lists of {suite} from {}", apt.mirror));
        apt.update().await?;
        let named: Vec<_> = self.others.split_whitespace().chain([self.package]).collect();
        match self.dependencies {
            Dependencies::Named => {
                let wanted: Vec<_> = LIBRARIES.split_whitespace().chain(named).collect();
                let known = apt.known(&wanted).await?;
                let has_it = known.iter().any(|name| name == self.package);
                ensure!(has_it, "the mirror has no package {}", self.package);
                say(&format!("downloading {} packages ({})", known.len(), self.size));
                apt.download(&known).await?;
            }
            Dependencies::Resolved => {
                say(&format!(
                    "downloading {} and what they depend on ({})",
                    named.join(", "),
                    self.size
                ));
                apt.download_with_dependencies(&named).await?;
            }
        }
        Ok(apt.archives())
    }
}

/// Checks that programs can run below this folder: the scripts of Erlang and RabbitMQ know no white space.
fn check_path(root: &Path) -> Result<()> {
    let place = root.display().to_string();
    let is_plain = !place.contains(|c: char| c.is_whitespace() || "'\"\\$`*?".contains(c));
    ensure!(
        is_plain,
        "programs can't be unpacked into {place}: its path has white space, quotes or other characters that shells \
         expand. Move the project to a path without them, or install what is missing"
    );
    Ok(())
}

/// The code name of this Debian, as `bookworm`; fails where packages can't be unpacked.
pub(crate) fn release() -> Result<String> {
    let here = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    if !here || os_release("ID").as_deref() != Some("debian") {
        bail!("packages can be unpacked on Debian x86_64 only");
    }
    Ok(codename().unwrap_or_default())
}

fn codename() -> Option<String> {
    os_release("VERSION_CODENAME")
}

fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value =
        text.lines().find_map(|line| line.split_once('=').filter(|(name, _)| *name == key))?.1;
    Some(value.trim_matches('"').to_owned())
}

/// Keeps two processes from unpacking at once. The lock goes with the file handle.
pub(crate) async fn lock(path: &Path, name: &str, say: &(dyn Fn(&str) + Sync)) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        say(&format!("waiting for another process that is unpacking {name}"));
    }
    // A thread that waits for the lock could not be interrupted.
    while let Err(error) = file.try_lock() {
        if let TryLockError::Error(error) = error {
            return Err(error).context("cannot take the lock for unpacking");
        }
        sleep(LOCK_POLL_INTERVAL).await;
    }
    Ok(file)
}

/// Unpacks all packages of a folder into `root`.
async fn unpack(archives: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    for entry in fs::read_dir(archives)? {
        let deb = entry?.path();
        if deb.extension().is_some_and(|end| end == "deb") {
            let args = ["-x".as_ref(), deb.as_os_str(), root.as_os_str()];
            let start = Start::new("/usr/bin/dpkg-deb", root).args(args).envs(minimal_env());
            process::run(start, UNPACK_TIMEOUT).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_scripts_would_split_is_refused_with_the_reason() {
        assert!(check_path(Path::new("/home/me/slow-lane_2.0/.slowlane")).is_ok());
        for bad in ["/home/my work/x", "/home/it's/x", "/home/$HOME/x"] {
            let error = check_path(Path::new(bad)).expect_err(bad).to_string();
            assert!(error.contains(bad) && error.contains("Move the project"), "{error}");
        }
    }
}
