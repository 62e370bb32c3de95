//! The commands and the scripts that stand in the documents.

use std::fs;

use anyhow::{Context, Result};
use testbed::workspace;

/// The lines of all `sh` blocks of a document.
pub(crate) fn commands(document: &str) -> Result<Vec<String>> {
    let blocks = blocks(document, "sh")?;
    let lines = blocks.iter().flat_map(|block| block.lines());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// All blocks of a document in this language.
pub(crate) fn blocks(document: &str, language: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace::root().join(document)).context(document.to_owned())?;
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1).filter_map(|block| block.split("```").next());
    Ok(blocks.map(str::to_owned).collect())
}
