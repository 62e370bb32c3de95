//! Log messages that tests and operators search for: each phrase stands here once.
//!
//! They are stable from release to release. In the JSON log each is the whole `message`; the doc comments
//! name the fields beside it.

/// A consumer has subscribed to a queue (`queue`, `worker`).
pub const CONSUMING: &str = "consuming";
/// A worker has had only short jobs, and lets the broker send requests ahead, at level `debug` (`worker`, `prefetch`).
pub const CONSUMING_AHEAD: &str = "consuming ahead";
/// A program has subscribed to control messages, and to events if `events` is true (`events`).
pub const RECEIVING_CONTROL: &str = "receiving control messages";
/// A connection was lost (`role`, `broker`, `reason`).
pub const DISCONNECTED: &str = "disconnected";
/// A service has declared what was missing: one exchange or queue (`exchange`, `queue`), or how many (`exchanges`, `queues`).
pub const DECLARED_MISSING: &str = "declared what was missing";
/// The broker closed the channel that messages are published on (`code`, `text`).
pub const PUBLISHING_CHANNEL_CLOSED: &str = "the broker closed the publishing channel";
/// Confirms are missing on a channel, and another one was opened in its place (`unconfirmed_ms`).
pub const CHANNEL_REPLACED: &str = "confirms are missing, publishing on another channel";
/// Messages on a channel that was replaced were never confirmed: the broker may have them or not (`messages`).
pub const NEVER_CONFIRMED: &str = "closed a channel with messages that were never confirmed";
/// A message that has to be confirmed could not be published, and is tried again (`message_id`, `reason`): once a minute for
/// each kind of reason.
pub const NOT_PUBLISHED_YET: &str = "can't publish yet, retrying";
/// `.env` sets a name that no program reads and that looks like that of a setting (`name`, `did_you_mean`).
pub const MISSPELT_SETTING: &str = ".env sets a name that no program reads";
/// `.env` sets further names (`names`).
pub const OTHER_SETTINGS: &str = ".env sets other names, which Slowlane does not read";
/// Which broker a program uses, and which variable named it (`broker`, `named_by`).
pub const USING_BROKER: &str = "using the broker";
/// Requests wait, and there is no worker (`waiting`; with several types of requests the `queue`).
pub const NO_WORKER: &str = "requests wait, and no worker consumes them: start processor-service";
/// After [`NO_WORKER`]: there are workers again, or nothing waits any more (`consumers`, `waiting`, `queue`).
pub const WORKERS_BACK: &str = "requests are consumed again";
/// A web service accepts connections (`address`, and for people `url` and `docs`).
pub const LISTENING: &str = "listening";
/// Messages that no program could receive are in `processing.unreadable` (`queue`, `messages`).
pub const UNREADABLE_MESSAGES: &str =
    "messages that no program could receive are in processing.unreadable";
/// Another web service uses SQLite on the virtual host, or the same file: this one waits.
pub const WAITING_FOR_SQLITE: &str = "only one web service at a time can use SQLite on a virtual host, and another one does; \
     for several, set DATABASE_URL=postgres://...";
/// A program received SIGINT or SIGTERM and stops (`signal`).
pub const STOPPING: &str = "stopping";
/// A web service has accepted a request (`requestId`).
pub const ACCEPTED: &str = "accepted";
/// A web service has accepted a batch of requests (`requests`, and how many were `rejected`).
pub const ACCEPTED_BATCH: &str = "accepted a batch";
/// A caller waits for the end of a request, logged at level `debug` (`requestId`).
pub const CALLER_WAITS: &str = "a caller waits";
/// A caller has opened a stream of a request's events, at level debug (`requestId`).
pub const CALLER_FOLLOWS: &str = "a caller follows";
/// A web service has stored a result (`requestId`, `status`).
pub const RESULT: &str = "result";
/// A web service has kept a message from the failed queue.
pub const PARKED: &str = "parked";
/// A web service has dropped the result of a request that had already ended (`requestId`, `dropped`).
pub const RESULT_DROPPED: &str = "dropped a result, the request has ended";
/// A web service requeues messages that the store could not save (`messages`, `error`).
pub const REQUEUEING: &str = "requeueing messages";
/// The store of a web service doesn't answer: messages stay in their queue until it does.
pub const STORE_AWAY: &str = "messages stay in their queue until the store is available";
/// A web service has published a copy of a message to the failed queue in place of requeueing it (`message_id`).
pub const REPUBLISHED_FAILED: &str = "published a copy to the failed queue";
/// A web service has published a request again that the broker had dead-lettered for its delivery limit (`requestId`).
pub const PUT_BACK: &str = "published a request again that had exceeded the delivery limit";
/// A worker has begun to work on a request (`requestId`, `attempt`, `redelivered`).
pub const STARTED: &str = "started";
/// A worker has finished a request (`requestId`, `attempt`, `ms`).
pub const FINISHED: &str = "finished";
/// An attempt has failed (`requestId`, `attempt`, `code`).
pub const FAILED: &str = "failed";
/// The next attempt at a request was scheduled (`requestId`, `nextAttemptAt`).
pub const RETRY_SCHEDULED: &str = "retry scheduled";
/// A worker has requeued a request (`requestId`).
pub const HANDED_BACK: &str = "handed back";
/// A worker has stopped work on a cancelled request (`requestId`).
pub const CANCELLED: &str = "cancelled";
/// A worker has acked a request that was cancelled, or is of an obsolete run, before its work began (`requestId`).
pub const CANCELLED_BEFORE_START: &str = "cancelled before it started";
/// A worker has ended a request without processing it (`requestId`, `code`, `reason`).
pub const REJECTED: &str = "rejected without processing";
/// A request was delivered so often that it may kill its workers: it waits to run alone in its process
/// (`requestId`, `deliveries`).
pub const WAITING_FOR_ISOLATION: &str = "waiting to run in isolation";
/// Other processes are asked whether they had a request that was delivered several times (`requestId`, `deliveries`).
pub const ASKING: &str = "asking who had this request";
/// The answer: how many of the deliveries before were to processes that live (`requestId`, `deliveries`, `claimed`).
pub const ASKED: &str = "asked who had this request";
/// A worker that had lost its connection settles its request with the redelivery (`requestId`).
pub const ADOPTED: &str = "redelivered to the process that still works on it, continuing";
/// The work can't begin on this host: the request goes back, and the process takes requests more slowly (`reason`,
/// `failures` in a row, the pause in `seconds`, what is `waiting`).
pub const HOST_FAULT: &str = "the work can't begin on this host";
/// After [`HOST_FAULT`] work has begun again (`failures`).
pub const HOST_RECOVERED: &str = "the work begins again on this host";
/// The endpoint of `PROCESSOR_URL` is down: requests wait in hand, and one of them tries now and then (`endpoint`,
/// `reason`, the first pause in `seconds`).
pub const ENDPOINT_DOWN: &str = "the endpoint is down, requests wait for it";
/// While the endpoint is down, a call has lasted for 10 s (`endpoint`): so others may call, too.
pub const ENDPOINT_REACHED: &str = "the endpoint works on a call, others may call it";
/// After [`ENDPOINT_DOWN`] the endpoint answers (`endpoint`).
pub const ENDPOINT_BACK: &str = "the endpoint answers again";
/// A line that a command wrote to standard error (`requestId`, `stderr`).
pub const COMMAND_STDERR: &str = "command stderr";
/// A web service has deleted requests whose retention is over (`requests`).
pub const REQUESTS_EXPIRED: &str = "deleted expired requests";
/// A web service could not delete what has expired, and tries again each minute (`error`): a warning the first time, unless
/// the store is away, and then at level `debug` until it succeeds.
pub const REQUESTS_NOT_EXPIRED: &str = "can't delete what has expired, retrying";
/// How many files and connections a service may have open (`open_files`).
pub const OPEN_FILES_LIMIT: &str = "limit of open files";
/// A webhook's receiver has taken a callback (`requestId`).
pub const CALLBACK_DELIVERED: &str = "callback delivered";
/// An attempt at a callback failed; it is tried again unless `given_up` is true (`requestId`, `host`,
/// `attempt`, `status`, `reason`, `given_up`).
pub const CALLBACK_FAILED: &str = "callback failed";
/// A worker's clock differs from the web service's by more than a minute (`host`, `skew`).
pub const CLOCK_SKEW: &str = "the clock of a worker's host differs, use NTP on all hosts";
/// A request whose message was missing was published again (`requestId`, `run`).
pub const PUBLISHED_AGAIN: &str = "published again";
