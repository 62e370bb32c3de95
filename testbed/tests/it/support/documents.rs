//! The commands that stand in the documents.

use std::fs;

use anyhow::{Context, Result};
use testbed::workspace;

/// The lines of all `sh` blocks of a document.
pub(crate) fn commands(document: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace::root().join(document)).context(document.to_owned())?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    Ok(blocks.flat_map(str::lines).map(str::to_owned).filter(|line| !line.is_empty()).collect())
}
