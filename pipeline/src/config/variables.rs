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
    about: "The broker's URL, as CloudAMQP shows it (\"AMQP URL\"). AMQP_URL, if set in the same place, takes \
            precedence.",
    secret: true,
};

/// The broker's URL.
pub static AMQP_URL: Variable = Variable {
    name: "AMQP_URL",
    default: Some("amqp://guest:guest@127.0.0.1:5672/%2f"),
    takes: URLS,
    about: "The broker's URL. Several URLs, separated by commas, are tried in turn. ?cacertfile=ca.pem names a \
            private CA, ?heartbeat=10 sets the heartbeat (4 to 60 s).",
    secret: true,
};

/// The kind of the queues that `setup` declares.
pub static QUEUE_TYPE: Variable = variable(
    "QUEUE_TYPE",
    "quorum",
    "quorum or classic",
    "The type of the queues that setup declares: quorum, or classic for a broker that refuses quorum queues.",
);

/// The broker's acknowledgement timeout, as `setup` declares it.
pub static ACK_TIMEOUT: Variable = variable(
    "ACK_TIMEOUT",
    "30m",
    "a duration of at least 1m, like 30m or 2h",
    "The broker's acknowledgement timeout: how long a worker may hold a request before the broker delivers it \
     again. setup declares it for quorum queues, which RabbitMQ supports from 3.11.15 on; processors check that \
     JOB_TIMEOUT fits.",
);

/// Where the web service listens.
pub static HTTP_ADDR: Variable = variable(
    "HTTP_ADDR",
    "127.0.0.1:3000",
    "an IP address and a port like 127.0.0.1:3000",
    "The address on which the web service listens; port 0 takes a free port.",
);

/// Consent to serve everybody.
pub static ALLOW_ANONYMOUS: Variable = variable(
    "ALLOW_ANONYMOUS",
    "false",
    "true or false",
    "Whether to serve clients that are not authenticated on other addresses than loopback; needed for such an \
     HTTP_ADDR.",
);

/// Where requests and results are kept.
pub static DATABASE_URL: Variable = Variable {
    name: "DATABASE_URL",
    default: Some("sqlite:slowlane.db"),
    takes: "sqlite:FILE or postgres://user:password@host/database",
    about: "The store for requests and results: an SQLite file for one web service, or PostgreSQL for several \
            (postgres://user:password@host/database).",
    secret: true,
};

/// The longest HTTP body.
pub static BODY_LIMIT: Variable = variable(
    "BODY_LIMIT",
    "1MiB",
    "a size like 512KiB or 1MiB, at most 15MiB",
    "The longest request body that the web service accepts.",
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
    "How long a client waits at most for the broker's confirm of its request; after that the response is 503.",
);

/// How long results are kept.
pub static RESULT_RETENTION: Variable = variable(
    "RESULT_RETENTION",
    "7d",
    DURATION,
    "How long a request is kept after it has ended. Then a GET returns 410, and later 404.",
);

/// What callbacks are signed with.
pub static WEBHOOK_SECRET: Variable = Variable {
    name: "WEBHOOK_SECRET",
    default: None,
    takes: "whsec_ and 24 to 64 random bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints them, \
            or several of these, separated by commas",
    about: "The secret that signs callbacks; without it, requests with a callbackUrl are rejected. `echo \
            whsec_$(openssl rand -base64 32)` generates one. To rotate it, set both secrets, separated by a comma: \
            callbacks then have both signatures.",
    secret: true,
};

/// Consent to call private addresses.
pub static CALLBACK_ALLOW_PRIVATE: Variable = variable(
    "CALLBACK_ALLOW_PRIVATE",
    "false",
    "true or false",
    "Whether callbacks may go to private addresses and over http; for development.",
);

/// The types of requests.
pub static TYPES: Variable = variable(
    "TYPES",
    "default",
    "names of 1 to 40 of a-z, 0-9 and -, separated by commas, 50 at most, like default,thumbnails,video",
    "The types of requests; each has its own queue, so that fast work does not wait behind slow work. setup and the web \
     service need all of them, a processor those that it serves.",
);

/// Worker loops in one process.
pub static WORKERS: Variable = variable(
    "WORKERS",
    "1",
    "a number from 1 to 1000",
    "How many requests of each type one processor works on at the same time, each on its own channel.",
);

/// Deliveries that a worker may hold.
pub static PREFETCH: Variable = variable(
    "PREFETCH",
    "1",
    "a number from 1 to 64",
    "How many requests each worker may hold while it works on one of them. Use more than 1 for short jobs only: PREFETCH \
     times JOB_TIMEOUT must fit into ACK_TIMEOUT.",
);

/// The `Host` headers that are served.
pub static ALLOWED_HOSTS: Variable = Variable {
    name: "ALLOWED_HOSTS",
    default: None,
    takes: "host names and IP addresses without ports, separated by commas, or * for every host",
    about: "Host names and addresses under which clients may call the web service, besides loopback names and the \
            address in HTTP_ADDR. Other hosts get 421, as protection against DNS rebinding; * allows every host.",
    secret: false,
};

/// The kind of work.
pub static PROCESSOR: Variable = variable(
    "PROCESSOR",
    "simulate",
    "simulate, http or command",
    "The work: simulate waits and appends -processed, http POSTs each request to PROCESSOR_URL, command runs \
     PROCESSOR_COMMAND for each request.",
);

/// The simulated work's length.
pub static PROCESSING_DELAY: Variable = variable(
    "PROCESSING_DELAY",
    "5s",
    DURATION_OR_ZERO,
    "How long the simulated work takes; 0 is no delay.",
);

/// The endpoint that does the work. A URL may hold a password.
pub static PROCESSOR_URL: Variable = Variable {
    name: "PROCESSOR_URL",
    default: None,
    takes: "an http:// or https:// URL like http://127.0.0.1:8080/work",
    about: "The URL to which PROCESSOR=http POSTs the data of each request; a 2xx response is the result.",
    secret: true,
};

/// The program that does the work. Its arguments may hold what is nobody's business.
pub static PROCESSOR_COMMAND: Variable = Variable {
    name: "PROCESSOR_COMMAND",
    default: None,
    takes: "a program and its arguments, quoted as for a shell, like python3 work.py --fast",
    about: "The program that PROCESSOR=command runs for each request, with its arguments. It is split into words \
            as by a shell, but no shell runs. The program reads the data from standard input and writes the result \
            to standard output. In .env, put the value in single quotes.",
    secret: true,
};

/// Whether commands stay up.
pub static COMMAND_POOL: Variable = variable(
    "COMMAND_POOL",
    "false",
    "true or false",
    "Whether the programs that PROCESSOR=command starts stay up, for work with an expensive start: each takes a line of \
     JSON for each request, and answers with a line of JSON.",
);

/// How long a child of the pool lives.
pub static COMMAND_POOL_MAX_JOBS: Variable = Variable {
    name: "COMMAND_POOL_MAX_JOBS",
    default: None,
    takes: "a number from 1",
    about: "How many requests a program of COMMAND_POOL=true works on before it is replaced; not set, it stays.",
    secret: false,
};

/// The longest a job may take.
pub static JOB_TIMEOUT: Variable = variable(
    "JOB_TIMEOUT",
    "25m",
    "a duration like 200ms, 5s or 25m, at most 30d",
    "How long one attempt may take before it is stopped. JOB_TIMEOUT, DRAIN_TIMEOUT and 2m together must fit into \
     ACK_TIMEOUT.",
);

/// How often work is tried.
pub static MAX_ATTEMPTS: Variable = variable(
    "MAX_ATTEMPTS",
    "5",
    "a number from 1 to 1000",
    "How many attempts a request has if they fail temporarily; after the last one the request is failed.",
);

/// The pauses between attempts.
pub static RETRY_DELAYS: Variable = variable(
    "RETRY_DELAYS",
    "1s,10s,1m,10m",
    "durations from 0 to 7d, separated by commas, 20 at most, like 1s,10s,1m,10m",
    "The delays before the second, third, ... attempt; the last one is repeated. setup declares a queue for each, \
     so set the same delays for all programs.",
);

/// How often a message may be delivered without coming to an end.
pub static MAX_DELIVERIES: Variable = variable(
    "MAX_DELIVERIES",
    "5",
    "a number from 1 to 19",
    "How many workers may die or hang in one attempt; then the request is failed with the code poison. Lost \
     connections do not count.",
);

/// The time a stopping service has.
pub static DRAIN_TIMEOUT: Variable = variable(
    "DRAIN_TIMEOUT",
    "25s",
    DURATION_OR_ZERO,
    "How long a service that stops may finish what is in flight; 0 stops at once.",
);

/// Where a processor tells of its health.
pub static PROCESSOR_HTTP_ADDR: Variable = Variable {
    name: "PROCESSOR_HTTP_ADDR",
    default: None,
    takes: "an IP address and a port like 127.0.0.1:3001",
    about: "The address on which a processor serves /health/live, /health/ready and /metrics, and takes the progress of \
            PROCESSOR=http; not set, it does none of this. Port 0 takes a free port.",
    secret: false,
};

/// Where the command line finds the web service.
pub static SLOWLANE_URL: Variable = Variable {
    name: "SLOWLANE_URL",
    default: Some("http://127.0.0.1:3000"),
    takes: "an http:// or https:// URL like http://127.0.0.1:3000",
    about: "The URL of the web service, for the command line (slowlane).",
    secret: true,
};

/// What is logged.
pub static RUST_LOG: Variable = variable(
    "RUST_LOG",
    "info",
    "a level (error, warn, info, debug, trace) or a filter like info,pipeline=debug",
    "The log level, or a filter.",
);

/// How it is logged.
pub static LOG_FORMAT: Variable = variable(
    "LOG_FORMAT",
    "text",
    "text or json",
    "The log format: text for people, json for programs.",
);

/// Where spans go.
pub static OTEL_EXPORTER_OTLP_ENDPOINT: Variable = Variable {
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    default: None,
    takes: "an http or https URL, as in http://127.0.0.1:4318",
    about: "The OpenTelemetry collector to which both services send a trace of each request (OTLP over HTTP); off without it.",
    secret: true,
};

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
    &TYPES,
    &WORKERS,
    &PREFETCH,
    &ALLOWED_HOSTS,
    &PROCESSOR,
    &PROCESSING_DELAY,
    &PROCESSOR_URL,
    &PROCESSOR_COMMAND,
    &COMMAND_POOL,
    &COMMAND_POOL_MAX_JOBS,
    &JOB_TIMEOUT,
    &MAX_ATTEMPTS,
    &RETRY_DELAYS,
    &MAX_DELIVERIES,
    &DRAIN_TIMEOUT,
    &PROCESSOR_HTTP_ADDR,
    &SLOWLANE_URL,
    &RUST_LOG,
    &LOG_FORMAT,
    &OTEL_EXPORTER_OTLP_ENDPOINT,
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
