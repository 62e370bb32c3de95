//! ImageMagick and ffmpeg, for work on pictures and videos: those of this machine, or Debian's unpacked into `.slowlane/`.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    debian::{
        self, Bundle, Dependencies,
        relocate::{library_folders, write_script},
    },
    process::{self, Start, minimal_env, path_with},
    workspace,
};

const BUNDLE: Bundle = Bundle {
    name: "Media",
    package: "ffmpeg",
    others: "imagemagick",
    dependencies: Dependencies::Resolved,
    programs: None,
    size: "60 to 150 MB, once",
};

const HOW_TO_GET: &str = "ImageMagick and ffmpeg are not on this machine, and they could not be unpacked beside the project. \
    Install them (Debian, Ubuntu: `sudo apt-get install imagemagick ffmpeg`; macOS: `brew install imagemagick ffmpeg`) and type \
    the same command again";

/// How long a program may take to say its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// A program that is needed.
struct Tool {
    /// Its name on `PATH`.
    name: &'static str,
    /// Its names in Debian's packages: `convert` is made at their installation.
    packaged: &'static [&'static str],
    /// What its version begins with. There are other programs of the name `convert`.
    version: &'static str,
}

const TOOLS: [Tool; 3] = [
    Tool {
        name: "convert",
        packaged: &["convert-im7.q16", "convert-im6.q16"],
        version: "Version: ImageMagick",
    },
    Tool { name: "ffmpeg", packaged: &["ffmpeg"], version: "ffmpeg version" },
    Tool { name: "ffprobe", packaged: &["ffprobe"], version: "ffprobe version" },
];

/// Gives the `PATH` under which the programs `convert`, `ffmpeg` and `ffprobe` work. `say` gets each step as a line for
/// people.
///
/// # Errors
/// If they are not on this machine and can't be unpacked.
pub async fn path_with_tools(say: &(dyn Fn(&str) + Sync)) -> Result<OsString> {
    let mut found = true;
    for tool in &TOOLS {
        found &= match workspace::on_path(tool.name) {
            Some(program) => tool.works(&program).await.is_ok(),
            None => false,
        };
    }
    if found {
        return Ok(minimal_env().remove(0).1);
    }
    let path = match unpacked(say).await {
        // What was installed when they were unpacked may have been removed since.
        Err(_) => unpacked_anew(say).await,
        path => path,
    };
    path.context(HOW_TO_GET)
}

async fn unpacked(say: &(dyn Fn(&str) + Sync)) -> Result<OsString> {
    let bin = BUNDLE.unpacked(&debian::release()?, write_scripts, say).await?.join("bin");
    for tool in &TOOLS {
        tool.works(&bin.join(tool.name)).await?;
    }
    Ok(path_with(&bin))
}

async fn unpacked_anew(say: &(dyn Fn(&str) + Sync)) -> Result<OsString> {
    BUNDLE.forget(&debian::release()?)?;
    unpacked(say).await
}

impl Tool {
    /// Checks that a program is the wanted one, and begins to run.
    async fn works(&self, program: &Path) -> Result<()> {
        let start = Start::new(program, workspace::root()).args(["-version"]);
        let lines = process::run(start.envs(minimal_env()), VERSION_TIMEOUT).await?;
        let is_it = lines.iter().any(|line| line.starts_with(self.version));
        is_it.then_some(()).with_context(|| format!("{} is another program", program.display()))
    }
}

/// Writes a script for each program into `bin` below the root of the packages, which runs it from there.
fn write_scripts(root: &Path) -> Result<()> {
    let (bin, links) = (root.join("bin"), root.join("links"));
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(&links)?;
    let libraries = export("LD_LIBRARY_PATH", &library_folders(root)?);
    let exports = format!("{libraries}{}", magick_folders(root)?);
    for tool in &TOOLS {
        let mut packaged = tool.packaged.iter().map(|name| root.join("usr/bin").join(name));
        let unpacked = packaged.find(|file| file.is_file());
        // Of what is installed nothing was downloaded.
        let program = unpacked.or_else(|| workspace::on_path(tool.name));
        let program = program.with_context(|| format!("no package has {}", tool.name))?;
        // ImageMagick does what it is called.
        let link = links.join(tool.name);
        symlink(program, &link)?;
        let script = format!("#!/bin/sh\n{exports}exec '{}' \"$@\"\n", link.display());
        write_script(&bin.join(tool.name), &script)?;
    }
    Ok(())
}

/// The line of a script that sets a variable to these folders.
fn export(name: &str, folders: &[PathBuf]) -> String {
    let folders: Vec<_> = folders.iter().map(|it| it.display().to_string()).collect();
    format!("export {name}='{}'\n", folders.join(":"))
}

/// The lines of a script that tell ImageMagick where its parts lie; none if it was not unpacked.
fn magick_folders(root: &Path) -> Result<String> {
    let inside = |parent: &str| folders_inside(&root.join(parent), "ImageMagick");
    let mut configuration = [inside("etc")?, inside("usr/share")?].concat();
    let (mut coders, mut filters) = (Vec::new(), Vec::new());
    for library in inside("usr/lib/x86_64-linux-gnu")? {
        configuration.extend(folders_inside(&library, "config")?);
        let modules = folders_inside(&library, "modules")?;
        coders.extend(modules.iter().map(|modules| modules.join("coders")));
        filters.extend(modules.iter().map(|modules| modules.join("filters")));
    }
    let lines = [
        ("MAGICK_CONFIGURE_PATH", configuration),
        ("MAGICK_CODER_MODULE_PATH", coders),
        ("MAGICK_CODER_FILTER_PATH", filters),
    ];
    let set = lines.iter().filter(|(_, folders)| !folders.is_empty());
    Ok(set.map(|(name, folders)| export(name, folders)).collect())
}

/// The folders in a folder whose names begin so, in the order of their names.
fn folders_inside(parent: &Path, start: &str) -> Result<Vec<PathBuf>> {
    if !parent.is_dir() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(start) && entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}
