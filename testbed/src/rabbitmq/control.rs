//! Administration of a node by `rabbitmqctl`: users, policies, alarms, connections.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::access::Access;
use crate::process::{self, Start};

/// One client connection, as the node lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Connection {
    /// `127.0.0.1:54321 -> 127.0.0.1:5672`.
    pub name: String,
    /// The user it logged in as.
    pub user: String,
    /// Its vhost.
    pub vhost: String,
    /// `running`, `blocked`, `flow` and so on.
    pub state: String,
    /// How many channels it has open.
    pub channels: u32,
}

impl Access {
    /// Runs `rabbitmqctl` and gives what it printed. A call costs about half a second of processor time.
    pub async fn ctl(&self, args: &[&str]) -> Result<String> {
        let quiet = std::iter::once("-q").chain(args.iter().copied());
        let start =
            Start::new(self.bin.join("rabbitmqctl"), &self.dir).args(quiet).envs(self.env());
        let lines = process::run(start, process::WAIT_TIMEOUT).await;
        Ok(lines.with_context(|| format!("rabbitmqctl {}", args.join(" ")))?.join("\n"))
    }

    /// Adds a vhost in which `guest` may do everything.
    pub async fn add_vhost(&self, name: &str) -> Result<()> {
        self.ctl(&["add_vhost", name]).await?;
        self.permit("guest", name, [".*", ".*", ".*"]).await
    }

    /// Adds a user with permissions (regular expressions: configure, write, read) in one vhost.
    pub async fn add_user(
        &self,
        name: &str,
        password: &str,
        vhost: &str,
        permissions: [&str; 3],
    ) -> Result<()> {
        self.ctl(&["add_user", name, password]).await?;
        self.permit(name, vhost, permissions).await
    }

    /// Sets what a user may configure, write and read in a vhost.
    pub async fn permit(
        &self,
        user: &str,
        vhost: &str,
        [configure, write, read]: [&str; 3],
    ) -> Result<()> {
        self.ctl(&["set_permissions", "-p", vhost, user, configure, write, read]).await.map(drop)
    }

    /// Closes all client connections of all vhosts, as an administrator would before maintenance.
    pub async fn close_all_connections(&self) -> Result<()> {
        self.ctl(&["close_all_connections", "--global", "closed by a test"]).await.map(drop)
    }

    /// Stops the broker but not its virtual machine: listeners close, data stays.
    pub async fn stop_app(&self) -> Result<()> {
        self.ctl(&["stop_app"]).await.map(drop)
    }

    /// Undoes [`Access::stop_app`].
    pub async fn start_app(&self) -> Result<()> {
        self.ctl(&["start_app"]).await.map(drop)
    }

    /// Makes the node believe that it is short of memory: it blocks all publishers.
    pub async fn raise_memory_alarm(&self) -> Result<()> {
        self.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await.map(drop)
    }

    /// Undoes [`Access::raise_memory_alarm`].
    pub async fn clear_memory_alarm(&self) -> Result<()> {
        self.ctl(&["set_vm_memory_high_watermark", "0.4"]).await.map(drop)
    }

    /// The client connections of all vhosts.
    pub async fn connections(&self) -> Result<Vec<Connection>> {
        let args = [
            "list_connections",
            "name",
            "user",
            "vhost",
            "state",
            "channels",
            "--formatter",
            "json",
        ];
        let text = self.ctl(&args).await?;
        let json = text.find('[').map_or("[]", |at| &text[at..]);
        serde_json::from_str(json).with_context(|| format!("not a list of connections: {text}"))
    }

    /// Removes all messages from a queue.
    pub async fn purge_queue(&self, vhost: &str, queue: &str) -> Result<()> {
        self.ctl(&["purge_queue", "-p", vhost, queue]).await.map(drop)
    }

    /// Deletes a queue with all its messages, under its consumers if it has any.
    pub async fn delete_queue(&self, vhost: &str, queue: &str) -> Result<()> {
        self.ctl(&["delete_queue", "-p", vhost, queue]).await.map(drop)
    }

    /// Makes a quorum queue hang: it keeps its messages, and confirms and delivers nothing, like one without a leader.
    pub async fn suspend_queue(&self, vhost: &str, queue: &str) -> Result<()> {
        self.eval_leader("suspend", vhost, queue).await
    }

    /// Undoes [`Access::suspend_queue`]; what was published meanwhile arrives.
    pub async fn resume_queue(&self, vhost: &str, queue: &str) -> Result<()> {
        self.eval_leader("resume", vhost, queue).await
    }

    /// Has a quorum queue forget its consumers, which are not told.
    pub async fn forget_consumers(&self, vhost: &str, queue: &str) -> Result<()> {
        let code = format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)), \
             [{{ok, _, _}} = ra:process_command(amqqueue:get_pid(Q), \
             rabbit_fifo:make_checkout({{element(2, C), element(1, C)}}, cancel, #{{}})) \
             || C <- rabbit_amqqueue:consumers(Q)]."
        );
        self.ctl(&["eval", &code]).await.map(drop)
    }

    async fn eval_leader(&self, what: &str, vhost: &str, queue: &str) -> Result<()> {
        let code = format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)), \
             {{Leader, _}} = amqqueue:get_pid(Q), sys:{what}(Leader)."
        );
        self.ctl(&["eval", &code]).await.map(drop)
    }

    /// Sets a policy (JSON) for the queues of a vhost whose names match.
    pub async fn set_policy(&self, vhost: &str, pattern: &str, definition: &str) -> Result<()> {
        let args =
            ["set_policy", "-p", vhost, "--apply-to", "queues", pattern, pattern, definition];
        self.ctl(&args).await.map(drop)
    }

    /// Gives the exchange of this name an alternate one, which takes what no queue is bound for.
    pub async fn set_alternate_exchange(
        &self,
        vhost: &str,
        exchange: &str,
        alternate: &str,
    ) -> Result<()> {
        let (pattern, definition) =
            (format!("^{exchange}$"), format!(r#"{{"alternate-exchange":"{alternate}"}}"#));
        let to = ["set_policy", "-p", vhost, "--apply-to", "exchanges"];
        self.ctl(&[&to[..], &["alternate", &pattern, &definition]].concat()).await.map(drop)
    }

    /// Sets how long a message may be, for channels that are opened from now on.
    pub async fn set_max_message_size(&self, bytes: usize) -> Result<()> {
        // Releases have it in one place or the other.
        let code = format!(
            "application:set_env(rabbit,max_message_size,{bytes}), persistent_term:put(max_message_size,{bytes})."
        );
        self.ctl(&["eval", &code]).await.map(drop)
    }

    /// Sets `consumer_timeout` and how often it is looked at, for channels that are opened from now on.
    pub async fn set_consumer_timeout(&self, timeout: Duration) -> Result<()> {
        let millis = timeout.as_millis();
        let code = format!(
            "application:set_env(rabbit,consumer_timeout,{millis}), application:set_env(rabbit,channel_tick_interval,1000)."
        );
        self.ctl(&["eval", &code]).await.map(drop)
    }
}
