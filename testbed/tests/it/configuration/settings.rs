//! Settings of all programs: bad values, files, flags and precedence.

use std::{collections::BTreeSet, fs};

use anyhow::Result;
use pipeline::log_messages::{MISSPELT_SETTING, OPEN_FILES_LIMIT, OTHER_SETTINGS};
use testbed::{Program, process::json_message, workspace};

/// All programs that have settings.
const PROGRAMS: [&str; 4] = ["web-service", "processor-service", "setup", "slowlane"];

#[tokio::test]
async fn every_bad_value_is_named_in_one_go_and_ends_with_2() -> Result<()> {
    let programs = [
        (
            "web-service",
            vec![
                "HTTP_ADDR",
                "WEBHOOK_SECRET",
                "CALLBACK_ALLOW_PRIVATE",
                "BODY_LIMIT",
                "AMQP_URL",
                "LOG_FORMAT",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
            ],
        ),
        (
            "processor-service",
            vec![
                "ACK_TIMEOUT",
                "JOB_TIMEOUT",
                "PREFETCH",
                "PROCESSING_DELAY",
                "PROCESSOR",
                "PROCESSOR_HTTP_ADDR",
                "RESULT_LIMIT",
                "RUST_LOG",
                "WORKERS",
            ],
        ),
        ("setup", vec!["QUEUE_TYPE", "ACK_TIMEOUT", "AMQP_URL"]),
    ];
    for (name, variables) in programs {
        let mut program = Program::new(name);
        for variable in &variables {
            program = program.env(variable, "wr0ng=value");
        }
        let (status, text) = program.start()?.ended().await?;
        assert_eq!(status.code(), Some(2), "{name}: {text}");
        for variable in variables {
            assert!(
                text.contains(&format!("{variable}=")),
                "{name} does not name {variable}: {text}"
            );
        }
        assert!(!text.contains("AMQP_URL=wr0ng"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn help_names_every_variable_and_shows_no_password() -> Result<()> {
    let mut named = BTreeSet::new();
    for name in PROGRAMS {
        let program = Program::new(name).arg("--help").env("AMQP_URL", "amqp://u:hunter2@h");
        let (status, text) = program.start()?.ended().await?;
        assert!(status.success(), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("guest:guest"), "{text}");
        // Lines are broken wherever they are too long.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for variable in variables_in(&text) {
            let flag = flag(&variable);
            assert!(text.contains(&format!("{flag} ")), "{name} has no {flag}: {text}");
            named.insert(variable);
        }
    }
    let example = fs::read_to_string(workspace::root().join(".env.example"))?;
    let settings = example.lines().filter_map(|line| line.split_once('='));
    let settings = settings.map(|(name, _)| name.trim_start_matches('#').to_owned());
    let settings: BTreeSet<_> = settings.filter(|name| !name.contains(' ')).collect();
    assert_eq!(named, settings, "some program's help, and .env.example");
    Ok(())
}

/// The flag of a variable. The command line's is short, since people type it.
fn flag(variable: &str) -> String {
    match variable {
        "SLOWLANE_URL" => "--url".to_owned(),
        _ => format!("--{}", variable.to_lowercase().replace('_', "-")),
    }
}

#[tokio::test]
async fn work_that_cannot_be_done_in_time_or_at_all_is_not_begun() -> Result<()> {
    for (values, said) in [
        (vec![("PROCESSOR", "command")], "PROCESSOR_COMMAND= is needed with PROCESSOR=command"),
        (
            vec![("PROCESSOR", "command"), ("PROCESSOR_COMMAND", "no-such-program --key s3cret")],
            "there is no program \"no-such-program\" that can be run",
        ),
        (vec![("JOB_TIMEOUT", "30m")], "a JOB_TIMEOUT of at most 27m 35s, or an ACK_TIMEOUT"),
    ] {
        let start = |program: Program, (name, value)| program.env(name, value);
        let program = values.iter().copied().fold(Program::new("processor-service"), start);
        let (status, text) = program.start()?.ended().await?;
        assert_eq!(status.code(), Some(2), "{text}");
        assert!(text.contains(said) && !text.contains("s3cret"), "{text}");
    }
    Ok(())
}

/// The variables that a help text names: `[env: HTTP_ADDR, default: 127.0.0.1:3000]`.
fn variables_in(help: &str) -> Vec<String> {
    let named = help.split("[env: ").skip(1);
    named.filter_map(|rest| Some(rest.split([',', ']']).next()?.to_owned())).collect()
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() -> Result<()> {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = taken.local_addr()?.to_string();
    let program = Program::new("web-service").env("HTTP_ADDR", &address);
    let (status, text) = program.start()?.ended().await?;
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("HTTP_ADDR") && text.contains(&address), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_database_ends_the_start_with_2() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("results");
    fs::write(&file, "this is a letter and no database")?;
    let program = Program::new("web-service").env("HTTP_ADDR", "127.0.0.1:0");
    let program = program.env("DATABASE_URL", format!("sqlite:{}", file.display()));
    let (status, text) = program.start()?.ended().await?;
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.contains("DATABASE_URL") && text.contains("is no SQLite database"), "{text}");
    assert_eq!(fs::read_to_string(&file)?, "this is a letter and no database");
    Ok(())
}

#[tokio::test]
async fn a_web_service_may_open_as_many_files_as_the_system_lets_it() -> Result<()> {
    let program = Program::new("web-service").env("HTTP_ADDR", "127.0.0.1:0");
    let web = program.env("LOG_FORMAT", "json").start()?;
    let told = web.wait_for_message(OPEN_FILES_LIMIT).await?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", web.pid()))?;
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files: Vec<_> = files.unwrap_or_default().split_whitespace().take(2).collect();
    let told = told["open_files"].as_str().unwrap_or_default().to_owned();
    assert_eq!(files, [&told, &told]);
    Ok(())
}

#[tokio::test]
async fn names_in_the_env_file_that_no_program_reads_are_warned_of() -> Result<()> {
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    for name in ["web-service", "processor-service", "setup"] {
        let dir = tempfile::tempdir()?;
        let lines =
            "WORKER=8\nPROCESING_DELAY=1s\nRESULT_LIMIT=1MiB\nOPENAI_API_KEY=s3cret\nSMTP=x\n";
        fs::write(dir.path().join(".env"), lines)?;
        let program = Program::new(name).current_dir(dir.path()).env("AMQP_URL", &nobody);
        let program = match name {
            "web-service" => program.env("HTTP_ADDR", "127.0.0.1:0"),
            _ => program,
        };
        let program = program.env("LOG_FORMAT", "json").start()?;
        let mut meant = Vec::new();
        let names = program
            .wait_for("what else is there", |line| {
                if let Some(warning) = json_message(line, MISSPELT_SETTING) {
                    meant.push((warning["name"].clone(), warning["did_you_mean"].clone()));
                }
                Some(json_message(line, OTHER_SETTINGS)?["names"].clone())
            })
            .await?;
        assert_eq!(names, "OPENAI_API_KEY,SMTP", "{name}");
        let expected = [("PROCESING_DELAY", "PROCESSING_DELAY"), ("WORKER", "WORKERS")];
        assert_eq!(meant, expected.map(|(name, meant)| (name.into(), meant.into())), "{name}");
        assert!(!program.lines().concat().contains("s3cret"));
    }
    Ok(())
}
