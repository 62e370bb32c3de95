//! Each kind of processor (a command, a command that stays up, an HTTP endpoint, a Rust type) in each situation.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::STARTED;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Program, program::Running};

use crate::support::{
    endpoint::{Endpoint, Reply},
    http_call::Call,
    stack::{Stack, Web, consuming},
};

/// What the processors run beside a kind of work.
const SETTINGS: [(&str, &str); 5] = [
    ("WORKERS", "2"),
    ("MAX_ATTEMPTS", "2"),
    ("RETRY_DELAYS", "1s"),
    // Longer than a command takes to start on a slow machine.
    ("JOB_TIMEOUT", "6s"),
    ("RESULT_LIMIT", "2MiB"),
];
/// The file for which work waits that is told so.
const GO: &str = "go";

/// Work that does what its data says, as the example `faulty` does.
const COMMAND: &str = r#"
data=$(cat)
case $data in
    *permanent*) echo no >&2; exit 65 ;;
    *retryAfter*) if [ "$SLOWLANE_ATTEMPT" = 1 ]; then echo 'retry-after: 2s' >&2; exit 75; fi ;;
    *hang*) sleep 1000 ;;
    *until*) until [ -e go ]; do sleep 0.05; done ;;
    *bytes*) printf 'a\377'; exit ;;
    *endless*) exec yes ;;
esac
printf %s "$data"
"#;
const POOL: &str = r#"
import json, os, sys, time

out = sys.stdout.buffer
for line in sys.stdin.buffer:
    job = json.loads(line)
    data, answer = job["data"], {"id": job["id"]}
    if "permanent" in data:
        answer["error"] = {"message": "no"}
    elif "retryAfter" in data and job["attempt"] == 1:
        answer["error"] = {"message": "busy", "retry": "2s"}
    else:
        if "hang" in data:
            time.sleep(1000)
        while "until" in data and not os.path.exists("go"):
            time.sleep(0.05)
        while "endless" in data:
            out.write(b"y" * 65536)
        answer["result"] = data
    text = json.dumps(answer).encode()
    if "bytes" in data:
        text = b'{"id":"' + job["id"].encode() + b'","result":"a\xff"}'
    out.write(text + b"\n")
    out.flush()
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Pool,
    Http,
    Rust,
}

/// A web service and a processor of a kind, whose work waits for files in a folder.
struct Scene {
    kind: Kind,
    stack: Stack,
    web: Web,
    folder: TempDir,
    endpoint: Endpoint,
    processor: Running,
}

/// What the endpoint answers.
fn reply(call: &Call, folder: &Path) -> Reply {
    let is = |name: &str| call.body.contains(name);
    let first = call.headers["slowlane-attempt"] == "1";
    let has_to_wait = is("until") && !folder.join(GO).exists();
    if is("permanent") {
        Reply::status("422 Unprocessable Content", "no")
    } else if is("retryAfter") && first {
        Reply::with_header("429 Busy", "Retry-After: 2")
    } else if is("hang") || has_to_wait {
        Reply::Hang
    } else if is("bytes") {
        Reply::With("200 OK", String::new(), b"a\xff".to_vec())
    } else if is("endless") {
        Reply::Endless
    } else {
        Reply::json(&call.body)
    }
}

async fn start(kind: Kind, stack: &Stack, folder: &Path, endpoint: &Endpoint) -> Result<Running> {
    let program = match kind {
        Kind::Rust => stack.program("examples/faulty"),
        _ => stack.program("processor-service"),
    };
    let command = |program: Program, line: &str| {
        program.env("PROCESSOR", "command").env("PROCESSOR_COMMAND", line)
    };
    let program = match kind {
        Kind::Command => command(program, "sh work.sh"),
        Kind::Pool => command(program, "python3 work.py").env("COMMAND_POOL", "true"),
        Kind::Http => program.env("PROCESSOR", "http").env("PROCESSOR_URL", endpoint.url()),
        Kind::Rust => program,
    };
    let program = SETTINGS.iter().fold(program, |program, (name, value)| program.env(name, *value));
    let processor = program.current_dir(folder).start()?;
    consuming(&processor, 2).await?;
    Ok(processor)
}

impl Scene {
    async fn of(kind: Kind) -> Result<Self> {
        let (stack, folder) = (Stack::fresh().await?, tempfile::tempdir()?);
        fs::write(folder.path().join("work.sh"), COMMAND)?;
        fs::write(folder.path().join("work.py"), POOL)?;
        let path = folder.path().to_owned();
        let endpoint = Endpoint::start(move |call, _| reply(call, &path)).await?;
        let started = start(kind, &stack, folder.path(), &endpoint);
        let (web, processor) = tokio::try_join!(stack.web(), started)?;
        Ok(Self { kind, stack, web, folder, endpoint, processor })
    }

    async fn end_of(&self, data: Value) -> Result<Value> {
        let id = self.web.accepted(data).await?;
        let ended = self.web.ended(&id).await;
        ended.map_err(|error| self.processor.error(&error.to_string()))
    }

    /// The result is the data.
    async fn gives_back(&self, data: Value) -> Result<()> {
        let ended = self.end_of(data.clone()).await?;
        ensure!(ended["processingResults"] == data, "{}", self.processor.error(&ended.to_string()));
        Ok(())
    }

    /// Ends a request with this error code.
    async fn fails(&self, data: Value, code: &str) -> Result<Value> {
        let ended = self.end_of(data).await?;
        ensure!(ended["status"] == "failed" && ended["error"]["code"] == code, "{ended}");
        Ok(ended)
    }

    /// Sends a request, and waits until its work has begun.
    async fn begun(&self, data: Value) -> Result<String> {
        let from_now = self.processor.from_now();
        let id = self.web.accepted(data).await?;
        let started = from_now.wait_for_message(STARTED).await?;
        ensure!(started["requestId"] == id, "{started}");
        Ok(id)
    }

    async fn results_and_failures(&self) -> Result<()> {
        let data = json!({"text": "ä\u{1f600}", "list": [1, null]});
        self.gives_back(data).await?;
        let ended = self.fails(json!({"permanent": "no"}), "permanent").await?;
        let message = ended["error"]["message"].as_str().context("a message")?;
        ensure!(ended["attempts"] == 1 && message.contains("no"), "{ended}");
        let ended = self.end_of(json!({"retryAfter": "2s"})).await?;
        ensure!(ended["status"] == "completed" && ended["attempts"] == 2, "{ended}");
        Ok(())
    }

    async fn stops(&self) -> Result<()> {
        let ended = self.fails(json!({"hang": true}), "timeout").await?;
        ensure!(ended["attempts"] == 2, "{ended}");
        let id = self.begun(json!({"hang": true})).await?;
        self.web.delete(&id).await?;
        assert_eq!(self.web.ended(&id).await?["status"], "cancelled");
        // The worker is free again.
        self.gives_back(json!({"n": 1})).await
    }

    async fn much_and_odd_output(&self) -> Result<()> {
        let much = json!({"much": "x".repeat((1 << 20) - 100)});
        ensure!(self.end_of(much.clone()).await?["processingResults"] == much, "it is another");
        // What a Rust type gives is JSON.
        if self.kind != Kind::Rust {
            let ended = self.end_of(json!({"bytes": true})).await?;
            assert_eq!(ended["processingResults"], "a\u{fffd}", "{ended}");
        }
        self.fails(json!({"endless": true}), "result_too_large").await.map(drop)
    }

    async fn outlives_a_kill(self) -> Result<()> {
        let id = self.begun(json!({"until": GO})).await?;
        self.processor.kill();
        self.processor.wait().await?;
        fs::write(self.folder.path().join(GO), "")?;
        let _heir = start(self.kind, &self.stack, self.folder.path(), &self.endpoint).await?;
        assert_eq!(self.web.ended(&id).await?["processingResults"], json!({"until": GO}));
        Ok(())
    }
}

async fn in_each_situation(kind: Kind) -> Result<()> {
    let scene = Scene::of(kind).await?;
    tokio::try_join!(scene.results_and_failures(), scene.much_and_odd_output())?;
    scene.stops().await?;
    scene.outlives_a_kill().await
}

#[tokio::test]
async fn a_command_in_each_situation() -> Result<()> {
    in_each_situation(Kind::Command).await
}

#[tokio::test]
async fn a_command_that_stays_up_in_each_situation() -> Result<()> {
    in_each_situation(Kind::Pool).await
}

#[tokio::test]
async fn an_http_endpoint_in_each_situation() -> Result<()> {
    in_each_situation(Kind::Http).await
}

#[tokio::test]
async fn a_rust_type_in_each_situation() -> Result<()> {
    in_each_situation(Kind::Rust).await
}
