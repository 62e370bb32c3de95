//! Declarer: checks and declares exchanges, queues and bindings, on a channel that a refusal closes.

mod counts;

use std::{fmt, sync::Arc};

use amqprs::channel::{
    Channel, ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
};
use tracing::{debug, info};

use crate::broker::{
    address::Address,
    error::{AskError, OpenError},
    session::{OpenChannel, Session, Tuning},
    wire,
};
use crate::log_messages::DECLARED_MISSING;
use crate::topology::{
    DeclaredBy, Topology,
    objects::{Binding, Exchange, Queue},
};

/// Checks what exists in a virtual host and declares what should; `setup` uses it.
///
/// Dropping it closes the connection, if it is its own.
pub struct Declarer {
    session: Arc<Session>,
    channel: Option<OpenChannel>,
    /// How to connect again; none on a connection that others use, too.
    target: Option<Target>,
}

/// Which broker to connect to, and under which name.
struct Target {
    address: Address,
    name: String,
}

impl Declarer {
    /// Connects to a broker under the given name, once.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses us.
    pub async fn connect(address: &Address, name: &str) -> Result<Self, OpenError> {
        let target = Target { address: address.clone(), name: name.to_owned() };
        Ok(Self { target: Some(target), ..Self::on(Session::open(address, name).await?) })
    }

    /// A declarer on a connection that others use too.
    pub(super) fn on(session: Arc<Session>) -> Self {
        Self { session, channel: None, target: None }
    }

    /// Whether the exchange exists, whatever its arguments.
    ///
    /// # Errors
    /// If the broker refuses to tell, or is lost.
    pub async fn exchange_exists(&mut self, exchange: &Exchange) -> Result<bool, AskError> {
        let mut arguments = ExchangeDeclareArguments::new(&exchange.name, exchange.kind.name());
        arguments.passive(true);
        found(self.ask(async move |channel| channel.exchange_declare(arguments).await).await)
    }

    /// Declares the exchange. Does nothing if it exists with the same arguments.
    ///
    /// # Errors
    /// 403 without permission, 406 if it exists with others; or if the broker is lost.
    pub async fn declare_exchange(&mut self, exchange: &Exchange) -> Result<(), AskError> {
        let mut arguments = ExchangeDeclareArguments::new(&exchange.name, exchange.kind.name());
        arguments.durable(true);
        self.ask(async move |channel| channel.exchange_declare(arguments).await).await
    }

    /// Whether the queue exists, whatever its arguments.
    ///
    /// # Errors
    /// If the broker refuses to tell, or is lost.
    pub async fn queue_exists(&mut self, queue: &Queue) -> Result<bool, AskError> {
        let mut arguments = QueueDeclareArguments::new(&queue.name);
        arguments.passive(true);
        found(self.ask(async move |channel| channel.queue_declare(arguments).await.map(drop)).await)
    }

    /// Declares the queue. Does nothing if it exists with the same arguments.
    ///
    /// # Errors
    /// 403 without permission, 406 if it exists with others or the broker refuses its kind; or if the
    /// broker is lost.
    pub async fn declare_queue(&mut self, queue: &Queue) -> Result<(), AskError> {
        let mut arguments = QueueDeclareArguments::durable_client_named(&queue.name);
        arguments.arguments(wire::arguments_to_wire(&queue.arguments));
        self.ask(async move |channel| channel.queue_declare(arguments).await.map(drop)).await
    }

    /// Binds the queue of this name. Does nothing if it is bound.
    ///
    /// # Errors
    /// 403 without permission, 404 if queue or exchange is missing; or if the broker is lost.
    pub async fn bind(&mut self, queue: &str, binding: &Binding) -> Result<(), AskError> {
        let arguments = QueueBindArguments::new(queue, &binding.exchange, &binding.routing_key);
        self.ask(async move |channel| channel.queue_bind(arguments).await).await
    }

    /// The broker's release, as `3.10.8`; none if it doesn't tell, or is another kind of broker.
    pub fn version(&self) -> Option<&str> {
        self.session.version.as_deref()
    }

    /// What was agreed on for the connection.
    pub fn tuning(&self) -> Tuning {
        self.session.tuning.clone()
    }

    /// Closes the connection, or on a connection that others use too, only the channel.
    pub async fn close(mut self) {
        self.close_channel().await;
        if self.target.is_some() {
            self.session.close().await;
        }
    }

    /// Opens a channel, on a new connection if channels that the broker closed have used up the numbers of
    /// this one: it closes one for each question about something that is missing.
    async fn open_channel(&mut self) -> Result<OpenChannel, AskError> {
        match (self.session.open_channel().await, &self.target) {
            (Err(AskError::Lost), Some(Target { address, name })) => {
                self.session.close().await;
                let session = Session::open(address, name).await;
                self.session = session.map_err(|_| AskError::Lost)?;
                self.session.open_channel().await
            }
            (opened, _) => opened,
        }
    }

    /// Closes the channel that questions are asked on. The next question opens another.
    pub(super) async fn close_channel(&mut self) {
        if let Some(OpenChannel { channel, .. }) = self.channel.take() {
            let _closed_or_lost = self.session.run(channel.close()).await;
        }
    }

    /// Asks one question. If the broker refuses, the reason is in the channel's last event.
    async fn ask<F, R>(&mut self, question: F) -> Result<(), AskError>
    where
        F: FnOnce(Channel) -> R + Send + 'static,
        R: Future<Output = Result<(), amqprs::error::Error>> + Send,
    {
        let OpenChannel { channel, events } = match self.channel.take() {
            Some(open) => open,
            None => self.open_channel().await?,
        };
        let (answer, open) = self
            .session
            .run(async move {
                match question(channel.clone()).await {
                    Ok(()) => (Ok(()), Some(OpenChannel { channel, events })),
                    Err(_) => (Err(OpenChannel { channel, events }.refusal().await), None),
                }
            })
            .await
            .unwrap_or((Err(AskError::Lost), None));
        // Some refusals (540: not implemented) close the whole connection.
        let answer = match answer {
            Err(AskError::Lost) => Err(self.session.refusal().unwrap_or(AskError::Lost)),
            answer => answer,
        };
        self.channel = open;
        answer
    }
}

fn found(answer: Result<(), AskError>) -> Result<bool, AskError> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A part of the topology that is missing and can't be declared.
pub(super) struct EnsureError {
    pub(super) what: String,
    pub(super) error: AskError,
    declared_by: DeclaredBy,
}

impl fmt::Display for EnsureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing and can't be declared here ({})", self.what, self.error)?;
        match self.declared_by {
            DeclaredBy::Setup => f.write_str("; run setup"),
            DeclaredBy::Program => Ok(()),
        }
    }
}

/// Declares what is missing of the topology. AMQP can't check a binding, so all are declared again. A user
/// that may not do that does without, unless something was missing or nobody but the program declares the
/// topology.
pub(super) async fn ensure(session: &Arc<Session>, topology: &Topology) -> Result<(), EnsureError> {
    let mut declarer = Declarer::on(session.clone());
    let declared_by = topology.declared_by;
    let failed = |what: String| move |error| EnsureError { what, error, declared_by };
    let mut must_bind = declared_by == DeclaredBy::Program;
    let (mut exchanges, mut queues): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for exchange in &topology.exchanges {
        let failed = || failed(format!("exchange {}", exchange.name));
        if !declarer.exchange_exists(exchange).await.map_err(failed())? {
            declarer.declare_exchange(exchange).await.map_err(failed())?;
            exchanges.push(&exchange.name);
            must_bind = true;
        }
    }
    let mut may_bind = true;
    for queue in &topology.queues {
        let failed = |what: &str| failed(format!("{what}queue {}", queue.name));
        let exists = declarer.queue_exists(queue).await.map_err(failed(""))?;
        if !exists {
            declarer.declare_queue(queue).await.map_err(failed(""))?;
            queues.push(&queue.name);
        }
        let must_bind = must_bind || !exists;
        if may_bind || must_bind {
            let bound = bind_all(&mut declarer, queue, must_bind).await;
            may_bind = bound.map_err(failed("the binding of "))?;
        }
    }
    declarer.close_channel().await;
    log_declared(&exchanges, &queues);
    Ok(())
}

/// Logs what was declared, in one line: a single name, or how many.
fn log_declared(exchanges: &[&str], queues: &[&str]) {
    let single =
        |names: &[&str]| names.first().filter(|_| names.len() == 1).map(|&name| name.to_owned());
    let many = |names: &[&str]| Some(names.len()).filter(|count| *count > 1);
    if exchanges.is_empty() && queues.is_empty() {
        return;
    }
    debug!(?exchanges, ?queues, "declared");
    info!(
        exchange = single(exchanges),
        queue = single(queues),
        exchanges = many(exchanges),
        queues = many(queues),
        "{DECLARED_MISSING}"
    );
}

/// Makes all bindings of a queue; false if the user may not, where it need not be.
async fn bind_all(
    declarer: &mut Declarer,
    queue: &Queue,
    must_bind: bool,
) -> Result<bool, AskError> {
    for binding in &queue.bindings {
        match declarer.bind(&queue.name, binding).await {
            Err(error) if error.is_access_refused() && !must_bind => {
                debug!(queue = queue.name, "the binding can't be declared again: {error}");
                return Ok(false);
            }
            bound => bound?,
        }
    }
    Ok(true)
}

/// Declares the idle queues again, which counts as use; for quorum queues a passive declaration
/// doesn't. A refused declaration of a queue with other arguments counts as well.
///
/// False if a refusal closed the connection, since the broker would do so each time.
pub(super) async fn renew(session: &Arc<Session>, topology: &Topology) -> bool {
    let mut declarer = Declarer::on(session.clone());
    for queue in topology.queues.iter().filter(|queue| queue.idle) {
        let Err(error) = declarer.declare_queue(queue).await else { continue };
        debug!(queue = queue.name, "not declared again: {error}");
        match error {
            AskError::Refused { .. } if session.refusal().is_some() => return false,
            AskError::Refused { .. } => {}
            AskError::NoChannelLeft { .. } | AskError::NotCounted | AskError::Lost => break,
        }
    }
    declarer.close_channel().await;
    true
}
