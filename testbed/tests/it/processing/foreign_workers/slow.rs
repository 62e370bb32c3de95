//! The example workers in Python, Node.js and Rust, with the libraries that they need.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use testbed::{
    Program, Proxy,
    process::{self, Start},
    program::Running,
    python, shared_node, workspace,
};
use tokio::sync::OnceCell;

use super::{conformance, outcome, told, unused};
use crate::support::{
    documents::commands,
    stack::{REQUESTS, Stack},
    wait::settles,
};

const DOCUMENT: &str = "docs/workers.md";
const SLOWLANE: &str = "cargo run --bin slowlane --";
/// pip and npm fetch a few packages, and cargo builds some dozens.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A copy of the examples, with their libraries: what a reader has who has typed the commands of the document.
struct Installed {
    folder: PathBuf,
}

static INSTALLED: OnceCell<Installed> = OnceCell::const_new();

impl Installed {
    async fn get() -> Result<&'static Self> {
        INSTALLED.get_or_try_init(Self::install).await
    }

    async fn install() -> Result<Self> {
        let folder = workspace::state_dir()?.join("tools/workers");
        for file in [
            "python/requirements.txt",
            "python/worker.py",
            "node/package.json",
            "node/worker.js",
            "rust/Cargo.toml",
            "rust/Cargo.lock",
            "rust/src/main.rs",
        ] {
            let path = Path::new("examples/workers").join(file);
            let (from, to) = (workspace::root().join(&path), folder.join(&path));
            fs::create_dir_all(to.parent().context("a folder")?)?;
            fs::copy(from, to).with_context(|| path.display().to_string())?;
        }
        let installed = Self { folder };
        python::virtual_environment(&installed.folder.join("venv")).await?;
        for command in commands(DOCUMENT)?.iter().filter(|command| !command.starts_with(SLOWLANE)) {
            installed.shell(command).await.with_context(|| command.clone())?;
        }
        Ok(installed)
    }

    async fn shell(&self, line: &str) -> Result<()> {
        let start = Start::new("/bin/sh", &self.folder).args(["-c", line]);
        let start = start.envs(std::env::vars_os()).envs([self.path()]);
        process::run(start, INSTALL_TIMEOUT).await.map(drop)
    }

    /// `PATH` with the Python of the virtual environment.
    fn path(&self) -> (OsString, OsString) {
        let mut path = self.folder.join("venv/bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        ("PATH".into(), path)
    }

    fn python(&self, script: &Path) -> [String; 2] {
        let python = self.folder.join("venv/bin/python3");
        [python, script.to_owned()].map(|path| path.display().to_string())
    }

    /// A worker as a program for a virtual host.
    fn worker(&self, stack: &Stack, name: &str) -> Result<Running> {
        let examples = self.folder.join("examples/workers");
        let program = match name {
            "python" => Program::at(self.folder.join("venv/bin/python3"))
                .arg(examples.join("python/worker.py")),
            "node" => Program::at(workspace::on_path("node").context("node is missing")?)
                .arg(examples.join("node/worker.js")),
            _ => Program::at(examples.join("rust/target/debug/worker")),
        };
        program.env("AMQP_URL", &stack.url).start()
    }
}

#[tokio::test]
async fn the_commands_of_the_document_find_that_each_example_keeps_the_contract() -> Result<()> {
    let installed = Installed::get().await?;
    let checks = commands(DOCUMENT)?;
    let checks: Vec<_> =
        checks.iter().filter_map(|command| command.strip_prefix(SLOWLANE)).collect();
    ensure!(checks.len() == 3, "{checks:?}");
    let checked = checks.into_iter().map(async |check| {
        let stack = unused().await;
        let slowlane = workspace::binary("slowlane")?.display().to_string();
        let line = format!("{slowlane} {check}");
        let start = Start::new("/bin/sh", &installed.folder).args(["-c", &line]);
        let start = start.envs([installed.path()]).envs([("AMQP_URL", stack.url.as_str())]);
        let said = process::run(start, INSTALL_TIMEOUT).await.with_context(|| line.clone())?;
        let kept = said.iter().filter(|line| line.starts_with("ok ")).count();
        ensure!(kept == 15, "{line}: {said:#?}");
        Ok(())
    });
    try_join_all(checked).await.map(drop)
}

/// An example with other texts in place of some.
fn changed(example: &str, changes: &[(&str, &str)]) -> Result<String> {
    let script = workspace::root().join("examples/workers").join(example);
    let script = fs::read_to_string(script)?;
    changes.iter().try_fold(script, |script, (from, to)| {
        ensure!(script.contains(from), "the example has no {from:?}");
        Ok(script.replace(from, to))
    })
}

/// What is checked about a Python worker in which a part of the example was replaced.
async fn broken(from: &str, to: &str, rule: &str) -> Result<String> {
    broken_of("default", &[(from, to)], rule).await
}

/// The same of a worker of this type.
async fn broken_of(kind: &str, changes: &[(&str, &str)], rule: &str) -> Result<String> {
    let (installed, folder) = (Installed::get().await?, tempfile::tempdir()?);
    let path = folder.path().join("worker.py");
    fs::write(&path, changed("python/worker.py", changes)?)?;
    let [python, path] = installed.python(&path);
    let options = ["--output", "json", "--type", kind, "--refused", "\"refuse\""];
    let words = [&options[..], &[&python, &path]].concat();
    let said = conformance(&unused().await, &words).await?;
    ensure!(said.code == Some(1), "{}", said.text);
    let told = told(&said)?;
    let outcome = outcome(&told, rule)?;
    ensure!(outcome["outcome"] == "broken", "{told}");
    Ok(outcome["detail"].to_string())
}

#[tokio::test]
async fn a_worker_that_acks_first_is_found_out() -> Result<()> {
    let seen = broken(
        "            self.process(method, properties, body)\n",
        "            self.channel.basic_ack(method.delivery_tag)\n            self.process(method, properties, body)\n            continue\n",
        "ack-after-confirm",
    )
    .await?;
    ensure!(seen.contains("acked the request before it published the result"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_does_not_wait_for_the_confirm_is_found_out() -> Result<()> {
    let seen = broken("        self.channel.confirm_delivery()\n", "", "ack-after-confirm").await?;
    ensure!(seen.contains("before the broker had confirmed"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_loses_unicode_is_found_out() -> Result<()> {
    let lossy =
        "    return json.loads(json.dumps(data, ensure_ascii=False).encode('ascii', 'replace'))\n";
    let seen = broken("    return data\n", lossy, "content").await?;
    ensure!(seen.contains("Za????"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_dies_on_junk_is_found_out() -> Result<()> {
    let seen = broken(
        "except Exception as error:  #",
        "except ZeroDivisionError as error:  #",
        "malformed",
    )
    .await?;
    ensure!(seen.contains("it ended with"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_makes_infinity_of_a_number_is_found_out_at_once() -> Result<()> {
    let changes = [
        ("import simplejson as json", "import json"),
        (", use_decimal=True", ""),
        ("allow_nan=False", "allow_nan=True"),
    ];
    let seen = broken_of("default", &changes, "content").await?;
    ensure!(seen.contains("Infinity"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_dies_of_deep_nesting_is_found_out() -> Result<()> {
    let narrow = "except (ValueError, KeyError, TypeError) as error:  #";
    let seen = broken("except Exception as error:  #", narrow, "nesting").await?;
    ensure!(seen.contains("1000 lists in each other, and ended with"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_does_not_copy_the_type_is_found_out() -> Result<()> {
    let of_video = ("\"processing.requests\"", "\"processing.requests.video\"");
    let changes = [of_video, ("\"slowlane-type\", ", "")];
    let seen = broken_of("video", &changes, "headers").await?;
    ensure!(seen.contains("does not have slowlane-type"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_takes_many_at_once_is_found_out() -> Result<()> {
    let seen = broken("prefetch_count=1", "prefetch_count=10", "prefetch").await?;
    ensure!(seen.contains("2 requests in hand"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_whose_error_is_too_long_for_a_frame_is_found_out() -> Result<()> {
    let seen = broken("message[:MAX_ERROR_LENGTH]", "message", "malformed").await?;
    ensure!(seen.contains("200 KiB that are no UTF-8") && seen.contains("again"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_begins_what_has_expired_is_found_out() -> Result<()> {
    let seen = broken("            refuse_expired(method, properties)\n", "", "expiry").await?;
    ensure!(seen.contains("it worked on a request"), "{seen}");
    Ok(())
}

/// What work does that takes longer than a worker needs to connect again, and that must not run twice at once.
const PYTHON_WORK: &str = r#"    try:
        os.close(os.open("working", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "twice at once"
    time.sleep(5)
    os.remove("working")
    return data
"#;
const NODE_WORK: &str = r#"  const fs = await import("node:fs");
  try {
    fs.closeSync(fs.openSync("working", "wx"));
  } catch {
    return "twice at once";
  }
  await sleep(5000);
  fs.unlinkSync("working");
  return data;
"#;

#[tokio::test]
async fn no_example_works_twice_at_once_on_a_request_that_comes_again() -> Result<()> {
    let (python, node) = ("python/worker.py", "node/worker.js");
    tokio::try_join!(
        works_once_at_a_time(python, "    return data\n", PYTHON_WORK),
        works_once_at_a_time(node, "  return data;\n", NODE_WORK),
    )?;
    Ok(())
}

/// Runs an example with this work in place of its own, and cuts its connection while it works.
async fn works_once_at_a_time(example: &str, from: &str, work: &str) -> Result<()> {
    let installed = Installed::get().await?;
    let vhost = shared_node::vhost().await;
    let (stack, proxy) = (Stack::on(&vhost.url).await?, Proxy::start(vhost.address()).await?);
    let web = stack.web().await?;
    // Beside the original, where its libraries are found.
    let name = example.replace("worker.", "slow_worker.");
    let script = installed.folder.join("examples/workers").join(name);
    fs::write(&script, changed(example, &[(from, work)])?)?;
    let program = match example.ends_with(".py") {
        true => installed.folder.join("venv/bin/python3"),
        false => workspace::on_path("node").context("node is missing")?,
    };
    let worker = Program::at(program).arg(script).env("AMQP_URL", proxy.url(&vhost.url)).start()?;
    let id = web.accepted("done".into()).await?;
    let working = worker.dir().join("working");
    settles("the work has begun", async || Ok(working.exists())).await?;
    proxy.cut();
    ensure!(web.ended(&id).await?["processingResults"] == "done", "{}", worker.error(example));
    Ok(())
}

/// All of them consume the same queue. Each is killed while requests come, and started again.
#[tokio::test]
async fn workers_in_three_languages_share_300_requests_and_lose_none() -> Result<()> {
    let (stack, installed) = (Stack::fresh().await?, Installed::get().await?);
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let start = async || {
        let others = ["python", "node", "rust"].map(|name| installed.worker(&stack, name));
        anyhow::Ok((stack.processor(1, "20ms").await?, others))
    };
    let (ours, others) = start().await?;
    let consumers = async || Ok(foreign.depth(REQUESTS).await?.consumers == 4);
    settles("all consume", consumers).await?;
    let post = |n: std::ops::Range<u32>| {
        try_join_all(n.map(|n| web.accepted(json!({"n": n, "text": "ä😀"}))))
    };
    let mut ids = post(0..150).await?;
    ours.kill();
    for other in others {
        other?.kill();
    }
    ids.extend(post(150..300).await?);
    let (_ours, _others) = start().await?;
    for id in &ids {
        ensure!(web.ended(id).await?["status"] == "completed", "{id}");
    }
    Ok(())
}
