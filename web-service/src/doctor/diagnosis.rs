//! What an examination finds: checks, each with its verdict.

/// A check and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Names the check, for programs.
    pub code: &'static str,
    /// What was found.
    pub verdict: Verdict,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong, with what was seen.
    Fine(String),
    /// Something is wrong.
    Finding {
        /// What is wrong.
        detail: String,
        /// The command or the setting that mends it.
        mend: String,
    },
    /// It can't be seen.
    Unseen {
        /// What can't be seen.
        detail: String,
        /// The command that shows it.
        see: String,
    },
}

impl Check {
    /// A check of this name.
    pub fn new(code: &'static str, verdict: Verdict) -> Self {
        Self { code, verdict }
    }
}

impl Verdict {
    /// Something is wrong.
    pub fn finding(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Finding { detail: detail.into(), mend: mend.into() }
    }

    /// Something can't be seen.
    pub fn unseen(detail: impl Into<String>, see: impl Into<String>) -> Self {
        Self::Unseen { detail: detail.into(), see: see.into() }
    }
}

/// What neither AMQP nor the store ever shows.
pub(super) fn never_seen() -> impl Iterator<Item = Check> {
    [
        ("policies", "Policies that change the queues", "rabbitmqctl list_policies --vhost VHOST"),
        (
            "quorum",
            "On which nodes the queues have members",
            "rabbitmq-queues quorum_status processing.requests --vhost VHOST",
        ),
        (
            "feature-flags",
            "Feature flags that an upgrade of the broker needs",
            "rabbitmqctl list_feature_flags",
        ),
        ("disk", "Free space on the disks of the broker and of the store", "df -h"),
        (
            "certificate",
            "When the certificates expire",
            "openssl s_client -connect HOST:5671 </dev/null | openssl x509 -noout -enddate",
        ),
        (
            "idle-workers",
            "Whether the consumers are processors of this release: those without work say nothing",
            "rabbitmqctl list_consumers --vhost VHOST",
        ),
    ]
    .into_iter()
    .map(|(code, detail, see)| Check::new(code, Verdict::unseen(detail, see)))
}
