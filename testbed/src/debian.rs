//! Unpacks Debian's own packages into `.slowlane/`, without root and without installing.
//!
//! apt checks the signatures and the checksums; a private apt folder keeps the system's own lists
//! and state out of it. Nothing of the packages is run at installation, so no service is set up and
//! none is left behind.

mod apt;
mod relocate;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
pub(crate) use relocate::files_under;

use crate::{
    process::{self, Start},
    workspace,
};

const LIMIT: Duration = Duration::from_secs(600);

/// The libraries that programs of either suite were built against.
const LIBRARIES: &str = "libc6 libgcc-s1 libstdc++6 libtinfo6 zlib1g libzstd1 libsystemd0 libcap2 \
    libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libssl3 libssl3t64";

/// A program of Debian's with what it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bundle {
    /// What people call it, also in the name of its folder.
    pub(crate) name: &'static str,
    /// The package that must be there.
    pub(crate) package: &'static str,
    /// The other packages. Their names differ between suites: those a suite does not have are
    /// passed over.
    pub(crate) others: &'static str,
    /// The folder whose programs are to run from where they lie, below the root of the packages.
    pub(crate) programs: &'static str,
    /// How much there is to download, for people.
    pub(crate) size: &'static str,
}

impl Bundle {
    /// The folder that stands for `/`, unpacked now if it was not before. `finish` makes the last
    /// changes to a newly unpacked one.
    pub(crate) async fn unpacked(
        &self,
        suite: &str,
        finish: impl Fn(&Path) -> Result<()>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<PathBuf> {
        let dir = workspace::state_dir()?.join(format!("{}-{suite}", self.name.to_lowercase()));
        let root = dir.join("root");
        if !is_ready(&dir, &root) {
            let _lock = lock(&dir.with_extension("lock"), self.name, say).await?;
            // Whoever held the lock before may have done all the work.
            if !is_ready(&dir, &root) {
                self.fill(&dir, &root, suite, &finish, say).await?;
            }
        }
        Ok(root)
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
        self.fetch(dir, suite, say).await?;
        say("unpacking");
        unpack(dir, root).await?;
        relocate::relocate(root, &root.join(self.programs))?;
        finish(root)?;
        fs::remove_dir_all(dir.join("apt")).context("cannot remove the downloads")?;
        fs::write(dir.join("ready"), root.as_os_str().as_encoded_bytes())?;
        say(&format!("unpacked {} into {} in {:.0?}", self.name, dir.display(), began.elapsed()));
        Ok(())
    }

    /// Downloads the packages of `suite` with a private apt folder.
    async fn fetch(&self, dir: &Path, suite: &str, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let codename = codename().context("this system does not say which release it is")?;
        let mirror = apt::mirror(&codename)?;
        let apt = dir.join("apt");
        let archives = apt.join("cache/archives");
        fs::create_dir_all(apt.join("lists/partial"))?;
        fs::create_dir_all(archives.join("partial"))?;
        fs::write(apt.join("status"), "")?;
        fs::write(apt.join("sources.list"), mirror.line(suite))?;
        fs::write(apt.join("apt.conf"), configuration(&apt, &system_settings(&apt).await?))?;

        say(&format!("reading the package lists of {suite} from {}", mirror.uri));
        let update = run(&apt, "/usr/bin/apt-get", &apt, &["-qq", "update"]).await;
        update.context("`apt-get update` failed")?;
        let known = self.known(&apt).await?;
        say(&format!("downloading {} packages ({})", known.len(), self.size));
        let mut download = vec!["-qq", "download"];
        download.extend(known.iter().map(String::as_str));
        let downloaded = run(&apt, "/usr/bin/apt-get", &archives, &download).await;
        downloaded.map(drop).context("`apt-get download` failed")
    }

    /// The packages that the suite has. apt-cache fails when one is missing, though it shows all
    /// the others.
    async fn known(&self, apt: &Path) -> Result<Vec<String>> {
        let mut args = vec!["-q=2", "show", "--no-all-versions", self.package];
        args.extend(LIBRARIES.split_whitespace().chain(self.others.split_whitespace()));
        let process = start(apt, "/usr/bin/apt-cache", apt, &args).spawn()?;
        let _ = process.wait_within(LIMIT).await?;
        let mut lines = process.follow();
        let mut known = Vec::new();
        while let Some(line) = lines.next().await {
            known.extend(line.strip_prefix("Package: ").map(str::to_owned));
        }
        known.sort();
        known.dedup();
        if !known.iter().any(|name| name == self.package) {
            bail!("the mirror has no package {}", self.package);
        }
        Ok(known)
    }
}

/// Whether all is unpacked. The programs know their own absolute path, so a tree that was moved has
/// to be done again.
fn is_ready(dir: &Path, root: &Path) -> bool {
    fs::read_to_string(dir.join("ready")).is_ok_and(|place| Path::new(&place) == root)
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
async fn lock(path: &Path, name: &str, say: &(dyn Fn(&str) + Sync)) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        say(&format!("waiting for another process that is unpacking {name}"));
    }
    let file = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?;
    file.context("cannot take the lock for unpacking")
}

/// The system's own settings for how to reach a mirror: proxies, certificates, retries, and how
/// strict to be.
async fn system_settings(dir: &Path) -> Result<Vec<String>> {
    let dump = Start::new("/usr/bin/apt-config", dir).args(["dump"]).envs(process::minimal_env());
    let lines = process::run(dump, LIMIT).await.context("`apt-config dump` failed")?;
    let wanted = ["Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-"];
    Ok(lines
        .into_iter()
        .filter(|line| wanted.iter().any(|start| line.starts_with(start)))
        .collect())
}

fn configuration(apt: &Path, system: &[String]) -> String {
    let at = |part: &str| apt.join(part).display().to_string();
    let (lists, status, cache, sources) =
        (at("lists"), at("status"), at("cache"), at("sources.list"));
    format!(
        r#"Dir::State::Lists "{lists}"; Dir::State::status "{status}"; Dir::Cache "{cache}";
Dir::Etc::sourcelist "{sources}"; Dir::Etc::sourceparts "-"; Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::parts "/dev/null"; Dir::Etc::main "/dev/null";
APT::Install-Recommends "false"; Acquire::Languages "none"; Debug::NoLocking "true"; APT::Sandbox::User "";
{}
"#,
        system.join("\n")
    )
}

async fn unpack(dir: &Path, root: &Path) -> Result<()> {
    let mut debs = Vec::new();
    for entry in fs::read_dir(dir.join("apt/cache/archives"))? {
        let path = entry?.path();
        debs.extend(path.extension().is_some_and(|end| end == "deb").then_some(path));
    }
    fs::create_dir_all(root)?;
    for deb in &debs {
        let (deb, root) = (deb.to_string_lossy(), root.to_string_lossy());
        run(dir, "/usr/bin/dpkg-deb", dir, &["-x", &deb, &root]).await?;
    }
    Ok(())
}

fn start(apt: &Path, program: &str, dir: &Path, args: &[&str]) -> Start {
    let conf: PathBuf = apt.join("apt.conf");
    Start::new(program, dir)
        .args(args)
        .envs(process::minimal_env())
        .envs([("APT_CONFIG", conf.as_os_str()), ("LC_ALL", "C".as_ref())])
}

async fn run(apt: &Path, program: &str, dir: &Path, args: &[&str]) -> Result<Vec<String>> {
    process::run(start(apt, program, dir, args), LIMIT).await
}
