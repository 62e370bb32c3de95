//! Makes an unpacked Erlang run from where it lies.
//!
//! Its programs were built against the libraries of another release, which lie beside them; so each becomes a small
//! script that runs it with those. A library path in the environment would not do: the virtual machine starts
//! programs of the system, which must stay with the system's libraries.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub(super) fn relocate(root: &Path) -> Result<()> {
    let libraries = libraries(root)?;
    let erlang = root.join("usr/lib/erlang");
    for file in files_under(&erlang)? {
        if is_program(&file)? {
            wrap(&file, root, &libraries)?;
        } else if ["erl", "start", "start_erl"].iter().any(|name| file.ends_with(name)) {
            point_here(&file, &erlang)?;
        }
    }
    Ok(())
}

/// The folder of libc: Debian moved it to `/usr/lib` between the suites.
fn libraries(root: &Path) -> Result<PathBuf> {
    let places = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|place| root.join(place));
    places
        .into_iter()
        .find(|place| place.join("libc.so.6").exists())
        .context("the packages have no libc")
}

fn files_under(dir: &Path) -> Result<Vec<PathBuf>> {
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
    fs::write(file, script)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Replaces the installation folder that Debian wrote into Erlang's start scripts.
fn point_here(script: &Path, erlang: &Path) -> Result<()> {
    let text =
        fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    let mut here = text;
    for before in ['=', '"', '\'', ' '] {
        here = here
            .replace(&format!("{before}/usr/lib/erlang"), &format!("{before}{}", erlang.display()));
    }
    fs::write(script, here)?;
    Ok(())
}
