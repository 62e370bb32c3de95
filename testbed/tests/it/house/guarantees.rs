//! docs/guarantees.md names tests that exist.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
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

/// Fails unless `name` is a test (`folder::file::test`) or a file of tests (`folder::file`).
fn is_a_test(name: &str) -> Result<()> {
    let path: Vec<&str> = name.split("::").collect();
    let [folder, file, test @ ..] = &path[..] else { bail!("{name} is not the path of a test") };
    let code = code(folder, file).with_context(|| format!("no tests are named {name}"))?;
    ensure!(code.contains("::test"), "{folder}::{file} has no tests");
    for test in test {
        ensure!(code.contains(&format!("fn {test}(")), "there is no test {name}");
    }
    Ok(())
}

/// The text of a file of tests and of the files below it.
fn code(folder: &str, file: &str) -> Result<String> {
    let tests = workspace::root().join("testbed/tests/it").join(folder);
    let mut code = fs::read_to_string(tests.join(format!("{file}.rs")))?;
    for below in fs::read_dir(tests.join(file)).into_iter().flatten() {
        code += &fs::read_to_string(below?.path())?;
    }
    Ok(code)
}
