//! A headless Chromium, driven by Playwright: both come from the npm registry into `.slowlane/`, with axe.
//!
//! The package of the browser has its libraries and fonts with it, so nothing is installed on the machine.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use crate::{
    debian,
    npm::{INSTALL_TIMEOUT, forget, tool},
    process::{self, Process, Start, minimal_env},
    workspace,
};

/// The packages, each in the release that was tested.
const PACKAGES: [&str; 3] =
    ["playwright-core@1.65.1", "@sparticuz/chromium@147.0.0", "axe-core@4.14.1"];
/// Unpacks the browser. The variable tells the package that the machine has none of the libraries.
const UNPACK: &str = "import('@sparticuz/chromium').then((it) => it.default.executablePath())";
const WITHOUT_LIBRARIES: (&str, &str) = ("AWS_EXECUTION_ENV", "AWS_Lambda_nodejs20.x");

/// Where the fonts are. The package has a file for this, too, but that names places outside of its own folder, and without
/// any font the browser ends at its first page.
const FONTS: &str = r#"<?xml version="1.0"?>
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="relative">fonts-cache</cachedir>
</fontconfig>
"#;

/// The browser and what drives it.
#[derive(Debug, Clone)]
pub struct Browser {
    node: PathBuf,
    dir: PathBuf,
}

static INSTALLED: OnceCell<Browser> = OnceCell::const_new();

impl Browser {
    /// The browser of this project; installs it, if that was not done before.
    ///
    /// # Errors
    /// If Node.js or the npm registry is missing.
    pub async fn find_or_install() -> Result<Self> {
        INSTALLED.get_or_try_init(install).await.cloned()
    }

    /// Starts a script with Node.js. It finds the packages by `MODULES`, the browser by `CHROMIUM`.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&self, script: &Path, args: &[&str]) -> Result<Process> {
        let unpacked = self.dir.join("unpacked");
        let env = [
            ("MODULES", self.dir.clone()),
            ("CHROMIUM", unpacked.join("chromium")),
            ("LD_LIBRARY_PATH", unpacked.join("al2023/lib")),
            ("FONTCONFIG_FILE", unpacked.join("fonts.conf")),
            ("HOME", unpacked.clone()),
        ];
        let start = Start::new(&self.node, &self.dir).args([script.as_os_str()]).args(args);
        start.envs(minimal_env()).envs(env).spawn()
    }
}

async fn install() -> Result<Browser> {
    let (node, npm) = (tool("node")?, tool("npm")?);
    let dir = workspace::state_dir()?.join("tools/browser");
    fs::create_dir_all(&dir)?;
    let say = |line: &str| println!("browser: {line}");
    let _lock = debian::lock(&dir.with_extension("lock"), "the browser", &say).await?;
    let ready = dir.join("ready");
    let wanted = PACKAGES.join("\n") + "\n" + FONTS;
    if fs::read_to_string(&ready).is_ok_and(|installed| installed == wanted) {
        return Ok(Browser { node, dir });
    }
    forget(&ready)?;
    say("installing a browser for the tests under .slowlane/tools (about 90 MB, once)");
    fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
    let args = ["install", "--no-audit", "--no-fund", "--save-exact"];
    // npm reads its registry and its proxy from the environment, too.
    let install = Start::new(npm, &dir).args(args).args(PACKAGES).envs(std::env::vars_os());
    process::run(install, INSTALL_TIMEOUT).await.context("npm can't install the browser")?;
    let unpacked = dir.join("unpacked");
    let _none_before = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked)?;
    fs::write(unpacked.join("fonts.conf"), FONTS)?;
    let env: [(&str, OsString); 2] =
        [(WITHOUT_LIBRARIES.0, WITHOUT_LIBRARIES.1.into()), ("TMPDIR", unpacked.into())];
    let unpack = Start::new(&node, &dir).args(["-e", UNPACK]).envs(minimal_env()).envs(env);
    process::run(unpack, INSTALL_TIMEOUT).await.context("the browser can't be unpacked")?;
    fs::write(ready, wanted)?;
    Ok(Browser { node, dir })
}
