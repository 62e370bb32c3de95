//! The example `profile-updates`: routing by patterns, and a saga that converges whatever is killed at whatever step.

use anyhow::{Result, ensure};
use outbox::{
    inbox::{HANDLED, HANDLED_BEFORE},
    outbox::PUBLISHED,
};
use pipeline::log_messages::CONSUMING;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use testbed::{
    Proxy,
    foreign::{ExchangeKind, Foreign, arguments},
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use super::service::{Service, answer, succeeds};
use crate::support::wait::{holds, settles};

/// A name that the follower refuses.
fn too_long() -> String {
    "x".repeat(41)
}

fn form(service: &Service, path: &str, field: &str, value: &str) -> reqwest::RequestBuilder {
    let encoded = value.replace(' ', "+");
    service
        .request(Method::POST, path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("{field}={encoded}"))
}

async fn rename(profile: &Service, user: &str, full_name: &str) -> Result<Value> {
    let (status, user) =
        answer(form(profile, &format!("/users/{user}"), "full_name", full_name)).await?;
    ensure!(status == 201, "{status}: {user}");
    Ok(user)
}

#[tokio::test]
async fn a_follower_that_starts_later_gets_what_was_updated_before() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let profile = Service::start("profile-service", &vhost.url).await?;
    let ann = json!({"id": "7", "fullName": "Ann Lee", "version": 1});
    assert_eq!(rename(&profile, "7", "Ann Lee").await?, ann);
    let follower = Service::start("profile-follower", &vhost.url).await?;
    follower.shows("/users/7", &ann).await?;
    let nameless = form(&profile, "/users/7", "full_name", "");
    ensure!(answer(nameless).await?.0 == 422 && profile.get("/users/8").await?.0 == 404);
    profile.stop().await?;
    follower.stop().await
}

#[tokio::test]
async fn queues_get_what_their_patterns_match_and_announcements_reach_all() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let foreign = Foreign::connect(&vhost.url).await?;
    foreign.declare_exchange("user_updates", ExchangeKind::Topic).await?;
    foreign.declare_exchange("user_announcements", ExchangeKind::Fanout).await?;
    for pattern in ["#", "user.#", "user.*.update", "user.profile.update.#", "user.*", "*"] {
        foreign.declare_queue(pattern, arguments([])).await?;
        foreign.bind(pattern, "user_updates", pattern).await?;
    }
    foreign.declare_queue("announced", arguments([])).await?;
    foreign.bind("announced", "user_announcements", "").await?;
    let follower = Service::start("profile-follower", &vhost.url).await?;
    // Its queue is there; otherwise the others would get messages that it misses.
    follower.process.wait_for_message(CONSUMING).await?;
    let profile = Service::start("profile-service", &vhost.url).await?;

    rename(&profile, "7", "Ann").await?;
    rename(&profile, "7", &too_long()).await?;
    profile.becomes("/users/7", |_, user| user["refusal"].is_string()).await?;
    succeeds(form(&profile, "/announcements", "text", "closed on Monday")).await?;
    follower.shows("/announcements", &json!([{"text": "closed on Monday"}])).await?;

    let (update, rollback) = ("user.profile.update", "user.profile.rollback");
    for (pattern, expected) in [
        ("#", vec![update, update, rollback]),
        ("user.#", vec![update, update, rollback]),
        ("user.*.update", vec![update, update]),
        ("user.profile.update.#", vec![update, update]),
        ("user.*", vec![]),
        ("*", vec![]),
    ] {
        let mut keys = Vec::new();
        while let Some(message) = foreign.get(pattern).await? {
            ensure!(message.properties.delivery_mode() == &Some(2), "{message:?}");
            keys.push(message.key);
        }
        assert_eq!(keys, expected, "{pattern}");
    }
    let announced = foreign.next("announced").await?;
    assert_eq!(announced.json()?, json!({"text": "closed on Monday"}));
    Ok(())
}

/// Both services, each behind a proxy of its own, on a broker of their own.
struct Saga {
    node: Node,
    foreign: Foreign,
    profile: Service,
    profile_proxy: Proxy,
    follower: Service,
    follower_proxy: Proxy,
    users: usize,
}

impl Saga {
    async fn start() -> Result<Self> {
        let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
        let profile_proxy = Proxy::start(node.address()).await?;
        let follower_proxy = Proxy::start(node.address()).await?;
        let url = |proxy: &Proxy| proxy.url(&node.url());
        let profile = Service::start("profile-service", &url(&profile_proxy)).await?;
        let follower = Service::start("profile-follower", &url(&follower_proxy)).await?;
        let foreign = Foreign::connect(&node.url()).await?;
        Ok(Self { node, foreign, profile, profile_proxy, follower, follower_proxy, users: 0 })
    }

    /// A new user whose name both know.
    async fn user(&mut self) -> Result<String> {
        self.users += 1;
        let user = format!("{}", self.users);
        rename(&self.profile, &user, "Ann").await?;
        self.both_show(&user, "Ann", 1, None).await?;
        self.at_rest().await?;
        Ok(user)
    }

    async fn both_show(
        &self,
        user: &str,
        full_name: &str,
        version: i64,
        refusal: Option<&str>,
    ) -> Result<()> {
        let path = format!("/users/{user}");
        let copy = json!({"id": user, "fullName": full_name, "version": version});
        self.follower.shows(&path, &copy).await?;
        let mut own = copy;
        if let Some(refusal) = refusal {
            own["refusal"] = refusal.into();
        }
        self.profile.shows(&path, &own).await
    }

    /// The saga has ended: the refused name is undone, and later updates arrive.
    async fn converges(&self, user: &str) -> Result<()> {
        let reason = "CHECK constraint failed: at_most_40_characters";
        self.both_show(user, "Ann", 1, Some(reason)).await?;
        rename(&self.profile, user, "Bob").await?;
        self.both_show(user, "Bob", 3, None).await?;
        self.at_rest().await
    }

    /// Waits until nothing is in an outbox or a queue.
    async fn at_rest(&self) -> Result<()> {
        outbox_holds(&self.profile, 0).await?;
        outbox_holds(&self.follower, 0).await?;
        for queue in ["profile_follower", "profile_rollbacks"] {
            holds(&self.foreign, queue, |messages| messages == 0).await?;
        }
        Ok(())
    }

    /// The profile service has published a name that will be refused; the follower has received it, and can't commit
    /// before the lock is dropped.
    async fn update_held_by_follower(&self, user: &str) -> Result<Connection> {
        let lock = locked(&self.follower)?;
        let published = self.profile.process.from_now();
        rename(&self.profile, user, &too_long()).await?;
        published.wait_for_message(PUBLISHED).await?;
        outbox_holds(&self.profile, 0).await?;
        holds(&self.foreign, "profile_follower", |messages| messages == 0).await?;
        Ok(lock)
    }

    /// The follower has refused a name, and its answer doesn't get past the proxy.
    async fn rollback_held_by_proxy(&self, user: &str) -> Result<()> {
        let lock = self.update_held_by_follower(user).await?;
        self.follower_proxy.stall();
        drop(lock);
        outbox_holds(&self.follower, 1).await
    }

    /// The follower has published its rollback; the profile service has received it, and can't commit before the lock
    /// is dropped.
    async fn rollback_held_by_profile(&self, user: &str) -> Result<Connection> {
        let lock_of_follower = self.update_held_by_follower(user).await?;
        let lock = locked(&self.profile)?;
        let published = self.follower.process.from_now();
        drop(lock_of_follower);
        published.wait_for_message(PUBLISHED).await?;
        holds(&self.foreign, "profile_rollbacks", |messages| messages == 0).await?;
        Ok(lock)
    }
}

/// Keeps a service from committing until this is dropped.
fn locked(service: &Service) -> Result<Connection> {
    let file = Connection::open(service.database())?;
    file.busy_timeout(testbed::process::WAIT_TIMEOUT)?;
    file.execute_batch("BEGIN IMMEDIATE")?;
    Ok(file)
}

/// Waits until so many messages are in a service's outbox.
async fn outbox_holds(service: &Service, messages: i64) -> Result<()> {
    let file = Connection::open(service.database())?;
    settles(&format!("{messages} messages in the outbox"), async || {
        let query = "SELECT count(*) FROM outbox";
        Ok(file.query_row(query, [], |row| row.get::<_, i64>(0))? == messages)
    })
    .await
}

/// Drops what the killed process has said and the proxy still holds.
fn forget(proxy: &Proxy) {
    proxy.cut();
    proxy.resume();
}

#[tokio::test]
async fn the_saga_converges_whatever_is_killed_at_whatever_step() -> Result<()> {
    let mut saga = Saga::start().await?;

    // The profile service has committed the name and not published it.
    let user = saga.user().await?;
    saga.profile_proxy.stall();
    rename(&saga.profile, &user, &too_long()).await?;
    saga.profile.kill().await?;
    forget(&saga.profile_proxy);
    outbox_holds(&saga.profile, 1).await?;
    saga.profile.start_again().await?;
    saga.converges(&user).await?;

    // It has published it, and not removed it from the outbox: the follower gets a copy.
    let user = saga.user().await?;
    saga.profile_proxy.stall();
    rename(&saga.profile, &user, &too_long()).await?;
    let lock = locked(&saga.profile)?;
    let handled = saga.follower.process.from_now();
    saga.profile_proxy.resume();
    handled.wait_for_message(HANDLED).await?;
    saga.profile.kill().await?;
    drop(lock);
    let copied = saga.follower.process.from_now();
    saga.profile.start_again().await?;
    copied.wait_for_message(HANDLED_BEFORE).await?;
    saga.converges(&user).await?;

    // The follower has received it, and not committed.
    let user = saga.user().await?;
    let lock = saga.update_held_by_follower(&user).await?;
    saga.follower.kill().await?;
    drop(lock);
    saga.follower.start_again().await?;
    saga.converges(&user).await?;

    // It has refused it, and neither acked it nor published the rollback.
    let user = saga.user().await?;
    saga.rollback_held_by_proxy(&user).await?;
    saga.follower.kill().await?;
    forget(&saga.follower_proxy);
    saga.follower.start_again().await?;
    saga.follower.process.wait_for_message(HANDLED_BEFORE).await?;
    saga.converges(&user).await?;

    // It has published the rollback, and not removed it: the profile service gets a copy.
    let user = saga.user().await?;
    saga.rollback_held_by_proxy(&user).await?;
    let lock = locked(&saga.follower)?;
    let handled = saga.profile.process.from_now();
    saga.follower_proxy.resume();
    handled.wait_for_message(HANDLED).await?;
    saga.follower.kill().await?;
    drop(lock);
    let copied = saga.profile.process.from_now();
    saga.follower.start_again().await?;
    copied.wait_for_message(HANDLED_BEFORE).await?;
    saga.converges(&user).await?;

    // The profile service has received the rollback, and not committed.
    let user = saga.user().await?;
    let lock = saga.rollback_held_by_profile(&user).await?;
    saga.profile.kill().await?;
    drop(lock);
    saga.profile.start_again().await?;
    saga.converges(&user).await?;

    // It has undone the name, and not acked the rollback.
    let user = saga.user().await?;
    let lock = saga.rollback_held_by_profile(&user).await?;
    let handled = saga.profile.process.from_now();
    saga.profile_proxy.stall();
    drop(lock);
    handled.wait_for_message(HANDLED).await?;
    saga.profile.kill().await?;
    forget(&saga.profile_proxy);
    saga.profile.start_again().await?;
    saga.profile.process.wait_for_message(HANDLED_BEFORE).await?;
    saga.converges(&user).await
}

#[tokio::test]
async fn the_saga_converges_after_the_broker_was_stopped_or_killed() -> Result<()> {
    let mut saga = Saga::start().await?;
    // Stopped first: RabbitMQ 3.10 forgets a queue if it is killed within about a second of its declaration.
    for stopped in [true, false] {
        // One update waits in the queue meanwhile, the other in the outbox.
        let (user, other) = (saga.user().await?, saga.user().await?);
        saga.follower.kill().await?;
        let published = saga.profile.process.from_now();
        rename(&saga.profile, &user, &too_long()).await?;
        published.wait_for_message(PUBLISHED).await?;
        if stopped {
            saga.node.stop().await?
        } else {
            saga.node.kill().await?
        }
        rename(&saga.profile, &other, &too_long()).await?;
        saga.follower.start_again().await?;
        saga.profile.kill_and_start_again().await?;
        saga.node.start_again().await?;
        saga.foreign = Foreign::connect(&saga.node.url()).await?;
        saga.converges(&user).await?;
        saga.converges(&other).await?;
    }
    Ok(())
}
