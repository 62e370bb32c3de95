//! apt with a folder of its own: the system's package lists and state stay as they are.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::process::{self, Start, is_proxy, minimal_env};

/// How long a program of apt's may run.
const APT_TIMEOUT: Duration = Duration::from_secs(600);

/// Debian's keys. It has those of all suites, while a key in the system's sources may be for one suite alone.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The packages that are installed on this system.
const INSTALLED: &str = "/var/lib/dpkg/status";

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
    /// apt for `suite`, which knows of no installed package. The mirror is the one that this system uses for `codename`.
    pub(super) async fn of_suite(dir: PathBuf, codename: &str, suite: &str) -> Result<Self> {
        make_folders(&dir)?;
        let status = dir.join("status");
        fs::write(&status, "")?;
        let mirror = mirror(&main_sources(&dir).await?, codename)?;
        let sources = vec![(mirror.clone(), suite.to_owned())];
        Self::configured(dir, mirror, &sources, &status).await
    }

    /// apt for the release of this system, with its updates, which knows what is installed.
    pub(super) async fn beside_installed(dir: PathBuf, codename: &str) -> Result<Self> {
        make_folders(&dir)?;
        let mut sources = main_sources(&dir).await?;
        let mirror = mirror(&sources, codename)?;
        let parts = ["", "-updates", "-security"].map(|part| format!("{codename}{part}"));
        sources.retain(|(_, release)| parts.contains(release));
        Self::configured(dir, mirror, &sources, Path::new(INSTALLED)).await
    }

    /// Writes the configuration into `dir`, for these mirrors and releases.
    async fn configured(
        dir: PathBuf,
        mirror: String,
        sources: &[(String, String)],
        status: &Path,
    ) -> Result<Self> {
        let key = Path::new(KEYRING).is_file().then(|| format!("[signed-by={KEYRING}] "));
        let key = key.unwrap_or_default();
        let line = |(uri, release): &(String, String)| format!("deb {key}{uri} {release} main\n");
        fs::write(dir.join("sources.list"), sources.iter().map(line).collect::<String>())?;
        let settings = configuration(&dir, status, &system_settings(&dir).await?);
        fs::write(dir.join("apt.conf"), settings)?;
        Ok(Self { dir, mirror })
    }

    /// Where the downloaded packages are.
    pub(super) fn archives(&self) -> PathBuf {
        self.dir.join("cache/archives")
    }

    /// Downloads the package lists.
    pub(super) async fn update(&self) -> Result<()> {
        // By default it succeeds if no list can be fetched, and the packages seem to be unknown.
        let update = self.start("apt-get", &["-qq", "--error-on=any", "update"]);
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

    /// Downloads packages and what they depend on, but for what is installed.
    pub(super) async fn download_with_dependencies(&self, packages: &[&str]) -> Result<()> {
        let args = ["-qq", "--assume-yes", "--no-install-recommends", "--download-only", "install"];
        let install = self.start("apt-get", &args).args(packages);
        let downloaded = process::run(install, APT_TIMEOUT).await;
        downloaded.context("`apt-get install --download-only` failed").map(drop)
    }

    fn start(&self, program: &str, args: &[&str]) -> Start {
        let configuration = [("APT_CONFIG", self.dir.join("apt.conf"))];
        plain(program, &self.dir, args).envs(configuration)
    }
}

/// A program of apt's that uses the system's own configuration.
fn plain(program: &str, dir: &Path, args: &[&str]) -> Start {
    let proxies = env::vars_os().filter(|(key, _)| key.to_str().is_some_and(is_proxy));
    Start::new(Path::new("/usr/bin").join(program), dir)
        .args(args)
        .envs(minimal_env())
        .envs(proxies)
        .envs([("LC_ALL", "C")])
}

fn make_folders(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("lists/partial"))?;
    Ok(fs::create_dir_all(dir.join("cache/archives/partial"))?)
}

/// The mirrors from which this system takes packages of the component `main`, each with its release.
async fn main_sources(dir: &Path) -> Result<Vec<(String, String)>> {
    // Without the information of the Release files it works on a system that never read its package lists.
    let args = ["--no-release-info", "indextargets", "--format"];
    let args =
        args.into_iter().chain(["$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]);
    let start = plain("apt-get", dir, &args.collect::<Vec<_>>());
    let lines = process::run(start, APT_TIMEOUT).await.context("`apt-get indextargets` failed")?;
    let mut sources = Vec::new();
    for line in lines.iter().filter_map(|line| line.strip_suffix(" main")) {
        let (uri, release) = line.split_once(' ').context("a mirror and its release")?;
        let source = (uri.to_owned(), release.to_owned());
        // The packages of all architectures are an index of their own.
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    Ok(sources)
}

/// The mirror from which this system takes the packages of `codename`.
fn mirror(sources: &[(String, String)], codename: &str) -> Result<String> {
    let found = sources.iter().find(|(_, release)| release == codename);
    found
        .map(|(uri, _)| uri.clone())
        .with_context(|| format!("apt has no source for {codename} main"))
}

/// Proxies, certificates, retries and checks, as lines of `apt.conf`.
async fn system_settings(dir: &Path) -> Result<Vec<String>> {
    let lines = process::run(plain("apt-config", dir, &["dump"]), APT_TIMEOUT).await;
    let mut lines = lines.context("`apt-config dump` failed")?;
    lines.retain(|line| SYSTEM_SETTINGS.iter().any(|start| line.starts_with(start)));
    Ok(lines)
}

fn configuration(dir: &Path, status: &Path, system: &[String]) -> String {
    let at = |part: &str| dir.join(part).display().to_string();
    let (lists, cache, sources) = (at("lists"), at("cache"), at("sources.list"));
    let status = status.display();
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
