//! Makes unpacked programs run from where they lie, with the libraries unpacked beside them.
//!
//! They were built against the libraries of another release, which lie beside them; so each becomes
//! a small script that runs it with those. A library path in the environment would not do: programs
//! start programs of the system, which must stay with the system's libraries.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Where Debian's packages have their libraries.
const LIBRARY_FOLDERS: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Does it for all programs below `dir`, with the libraries below `root`.
pub(super) fn relocate(root: &Path, dir: &Path) -> Result<()> {
    let libraries = libraries(root)?;
    for file in files_under(dir)? {
        if is_program(&file)? {
            wrap(&file, root, &libraries)?;
        }
    }
    Ok(())
}

/// All files in a folder and in the folders in it.
pub(crate) fn files_under(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(files_under(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// The folders with libraries below `root`, for programs that also use those that are installed.
pub(crate) fn library_folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for place in LIBRARY_FOLDERS.map(|place| root.join(place)) {
        if !place.is_dir() {
            continue;
        }
        folders.push(place.clone());
        // Debian chooses among some libraries at their installation: each of them lies in a folder of its own. So do those
        // that only another library uses, as PulseAudio's.
        for file in files_under(&place)? {
            let is_library =
                file.file_name().is_some_and(|name| is_library(&name.to_string_lossy()));
            folders.extend(file.parent().filter(|_| is_library).map(Path::to_owned));
        }
    }
    folders.sort();
    folders.dedup();
    Ok(folders)
}

fn is_library(name: &str) -> bool {
    name.starts_with("lib") && (name.contains(".so.") || name.ends_with(".so"))
}

/// Makes a file with this text that can be run.
pub(crate) fn write_script(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o755))?)
}

/// The folder of libc: Debian moved it to `/usr/lib` between the suites.
fn libraries(root: &Path) -> Result<PathBuf> {
    let places = LIBRARY_FOLDERS.map(|place| root.join(place));
    places
        .into_iter()
        .find(|place| place.join("libc.so.6").exists())
        .context("the packages have no libc")
}

fn is_program(file: &Path) -> Result<bool> {
    let library = file.extension().is_some_and(|end| end == "so");
    let mut magic = [0; 4];
    let read = fs::File::open(file)?.read(&mut magic)?;
    Ok(!library && read == 4 && magic == *b"\x7fELF")
}

fn wrap(file: &Path, root: &Path, libraries: &Path) -> Result<()> {
    let program = PathBuf::from(format!("{}.elf", file.display()));
    fs::rename(file, &program)?;
    let script = format!(
        "#!/bin/sh\nexec '{libraries}/ld-linux-x86-64.so.2' --library-path '{libraries}:{root}/usr/lib/x86_64-linux-gnu:\
         {root}/lib/x86_64-linux-gnu' --argv0 \"$0\" '{program}' \"$@\"\n",
        libraries = libraries.display(),
        root = root.display(),
        program = program.display(),
    );
    write_script(file, &script)
}
