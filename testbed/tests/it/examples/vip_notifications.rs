//! VIP notifications: shared, never lost and never waited for; settings that change while all services run.

mod world;

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::{CONSUMING, DISCONNECTED, LISTENING};
use serde_json::{Value, json};
use testbed::{
    Program, Proxy,
    foreign::Foreign,
    process::{Start, WAIT_TIMEOUT, json_message, minimal_env, run},
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node, workspace,
};
use vip_notifications::log_messages::{
    NOTIFIED, NOTIFYING, OFFER_MADE, REFRESHED, SETTINGS_LOADED,
};

use self::world::{APPS, World};
use crate::support::wait::settles;

const FOLDER: &str = "examples/vip-notifications";
const README: &str = "examples/vip-notifications/README.md";
/// What a process may have in memory at rest, in KiB, besides its program file: a debug build has a long one.
const MAX_MEMORY_KIB: u64 = 6 * 1024;

/// Waits until a program has logged this message `count` times.
async fn logged(program: &Running, message: &str, count: usize) -> Result<()> {
    let mut seen = 0;
    let counted = |line: &str| {
        seen += usize::from(json_message(line, message).is_some());
        (seen == count).then_some(())
    };
    program.wait_for(&format!("{message} {count} times"), counted).await
}

fn count(program: &Running, message: &str) -> usize {
    program.lines().iter().filter(|line| json_message(line, message).is_some()).count()
}

async fn stops_cleanly(program: &Running) -> Result<()> {
    program.terminate();
    let (status, text) = program.ended().await?;
    ensure!(status.success() && text.contains("\"stopped\""), "{status}: {text}");
    Ok(())
}

/// The memory that a process has for itself.
fn memory_kib(program: &Running) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("a size")?;
    Ok(number.parse()?)
}

#[tokio::test]
async fn two_vip_services_share_the_notifications_and_make_one_offer() -> Result<()> {
    let world = World::new(&shared_node::vhost().await.url)?;
    // The services wait for the one that has their settings.
    let account = world.program("account-service").start()?;
    account.wait_for_text("no settings yet").await?;
    let (config, first, second) = tokio::try_join!(world.config(), world.vip(), world.vip())?;
    account.wait_for_message(LISTENING).await?;
    for _ in 0..4 {
        let (status, body) = world.read("10000").await?;
        let served_by = format!("127.0.0.1:{}", world.account_port);
        let expected = json!({"id": "10000", "name": "Person_0", "servedBy": served_by});
        assert_eq!((status, body), (200, expected));
    }
    assert_eq!(world.read("10099").await?.1["name"], "Person_99");
    assert_eq!(world.read("10100").await?.0, 404);
    tokio::try_join!(logged(&first, NOTIFIED, 2), logged(&second, NOTIFIED, 2))?;
    settles("one offer", async || Ok(world.offers()? == BTreeSet::from([10_000]))).await?;
    for program in [&account, &first, &second] {
        let listening = program.wait_for_message(LISTENING).await?;
        let address = listening["address"].as_str().context("an address")?;
        let port = address.rsplit(':').next().context("a port")?.parse()?;
        settles("healthy", async || Ok(world.health(port).await?.0 == 200)).await?;
    }
    settles("healthy", async || Ok(world.health(world.config_port).await?.0 == 200)).await?;
    for program in [&account, &first, &second, &config] {
        let memory = memory_kib(program)?;
        ensure!(memory < MAX_MEMORY_KIB, "{} has {memory} KiB", program.name());
    }
    for program in [&account, &first, &second] {
        stops_cleanly(program).await?;
    }
    assert_eq!(count(&first, NOTIFIED) + count(&second, NOTIFIED), 4);
    assert_eq!(count(&first, OFFER_MADE) + count(&second, OFFER_MADE), 1);
    Ok(())
}

#[tokio::test]
async fn a_notification_has_the_documented_shape() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let world = World::new(&vhost.url)?;
    let (_config, _account) = tokio::try_join!(world.config(), world.account())?;
    world.read_all([10_000]).await?;
    world.waiting(0).await?;
    let message = Foreign::connect(&vhost.url).await?.get("vip_queue").await?;
    let message = message.context("a notification")?;
    let body: Value = serde_json::from_slice(&message.body)?;
    assert_eq!(
        (body["accountId"].as_str(), body.as_object().map(|body| body.len())),
        (Some("10000"), Some(2))
    );
    humantime::parse_rfc3339(body["readAt"].as_str().context("readAt")?)?;
    assert_eq!((&*message.exchange, &*message.key), ("", "vip_queue"));
    assert_eq!(message.properties.delivery_mode(), &Some(2), "persistent");
    let content_type = message.properties.content_type().as_ref().map(|text| text.as_str());
    assert_eq!(content_type, Some("application/json"));
    Ok(())
}

#[tokio::test]
async fn accounts_are_read_without_the_broker_and_a_bounded_number_of_notifications_waits()
-> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    proxy.refuse().await?;
    let world = World::new(&proxy.url(&vhost.url))?;
    let (_config, account) = tokio::try_join!(world.config(), world.account())?;
    world.read_all(std::iter::repeat_n(10_000, 1002)).await?;
    account.wait_for_text("dropped a notification").await?;
    let (status, health) = world.health(world.account_port).await?;
    ensure!(status == 503 && health.to_string().contains("1000 of 1000 wait"), "{health}");
    proxy.accept().await?;
    world.waiting(0).await?;
    let foreign = Foreign::connect(&vhost.url).await?;
    assert_eq!(foreign.depth("vip_queue").await?.messages, 1000);
    Ok(())
}

#[tokio::test]
async fn a_refresh_changes_vips_and_log_level_in_all_running_instances() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let world = World::new(&vhost.url)?;
    let config = world.config().await?;
    // One of them loses the broker and misses the refresh.
    let cut_off = World { broker_url: proxy.url(&vhost.url), ..World::new(&vhost.url)? };
    cut_off.write_settings("info", &["10000"])?;
    let (_other_config, far) = tokio::try_join!(cut_off.config(), cut_off.vip())?;
    let (account, near) = tokio::try_join!(world.account(), world.vip())?;
    let instances = [&account, &near, &far];
    for program in instances {
        // At the start, and when it has subscribed to refreshes.
        logged(program, SETTINGS_LOADED, 2).await?;
    }
    world.read_all([10_001]).await?;
    proxy.refuse().await?;
    proxy.cut();
    far.wait_for_message(DISCONNECTED).await?;
    let lines = instances.map(|program| program.from_now());
    world.write_settings("debug", &["10001"])?;
    cut_off.write_settings("debug", &["10001"])?;
    world.refresh().await?;
    logged(&config, REFRESHED, 2).await?;
    proxy.accept().await?;
    for lines in lines {
        let loaded = lines.wait_for_message(SETTINGS_LOADED).await?;
        assert_eq!((&loaded["logLevel"], &loaded["vips"]), (&json!("debug"), &json!("10001")));
    }
    world.read_all([10_000, 10_001]).await?;
    // A line of level debug.
    let notifying = account.wait_for_message(NOTIFYING).await?;
    assert_eq!(notifying["accountId"], "10001");
    settles("an offer", async || Ok(!world.offers()?.is_empty() || !cut_off.offers()?.is_empty()))
        .await?;
    assert_eq!(count(&account, NOTIFYING), 1, "10000 is no VIP any more");
    Ok(())
}

#[tokio::test]
async fn nothing_is_lost_when_every_process_is_killed_and_the_broker_restarted() -> Result<()> {
    let mut node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let world = World::new(&node.url())?;
    let vips: Vec<_> = (10_000..10_030).map(|id: u32| id.to_string()).collect();
    world.write_settings("info", &vips.iter().map(String::as_str).collect::<Vec<_>>())?;
    let (mut config, mut account, first, second) =
        tokio::try_join!(world.config(), world.account(), world.vip(), world.vip())?;

    world.read_all(10_000..10_005).await?;
    first.kill();
    world.read_all(10_005..10_010).await?;
    first.wait().await?;
    let first = world.vip().await?;

    node.stop().await?;
    account.wait_for_message(DISCONNECTED).await?;
    world.read_all(10_010..10_015).await?;
    node.start_again().await?;

    // Those that wait are in the memory of the process.
    world.waiting(0).await?;
    account.kill();
    account.wait().await?;
    account = world.account().await?;
    world.read_all(10_015..10_020).await?;

    config.kill();
    config.wait().await?;
    world.read_all(10_020..10_025).await?;
    config = world.config().await?;
    let lines = [&account, &first, &second].map(|program| program.from_now());
    world.refresh().await?;
    for lines in lines {
        lines.wait_for_message(SETTINGS_LOADED).await?;
    }
    second.kill();
    second.wait().await?;
    world.read_all(10_025..10_030).await?;
    let all = (10_000..10_030).collect();
    settles("an offer for each account", async || Ok(world.offers()? == all)).await?;

    closes_its_connections(&node, &[&account, &first, &config]).await
}

/// Each program closes its connections on SIGTERM; the broker sees no lost one.
async fn closes_its_connections(node: &Node, programs: &[&Running]) -> Result<()> {
    let log = || -> Result<String> {
        let mut text = String::new();
        for file in fs::read_dir(node.dir().join("log"))? {
            text += &fs::read_to_string(file?.path())?;
        }
        Ok(text)
    };
    let unexpected = |text: &str| text.matches("unexpectedly closed").count();
    settles("two connections each", async || {
        Ok(node.connections().await?.len() == 2 * programs.len())
    })
    .await?;
    let closed = |text: &str| text.matches("closing AMQP connection").count();
    let before = log()?;
    for program in programs {
        stops_cleanly(program).await?;
    }
    settles("all closed", async || Ok(node.connections().await?.is_empty())).await?;
    let after = log()?;
    assert_eq!(unexpected(&after), unexpected(&before), "{after}");
    assert_eq!(closed(&after) - closed(&before), 2 * programs.len(), "{after}");
    Ok(())
}

/// The lines of the README's `sh` blocks, with this world's ports.
fn commands(world: &World) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace::root().join(README))?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    Ok(blocks.flat_map(str::lines).map(|line| with_ports(world, line)).collect())
}

fn with_ports(world: &World, text: &str) -> String {
    let account = format!("127.0.0.1:{}", world.account_port);
    let config = format!("127.0.0.1:{}", world.config_port);
    text.replace("127.0.0.1:8080", &account).replace("127.0.0.1:8888", &config)
}

/// Copies the settings that the README names, with this world's broker and ports.
fn copy_settings(world: &World) -> Result<()> {
    for app in APPS {
        let file = format!("{FOLDER}/config/{app}/dev.yaml");
        let text = fs::read_to_string(workspace::root().join(&file))?;
        let broker = "amqp://guest:guest@127.0.0.1:5672/%2f";
        ensure!(text.contains(broker), "{file} has the default broker");
        let text = text.replace(broker, &world.broker_url);
        let text = text.replace("port: 8080", &format!("port: {}", world.account_port));
        let copy = world.folder.path().join(file);
        fs::create_dir_all(copy.parent().context("a folder")?)?;
        fs::write(copy, text)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_readme_run_as_written() -> Result<()> {
    let world = World::new(&shared_node::vhost().await.url)?;
    copy_settings(&world)?;
    let mut running = Vec::new();
    for command in commands(&world)? {
        match command.strip_prefix("cargo run -p vip-notifications --bin ") {
            Some(started) => {
                let (name, flags) = started.split_once(" -- ").context("flags")?;
                let mut program = Program::new(name).current_dir(world.folder.path());
                program = program.env("LOG_FORMAT", "json").env("AMQP_URL", &world.broker_url);
                if name == "config-service" {
                    program = program.env("HTTP_ADDR", format!("127.0.0.1:{}", world.config_port));
                }
                let program = flags.split(' ').fold(program, Program::arg).start()?;
                let ready = if name == "vip-service" { CONSUMING } else { LISTENING };
                program.wait_for_message(ready).await?;
                running.push(program);
            }
            None => {
                let shell = Start::new("/bin/sh", world.folder.path()).args(["-c", &command]);
                run(shell.envs(minimal_env()), WAIT_TIMEOUT).await.context(command)?;
            }
        }
    }
    let [_config, account, vips @ ..] = &running[..] else { anyhow::bail!("too few programs") };
    for vip in vips {
        logged(vip, NOTIFIED, 2).await?;
    }
    for program in [account, &vips[0], &vips[1]] {
        logged(program, SETTINGS_LOADED, 3).await?;
    }
    assert_eq!(world.offers()?, BTreeSet::from([10_000]));
    Ok(())
}
