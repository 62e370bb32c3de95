//! apt with a folder of its own: the system's package lists and state stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::process::{self, Start, minimal_env};

/// How long a program of apt's may run.
const APT_TIMEOUT: Duration = Duration::from_secs(600);

/// Debian's keys. It has those of all suites, while a key in the system's sources may be for one suite alone.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The settings of the system that say how to reach a mirror.
const SYSTEM_SETTINGS: [&str; 4] =
    ["Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-"];

/// apt for one suite, with its own lists, state and cache.
pub(super) struct Apt {
    dir: PathBuf,
    /// The address of the mirror.
    pub(super) mirror: String,
}

impl Apt {
    /// Writes the configuration for `suite` into `dir`. The mirror is the one that this system uses for `codename`.
    pub(super) async fn new(dir: PathBuf, codename: &str, suite: &str) -> Result<Self> {
        fs::create_dir_all(dir.join("lists/partial"))?;
        fs::create_dir_all(dir.join("cache/archives/partial"))?;
        fs::write(dir.join("status"), "")?;
        let mirror = mirror(&dir, codename).await?;
        let key = Path::new(KEYRING).is_file().then(|| format!("[signed-by={KEYRING}] "));
        let source = format!("deb {}{mirror} {suite} main\n", key.unwrap_or_default());
        fs::write(dir.join("sources.list"), source)?;
        fs::write(dir.join("apt.conf"), configuration(&dir, &system_settings(&dir).await?))?;
        Ok(Self { dir, mirror })
    }

    /// Where [`Apt::download`] puts the packages.
    pub(super) fn archives(&self) -> PathBuf {
        self.dir.join("cache/archives")
    }

    /// Downloads the package lists.
    pub(super) async fn update(&self) -> Result<()> {
        let update = self.start("apt-get", &["-qq", "update"]);
        process::run(update, APT_TIMEOUT).await.context("`apt-get update` failed").map(drop)
    }

    /// Those of the packages that the suite has.
    pub(super) async fn known(&self, packages: &[&str]) -> Result<Vec<String>> {
        let show = self.start("apt-cache", &["-q=2", "show", "--no-all-versions"]).args(packages);
        let process = show.spawn()?;
        // It fails when a package is missing, but shows all others.
        let (_, text) = process.ended().await?;
        let names = text.lines().filter_map(|line| line.strip_prefix("Package: "));
        let mut known: Vec<_> = names.map(str::to_owned).collect();
        known.sort();
        known.dedup();
        Ok(known)
    }

    /// Downloads packages, checked against the mirror's signatures.
    pub(super) async fn download(&self, packages: &[String]) -> Result<()> {
        let mut download = self.start("apt-get", &["-qq", "download"]).args(packages);
        download.dir = self.archives();
        process::run(download, APT_TIMEOUT).await.context("`apt-get download` failed").map(drop)
    }

    fn start(&self, program: &str, args: &[&str]) -> Start {
        let configuration = [("APT_CONFIG", self.dir.join("apt.conf"))];
        plain(program, &self.dir, args).envs(configuration)
    }
}

/// A program of apt's that uses the system's own configuration.
fn plain(program: &str, dir: &Path, args: &[&str]) -> Start {
    Start::new(Path::new("/usr/bin").join(program), dir)
        .args(args)
        .envs(minimal_env())
        .envs([("LC_ALL", "C")])
}

/// The address of the mirror from which this system takes the packages of `codename`.
async fn mirror(dir: &Path, codename: &str) -> Result<String> {
    // Without the information of the Release files it works on a system that never read its package lists.
    let args = ["--no-release-info", "indextargets", "--format"];
    let args =
        args.into_iter().chain(["$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]);
    let start = plain("apt-get", dir, &args.collect::<Vec<_>>());
    let sources =
        process::run(start, APT_TIMEOUT).await.context("`apt-get indextargets` failed")?;
    let mirror = sources.iter().find_map(|line| line.strip_suffix(&format!(" {codename} main")));
    mirror.map(str::to_owned).with_context(|| format!("apt has no source for {codename} main"))
}

/// Proxies, certificates, retries and checks, as lines of `apt.conf`.
async fn system_settings(dir: &Path) -> Result<Vec<String>> {
    let lines = process::run(plain("apt-config", dir, &["dump"]), APT_TIMEOUT).await;
    let mut lines = lines.context("`apt-config dump` failed")?;
    lines.retain(|line| SYSTEM_SETTINGS.iter().any(|start| line.starts_with(start)));
    Ok(lines)
}

fn configuration(dir: &Path, system: &[String]) -> String {
    let at = |part: &str| dir.join(part).display().to_string();
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
