//! The sources of the workspace, for the tests that read them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use testbed::workspace;

/// The lines that are no comments.
pub(super) fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// All Rust files in a folder and in the folders in it, but for what cargo built.
pub(super) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path)?);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The files of every crate: by the folder of the crate, the text of each file by its path in that folder. A `main.rs`
/// beside a `lib.rs`, or in a folder below it, is left out with its folder: it is a crate of its own.
pub(super) fn crates() -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let root = workspace::root();
    let mut roots = vec!["testbed/tests/it".to_owned()];
    for parent in ["", "examples/"] {
        for entry in fs::read_dir(root.join(parent))? {
            let name = format!("{parent}{}", entry?.file_name().to_string_lossy());
            roots.extend(root.join(&name).join("src").is_dir().then(|| format!("{name}/src")));
        }
    }
    ensure!(roots.len() > 2, "there are no crates in {}", root.display());
    roots.into_iter().map(|name| Ok((name.clone(), files(&root.join(&name))?))).collect()
}

fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for path in sources(folder)? {
        let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        files.insert(name, fs::read_to_string(&path)?);
    }
    if files.contains_key("lib.rs") {
        files.remove("main.rs");
        let programs = files.keys().filter_map(|name| name.strip_suffix("main.rs"));
        let programs: Vec<_> = programs.map(str::to_owned).collect();
        files.retain(|name, _| !programs.iter().any(|program| name.starts_with(program)));
    }
    Ok(files)
}
