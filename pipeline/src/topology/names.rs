//! Names of the exchanges, the queues and the routing keys.

/// The exchange all requests and results go through.
pub const EXCHANGE: &str = "processing";
/// The exchange of what happens to requests: a topic, keyed by the event's name. Anybody may listen.
pub const EVENTS: &str = "processing.events";
/// The exchange of what is said to every program at once.
pub const CONTROL: &str = "processing.control";
/// The queue that only one web service can hold, where only one may work.
pub const WEB_LOCK: &str = "processing.web.lock";
/// The routing key of requests.
pub const KEY_REQUEST: &str = "request";
/// The routing key of results.
pub const KEY_RESULT: &str = "result";
/// The routing key of messages that nobody can work on, and of dead letters.
pub const KEY_FAILED: &str = "failed";
/// Requests wait here for a worker.
pub const REQUESTS: &str = "processing.requests";
/// Results wait here for a web service.
pub const RESULTS: &str = "processing.results";
/// Failed requests wait here for a web service.
pub const FAILED: &str = "processing.failed";
/// The routing key of messages that even a web service can't receive.
pub const KEY_UNREADABLE: &str = "unreadable";
/// Messages that no program could receive lie here for a person. No program consumes it.
pub const UNREADABLE: &str = "processing.unreadable";
