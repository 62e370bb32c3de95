//! The pictures in the documentation: they are taken again from a system with some work in it.

use std::fs;

use anyhow::{Context, Result, ensure};
use pipeline::contract::Timestamp;
use testbed::{browser::Browser, workspace};

use super::passes;
use crate::support::{database::Database, stack::Stack};

/// Where they are put, below the root of the workspace. Those that the documentation shows are copied from here.
const FOLDER: &str = "target/pictures";

/// An hour in which requests came in waves, and a part of them failed in one of its minutes.
async fn fill_last_hour(database: &Database) -> Result<()> {
    let minute = Timestamp::now().as_millis() / 60_000;
    let rows: Vec<_> = (0..60)
        .map(|ago| {
            let wave = 40 + 25 * (ago * 7 % 13) / 13 + if (20..32).contains(&ago) { 45 } else { 0 };
            let failed = if (22..26).contains(&ago) { wave / 3 } else { ago % 3 };
            let completed = wave - failed - ago % 2;
            format!(
                "({}, 999999, 'default', {wave}, {completed}, {failed}, {})",
                minute - ago,
                ago % 2
            )
        })
        .collect();
    let columns = "minutes (minute, writer, type, accepted, completed, failed, cancelled)";
    database.change(&format!("INSERT INTO {columns} VALUES {}", rows.join(", "))).await
}

#[tokio::test]
async fn the_pictures_of_the_documentation_can_be_taken_again() -> Result<()> {
    let (stack, database) = (Stack::fresh().await?, Database::sqlite()?);
    let web = database.web(&stack).await?;
    let _processor = stack.start_faulty(4, "200ms").await?;
    fill_last_hour(&database).await?;
    let (root, folder) = (workspace::root(), workspace::root().join(FOLDER));
    fs::create_dir_all(&folder)?;
    let script = root.join("testbed/browser/scenarios.mjs");
    let folder_name = folder.to_str().context("a path")?;
    let args = ["pictures", &web.base, folder_name];
    passes(Browser::find_or_install().await?.start(&script, &args)?).await?;
    let mut shown = Vec::new();
    for file in fs::read_dir(root.join("docs"))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".png") {
            ensure!(folder.join(&name).is_file(), "{name} was not taken");
            shown.push(name);
        }
    }
    ensure!(!shown.is_empty(), "the documentation shows none");
    Ok(())
}
