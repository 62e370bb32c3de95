//! The promises name the tests that show them: each of these exists.

use std::fs;

use anyhow::{Context, Result, ensure};
use testbed::workspace;

#[test]
fn every_test_that_a_promise_names_exists() -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("docs/guarantees.md"))?;
    let shown: Vec<&str> = text.split("*Shown by*").skip(1).collect();
    ensure!(shown.len() == 8, "{} of eight promises are shown by a test", shown.len());
    for names in shown {
        let names = names.split("\n\n").next().context("names")?;
        for name in names.split('`').skip(1).step_by(2) {
            is_a_test(name)?;
        }
    }
    Ok(())
}

/// `file::test`, or `file` alone for all of its tests.
fn is_a_test(name: &str) -> Result<()> {
    let (file, test) = name.split_once("::").unwrap_or((name, ""));
    let code = code(file)?;
    ensure!(code.contains("::test"), "{file} has no tests");
    ensure!(test.is_empty() || code.contains(&format!("fn {test}(")), "there is no test {name}");
    Ok(())
}

/// What stands in a file of tests, and in those below it.
fn code(file: &str) -> Result<String> {
    let tests = workspace::root().join("testbed/tests/it");
    let mut code = fs::read_to_string(tests.join(format!("{file}.rs")))
        .with_context(|| format!("no tests are named {file}"))?;
    for below in fs::read_dir(tests.join(file)).into_iter().flatten() {
        code += &fs::read_to_string(below?.path())?;
    }
    Ok(code)
}
