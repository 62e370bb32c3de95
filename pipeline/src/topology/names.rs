//! Names of the exchanges, the queues and the routing keys.

/// The default exchange: its routing keys are the names of queues. It always exists.
pub const DEFAULT_EXCHANGE: &str = "";
/// The direct exchange of requests, results and failed requests.
pub const EXCHANGE: &str = "processing";
/// The topic exchange of events; the routing key is the event's name. Any program may bind a queue.
pub const EVENTS: &str = "processing.events";
/// The fanout exchange of control messages, which every program receives.
pub const CONTROL: &str = "processing.control";
/// The exclusive queue that is the lock of web services of which only one may work.
pub const WEB_LOCK: &str = "processing.web.lock";
/// The routing key of requests of the type `default`, and with a dot and the type behind it, of others.
pub const KEY_REQUEST: &str = "request";
/// The routing key of results.
pub const KEY_RESULT: &str = "result";
/// The routing key of requests that can't be processed, and of dead letters.
pub const KEY_FAILED: &str = "failed";
/// Requests of the type `default` wait here for a worker, and with a dot and the type behind it, others.
pub const REQUESTS: &str = "processing.requests";
/// Results wait here for a web service.
pub const RESULTS: &str = "processing.results";
/// Failed requests wait here for a web service.
pub const FAILED: &str = "processing.failed";
/// The routing key of messages that even a web service can't receive.
pub const KEY_UNREADABLE: &str = "unreadable";
/// Messages that no program could receive wait here for an operator. No program consumes it.
pub const UNREADABLE: &str = "processing.unreadable";
/// Holds the id of the broker's present start. Programs declare it when they need it, beside classic queues only.
pub const BROKER_START: &str = "processing.broker-start";
