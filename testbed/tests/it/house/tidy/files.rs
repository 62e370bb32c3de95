//! What every source file has: a first line that says what it is, and no test that is ignored.

use std::fs;

use anyhow::{Result, ensure};
use testbed::workspace;

use super::sources::{code, sources};

#[test]
fn every_file_says_what_it_is_and_no_test_is_ignored() -> Result<()> {
    for file in sources(&workspace::root())? {
        let text = fs::read_to_string(&file)?;
        ensure!(text.starts_with("//! "), "{} does not begin with what it is", file.display());
        let ignored = code(&text).any(|line| line.trim_start().starts_with("#[ignore"));
        ensure!(!ignored, "{} ignores a test", file.display());
    }
    Ok(())
}
