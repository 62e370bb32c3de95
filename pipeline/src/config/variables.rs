//! Everything that can be set, in the order of `.env.example`.

/// One thing that can be set, by a flag, an environment variable, or a line in `.env`.
#[derive(Debug)]
pub struct Variable {
    /// The environment variable; the flag is the same in small letters with dashes.
    pub name: &'static str,
    /// What holds where nothing is set.
    pub default: Option<&'static str>,
    /// What it takes, completing "takes ...".
    pub takes: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
}

impl Variable {
    /// The flag without its dashes: `http-addr` for `HTTP_ADDR`.
    pub fn flag(&self) -> String {
        self.name.to_lowercase().replace('_', "-")
    }
}

const fn variable(
    name: &'static str,
    default: &'static str,
    takes: &'static str,
    about: &'static str,
) -> Variable {
    Variable { name, default: Some(default), takes, about, secret: false }
}

const URLS: &str =
    "amqp:// or amqps:// URLs, separated by commas, as in amqps://user:password@host/vhost";
const DURATION: &str = "a duration like 200ms, 5s, 25m or 7d";
const DURATION_OR_ZERO: &str = "0 or a duration like 200ms, 5s or 25m";

/// Where a hosting provider puts the broker's URL.
pub static CLOUDAMQP_URL: Variable = Variable {
    name: "CLOUDAMQP_URL",
    default: None,
    takes: URLS,
    about: "The broker, as CloudAMQP shows it (\"AMQP URL\"); AMQP_URL in the same place comes before it.",
    secret: true,
};

/// The broker's URL.
pub static AMQP_URL: Variable = Variable {
    name: "AMQP_URL",
    default: Some("amqp://guest:guest@127.0.0.1:5672/%2f"),
    takes: URLS,
    about: "The broker; several URLs, separated by commas, are tried in turn. \
            ?cacertfile=ca.pem names a private CA, ?heartbeat=10 sets the heartbeat (4 to 60 s).",
    secret: true,
};

/// The kind of the queues that `setup` declares.
pub static QUEUE_TYPE: Variable = variable(
    "QUEUE_TYPE",
    "quorum",
    "quorum or classic",
    "The kind of queue that setup declares: quorum, or classic where a broker refuses quorum.",
);

/// The broker's acknowledgement timeout, as `setup` declares it.
pub static ACK_TIMEOUT: Variable = variable(
    "ACK_TIMEOUT",
    "30m",
    "a duration of at least 1m, like 30m or 2h",
    "How long a worker may hold a request before the broker takes it back. setup declares it for \
     quorum queues; RabbitMQ heeds it from 3.11.15 on. A processor only checks that JOB_TIMEOUT fits.",
);

/// Where the web service listens.
pub static HTTP_ADDR: Variable = variable(
    "HTTP_ADDR",
    "127.0.0.1:3000",
    "an IP address and a port like 127.0.0.1:3000",
    "Where the web service listens; port 0 takes a free one.",
);

/// Consent to serve everybody.
pub static ALLOW_ANONYMOUS: Variable = variable(
    "ALLOW_ANONYMOUS",
    "false",
    "true or false",
    "Whether anybody who reaches HTTP_ADDR may use the API; needed to listen beyond loopback.",
);

/// Where requests and results are kept.
pub static DATABASE_URL: Variable = Variable {
    name: "DATABASE_URL",
    default: Some("sqlite:slowlane.db"),
    takes: "sqlite:FILE or postgres://user:password@host/database",
    about: "Where requests and results are kept: a file for one web service, or PostgreSQL for several \
            (postgres://user:password@host/database).",
    secret: true,
};

/// The longest HTTP body.
pub static BODY_LIMIT: Variable = variable(
    "BODY_LIMIT",
    "1MiB",
    "a size like 512KiB or 1MiB, at most 15MiB",
    "The longest request body that the web service takes.",
);

/// The longest result.
pub static RESULT_LIMIT: Variable = variable(
    "RESULT_LIMIT",
    "4MiB",
    "a size like 512KiB or 4MiB, at most 15MiB",
    "The longest result that a processor sends; a longer one fails its request.",
);

/// The longest wait for a confirm.
pub static PUBLISH_TIMEOUT: Variable = variable(
    "PUBLISH_TIMEOUT",
    "5s",
    DURATION,
    "How long a caller waits at most until the broker has confirmed its request.",
);

/// How long results are kept.
pub static RESULT_RETENTION: Variable = variable(
    "RESULT_RETENTION",
    "7d",
    DURATION,
    "How long a request is kept after its end; then it is gone (410), and later forgotten (404).",
);

/// What callbacks are signed with.
pub static WEBHOOK_SECRET: Variable = Variable {
    name: "WEBHOOK_SECRET",
    default: None,
    takes: "whsec_ and 24 to 64 random bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints them, \
            or several of these, separated by commas",
    about: "What callbacks are signed with, without which callbackUrl is refused: `echo whsec_$(openssl rand -base64 32)` \
            makes one. Several, separated by commas, sign together while receivers change from one to the next.",
    secret: true,
};

/// Consent to call private addresses.
pub static CALLBACK_ALLOW_PRIVATE: Variable = variable(
    "CALLBACK_ALLOW_PRIVATE",
    "false",
    "true or false",
    "Whether callbacks may go to private addresses and over http, for development.",
);

/// Worker loops in one process.
pub static WORKERS: Variable = variable(
    "WORKERS",
    "1",
    "a number from 1 to 1000",
    "How many requests one processor works on at a time, each on a channel of its own.",
);

/// Deliveries that a worker may hold.
pub static PREFETCH: Variable = variable(
    "PREFETCH",
    "1",
    "a number from 1 to 64",
    "How many requests each worker may hold while it works on one of them. More than 1 is for short jobs alone: so many times \
     JOB_TIMEOUT must fit into ACK_TIMEOUT.",
);

/// The `Host` headers that are served.
pub static ALLOWED_HOSTS: Variable = Variable {
    name: "ALLOWED_HOSTS",
    default: None,
    takes: "host names and IP addresses without ports, separated by commas, or * for every host",
    about: "The hosts in URLs under which the web service may be called, besides loopback names and the address in HTTP_ADDR. \
            Others get 421, so that no page on the web can reach the API under its own name; * allows every host.",
    secret: false,
};

/// The kind of work.
pub static PROCESSOR: Variable = variable(
    "PROCESSOR",
    "simulate",
    "simulate or command",
    "The slow work: simulate waits and appends -processed, command starts PROCESSOR_COMMAND for each request.",
);

/// The simulated work's length.
pub static PROCESSING_DELAY: Variable = variable(
    "PROCESSING_DELAY",
    "5s",
    DURATION_OR_ZERO,
    "How long the simulated work takes; 0 is no delay.",
);

/// The program that does the work. Its arguments may hold what is nobody's business.
pub static PROCESSOR_COMMAND: Variable = Variable {
    name: "PROCESSOR_COMMAND",
    default: None,
    takes: "a program and its arguments, quoted as for a shell, like python3 work.py --fast",
    about: "The program that PROCESSOR=command starts for each request, with its arguments, split as a shell would and run \
            without one. It gets the data on standard input and writes the result to standard output. In .env, put it in \
            single quotes.",
    secret: true,
};

/// The longest a job may take.
pub static JOB_TIMEOUT: Variable = variable(
    "JOB_TIMEOUT",
    "25m",
    "a duration like 200ms, 5s or 25m, at most 30d",
    "How long one attempt at a request may take; then it is ended. With DRAIN_TIMEOUT and 2m it must fit into ACK_TIMEOUT.",
);

/// How often work is tried.
pub static MAX_ATTEMPTS: Variable = variable(
    "MAX_ATTEMPTS",
    "5",
    "a number from 1 to 1000",
    "How often a request is tried whose work fails in a way that may pass; then it has failed.",
);

/// The pauses between attempts.
pub static RETRY_DELAYS: Variable = variable(
    "RETRY_DELAYS",
    "1s,10s,1m,10m",
    "durations from 0 to 7d, separated by commas, 20 at most, like 1s,10s,1m,10m",
    "How long a request waits after its first, second, ... attempt; the last is repeated. setup declares a queue for \
     each, so setup and all processors need the same.",
);

/// How often a message may be delivered without coming to an end.
pub static MAX_DELIVERIES: Variable = variable(
    "MAX_DELIVERIES",
    "5",
    "a number from 1 to 19",
    "How many workers may die over a request or hang, in one attempt; then it has failed as poison. Lost connections \
     do not count.",
);

/// The time a stopping service has.
pub static DRAIN_TIMEOUT: Variable = variable(
    "DRAIN_TIMEOUT",
    "25s",
    DURATION_OR_ZERO,
    "How long a service that is told to stop may finish what it has in hand; 0 stops at once.",
);

/// Where a processor tells of its health.
pub static PROCESSOR_HTTP_ADDR: Variable = Variable {
    name: "PROCESSOR_HTTP_ADDR",
    default: None,
    takes: "an IP address and a port like 127.0.0.1:3001",
    about: "Where a processor serves /health/live, /health/ready and /metrics; nowhere if it is not set. Port 0 takes a free one.",
    secret: false,
};

/// Where the command line finds the web service.
pub static SLOWLANE_URL: Variable = Variable {
    name: "SLOWLANE_URL",
    default: Some("http://127.0.0.1:3000"),
    takes: "an http:// or https:// URL like http://127.0.0.1:3000",
    about: "Where the command line, slowlane, finds the web service.",
    secret: true,
};

/// What is logged.
pub static RUST_LOG: Variable = variable(
    "RUST_LOG",
    "info",
    "a level (error, warn, info, debug, trace) or a filter like info,pipeline=debug",
    "What is logged.",
);

/// How it is logged.
pub static LOG_FORMAT: Variable = variable(
    "LOG_FORMAT",
    "text",
    "text or json",
    "How it is logged: text for people, json for programs.",
);

/// All of them, in the order of `.env.example`.
pub static ALL: &[&Variable] = &[
    &CLOUDAMQP_URL,
    &AMQP_URL,
    &QUEUE_TYPE,
    &ACK_TIMEOUT,
    &HTTP_ADDR,
    &ALLOW_ANONYMOUS,
    &DATABASE_URL,
    &BODY_LIMIT,
    &RESULT_LIMIT,
    &PUBLISH_TIMEOUT,
    &RESULT_RETENTION,
    &WEBHOOK_SECRET,
    &CALLBACK_ALLOW_PRIVATE,
    &WORKERS,
    &PREFETCH,
    &ALLOWED_HOSTS,
    &PROCESSOR,
    &PROCESSING_DELAY,
    &PROCESSOR_COMMAND,
    &JOB_TIMEOUT,
    &MAX_ATTEMPTS,
    &RETRY_DELAYS,
    &MAX_DELIVERIES,
    &DRAIN_TIMEOUT,
    &PROCESSOR_HTTP_ADDR,
    &SLOWLANE_URL,
    &RUST_LOG,
    &LOG_FORMAT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_lists_every_variable_with_its_default_and_meaning() {
        let mut expected = String::new();
        for variable in ALL {
            expected.push_str(&format!("# {}\n", variable.about));
            match variable.default {
                None => expected.push_str(&format!("{}=\n\n", variable.name)),
                Some(default) => expected.push_str(&format!("#{}={default}\n\n", variable.name)),
            }
        }
        let file = include_str!("../../../.env.example");
        assert!(file.contains(expected.trim()), ".env.example should hold:\n{expected}");
    }
}
