//! `setup` and its exit codes.

use anyhow::{Context, Result};
use testbed::{
    Program,
    foreign::{AMQPValue, Foreign, arguments},
    process::{self, Start, WAIT_TIMEOUT},
    shared_node, workspace,
};

use crate::support::stack::{FAILED, REQUESTS, RESULTS, Stack, UNREADABLE};

/// The exchanges and queues by default: three exchanges, four queues, and one of each for four delays.
const OBJECTS: usize = 15;

fn setup(url: &str) -> Program {
    Program::new("setup").env("AMQP_URL", url)
}

/// Runs a program and gives its exit code and all it said.
async fn run(program: Program) -> Result<(i32, String)> {
    let (status, text) = program.start()?.ended().await?;
    Ok((status.code().unwrap_or(-1), text))
}

#[tokio::test]
async fn setup_twice_and_its_check_are_all_fine() -> Result<()> {
    let vhost = shared_node::vhost().await;
    for (state, again) in [("created", false), ("exists", true)] {
        let (code, text) = run(setup(&vhost.url)).await?;
        assert_eq!(code, 0, "{text}");
        assert_eq!(text.matches(state).count(), OBJECTS, "again: {again}\n{text}");
    }
    let (code, text) = run(setup(&vhost.url).arg("--check")).await?;
    assert_eq!(code, 0, "{text}");
    let client = Foreign::connect(&vhost.url).await?;
    for queue in [REQUESTS, RESULTS, FAILED, UNREADABLE] {
        assert_eq!(client.depth(queue).await?.messages, 0);
    }
    Ok(())
}

#[tokio::test]
async fn each_delay_between_attempts_has_a_queue() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let setup = || setup(&vhost.url).env("RETRY_DELAYS", "5s,1500ms,5s");
    for program in [setup(), setup().arg("--check")] {
        let (code, text) = run(program).await?;
        assert_eq!(code, 0, "{text}");
        for name in ["1500", "5000"].map(|millis| format!("processing.retry.{millis}")) {
            assert!(text.contains(&format!("{name} → {name} ")), "{text}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_type_has_a_queue_and_the_default_one_stays_as_it_is() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let video = "processing.requests.video";
    let setup = || setup(&vhost.url);
    // A virtual host of before there were types.
    assert_eq!(run(setup()).await?.0, 0);
    let (code, text) = run(setup().env("TYPES", "default,video").arg("--check")).await?;
    assert_eq!((code, text.matches("missing").count()), (1, 1), "{text}");
    let line = text.lines().find(|line| line.contains("missing")).unwrap_or_default();
    assert!(line.contains(video), "{text}");
    let (code, text) = run(setup().env("TYPES", "default,video")).await?;
    assert_eq!((code, text.matches("created").count()), (0, 1), "{text}");
    assert!(text.contains(&format!("processing → {video} (key request.video)")), "{text}");
    for types in ["default", "default,video", "video"] {
        let (code, text) = run(setup().env("TYPES", types).arg("--check")).await?;
        assert_eq!(code, 0, "{types}: {text}");
    }
    let (code, text) = run(setup().env("TYPES", "default,Video")).await?;
    assert!(code == 2 && text.contains("TYPES=default,Video: takes names of 1 to 40"), "{text}");
    Ok(())
}

#[tokio::test]
async fn an_ack_timeout_that_no_queue_can_carry_is_to_be_set_in_the_broker() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let other = vhost.url_for(&shared_node::vhost().await.name);
    // Quorum queues carry it from 3.11.15 on, classic queues never do.
    let before = |major| vhost.version().split('.').next().is_some_and(|first| first == major);
    for (kind, url, advised) in [("quorum", &vhost.url, before("3")), ("classic", &other, true)] {
        let setup = setup(url).env("QUEUE_TYPE", kind).env("ACK_TIMEOUT", "2h");
        let (code, text) = run(setup).await?;
        assert_eq!(code, 0, "{text}");
        assert_eq!(text.contains("consumer_timeout = 7200000"), advised, "{kind}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_check_changes_nothing_and_ends_1_where_something_is_missing() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let (code, text) = run(setup(&vhost.url).arg("--check")).await?;
    assert_eq!((code, text.matches("missing").count()), (1, OBJECTS), "{text}");
    assert!(Foreign::connect(&vhost.url).await?.depth(REQUESTS).await.is_err(), "it was declared");
    Ok(())
}

#[tokio::test]
async fn a_check_whose_reader_is_gone_ends_with_the_same_code() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let setup = workspace::binary("setup")?;
    // Once nothing more can be written into the pipe, its reader is gone.
    let line = format!(
        "trap '' PIPE; {{ while echo 2>/dev/null; do :; done; '{}' --check; echo \"ended with $?\" >&2; }} | :",
        setup.display()
    );
    let folder = tempfile::tempdir()?;
    let shell = Start::new("/bin/sh", folder.path()).args(["-c", &line]);
    let shell = shell.envs(process::minimal_env()).envs([("AMQP_URL", &vhost.url)]);
    let text = process::run(shell, WAIT_TIMEOUT).await?.join("\n");
    assert!(text.contains("ended with 1") && !text.contains("panicked"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_check_finds_a_missing_binding_where_the_management_api_tells() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let (code, text) = run(setup(&vhost.url)).await?;
    assert_eq!(code, 0, "{text}");
    let management = vhost.management_url().context("there is no management API")?;
    let check = || setup(&vhost.url).arg("--check").arg("--management-url").arg(&management);
    let (code, text) = run(check()).await?;
    assert!(code == 0 && !text.contains("not checked"), "{code}: {text}");
    Foreign::connect(&vhost.url).await?.unbind(REQUESTS, "processing", "request").await?;
    let (code, text) = run(check()).await?;
    let line = text.lines().find(|line| line.contains("missing")).unwrap_or_default();
    assert_eq!((code, text.matches("missing").count()), (1, 1), "{text}");
    assert!(line.contains("processing → processing.requests (key request)"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_check_says_why_it_can_not_tell_the_bindings() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let (code, text) = run(setup(&vhost.url)).await?;
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(setup(&vhost.url).arg("--check")).await?;
    assert!(code == 0 && text.contains("not checked"), "{code}: {text}");
    assert!(text.contains("name the management API with --management-url"), "{text}");
    // The port of AMQP is no port of HTTP.
    let other = format!("http://{}", vhost.address());
    let check = setup(&vhost.url).arg("--check").arg("--management-url").arg(&other);
    let (code, text) = run(check).await?;
    assert!(code == 3 && text.contains("does not answer"), "{code}: {text}");
    Ok(())
}

#[tokio::test]
async fn a_refused_argument_is_not_shown_with_its_password() -> Result<()> {
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    for (words, reason) in [
        (
            &["--check", "--management-url", "http://u:hunter2@h"][..],
            "are those of the broker's URL",
        ),
        (&["--check", "--management-url", "u:hunter2@h"], "must begin with http:// or https://"),
        (&["--check", "--management-url", "http://u:1/hunter2@h"], "are those of the broker's URL"),
        (&["amqp://u:hunter2@h"], "unexpected argument"),
    ] {
        let (code, text) = run(words.iter().fold(setup(&nobody), |it, word| it.arg(*word))).await?;
        assert!(code == 2 && text.contains(reason) && !text.contains("hunter2"), "{code}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_with_the_argument() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let client = Foreign::connect(&vhost.url).await?;
    let quorum = AMQPValue::LongString("quorum".into());
    let other = arguments([("x-queue-type", quorum), ("x-delivery-limit", AMQPValue::LongInt(3))]);
    client.declare_queue(REQUESTS, other).await?;
    let (code, text) = run(setup(&vhost.url)).await?;
    assert_eq!(code, 6, "{text}");
    assert!(
        text.contains("queue processing.requests") && text.contains("inequivalent arg 'x-"),
        "{text}"
    );
    let (code, text) = run(setup(&vhost.url).arg("--check")).await?;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("different: ") && text.contains("inequivalent arg 'x-"), "{text}");
    Ok(())
}

#[tokio::test]
async fn classic_queues_are_declared_where_they_are_asked_for() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let (code, text) = run(setup(&vhost.url).env("QUEUE_TYPE", "classic")).await?;
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(setup(&vhost.url)).await?;
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("QUEUE_TYPE"), "{text}");
    // The services find the queues as they are and don't care.
    let stack = Stack { url: vhost.url.clone() };
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let id = web.accepted("a".into()).await?;
    assert_eq!(web.result(&id).await?["result"], "\"a-processed\"");
    Ok(())
}

#[tokio::test]
async fn each_queue_without_consumers_is_declared_again_where_they_have_other_arguments()
-> Result<()> {
    let vhost = shared_node::vhost().await;
    run(setup(&vhost.url).env("QUEUE_TYPE", "classic")).await?;
    let program = Stack { url: vhost.url.clone() }.program("processor-service");
    let processor = program.env("RUST_LOG", "info,pipeline=debug").start()?;
    // A refused declaration counts as use, too.
    for name in ["unreadable", "retry.1000"] {
        let declared = |line: &str| {
            let refused = line.contains("not declared again") && line.contains("inequivalent arg");
            (refused && line.contains(&format!("'processing.{name}'"))).then_some(())
        };
        processor.wait_for(&format!("a declaration of {name}"), declared).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_failure_has_its_exit_code_and_says_what_to_do() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let nobody = format!("amqp://guest:guest@127.0.0.1:{}", testbed::ports::free()?);
    let wrong = vhost.url_as("guest", "wr0ng-passw0rd", &vhost.name);
    let no_vhost = vhost.url_for("there-is-none");
    let cases = [
        (nobody, 3, "Start the broker"),
        (wrong, 4, "Check user and password"),
        (no_vhost, 4, "virtual host"),
        ("amqp://u:wr0ng-passw0rd@h:99999/".to_owned(), 2, "AMQP_URL=...: takes amqp://"),
    ];
    for (url, expected, advice) in cases {
        let (code, text) = run(setup(&url)).await?;
        assert_eq!(code, expected, "{text}");
        assert!(text.contains(advice) && !text.contains("wr0ng"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_user_without_permission_is_told_which_one_is_missing() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let user = format!("reader-{}", vhost.name);
    vhost.add_user(&user, "s3cret/@", &vhost.name, ["", "", ".*"]).await?;
    let url = vhost.url_as(&user, "s3cret/@", &vhost.name);
    let (code, text) = run(setup(&url)).await?;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("set_permissions") && !text.contains("s3cret"), "{text}");
    assert!(text.contains("rabbitmqctl list_user_permissions"), "it may have others: {text}");
    Ok(())
}

#[tokio::test]
async fn a_user_whom_the_management_api_refuses_is_told_of_the_tag_and_to_keep_the_others()
-> Result<()> {
    let vhost = shared_node::vhost().await;
    let user = format!("untagged-{}", vhost.name);
    vhost.add_user(&user, "s3cret", &vhost.name, [".*", ".*", ".*"]).await?;
    let management = vhost.management_url().context("there is no management API")?;
    let check = setup(&vhost.url_as(&user, "s3cret", &vhost.name)).arg("--check");
    let (code, text) = run(check.arg("--management-url").arg(&management)).await?;
    assert!(code == 3 && text.contains(&format!("set_user_tags '{user}'")), "{code}: {text}");
    assert!(text.contains("rabbitmqctl list_users") && !text.contains("s3cret"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_next_broker_is_tried_when_one_does_not_answer() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let nobody = format!("amqp://guest:guest@127.0.0.1:{}", testbed::ports::free()?);
    let (code, text) = run(setup(&format!("{nobody}, {}", vhost.url))).await?;
    assert_eq!(code, 0, "{text}");
    Ok(())
}

#[tokio::test]
async fn a_cloudamqp_url_in_the_env_file_is_enough() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join(".env"), format!("CLOUDAMQP_URL={}\n", vhost.url))?;
    let (code, text) = run(Program::new("setup").current_dir(folder.path())).await?;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("CLOUDAMQP_URL") && text.contains("created"), "{text}");
    Ok(())
}

#[tokio::test]
async fn an_env_file_of_a_parent_folder_is_never_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join(".env"), "QUEUE_TYPE=stream\n")?;
    let below = folder.path().join("below");
    std::fs::create_dir(&below)?;
    let (code, text) = run(Program::new("setup").current_dir(folder.path())).await?;
    assert_eq!(code, 2, "{text}");
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    let (code, text) = run(setup(&nobody).current_dir(&below)).await?;
    assert_eq!(code, 3, "{text}");
    Ok(())
}
