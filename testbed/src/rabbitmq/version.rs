//! Which release of RabbitMQ a test run wants: any, 3.10 or 4.0.

use std::str::FromStr;

use anyhow::{Result, bail};

/// Which release of RabbitMQ is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// The machine's own if it is 3.10 or later, else what this system's distribution has.
    #[default]
    Any,
    /// 3.10, the oldest one supported.
    V3_10,
    /// 4.0.
    V4_0,
}

impl Version {
    /// Whether a release, as `3.10.8`, is one of those wanted.
    pub(super) fn accepts(self, version: &str) -> bool {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        match self {
            Self::Any => (major, minor) >= (3, 10),
            Self::V3_10 => (major, minor) == (3, 10),
            Self::V4_0 => (major, minor) == (4, 0),
        }
    }
}

impl FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "any" => Self::Any,
            "3.10" => Self::V3_10,
            "4.0" => Self::V4_0,
            other => bail!("{other:?} is no RabbitMQ version known here: say any, 3.10 or 4.0"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_compared_by_number_not_by_text() {
        assert!(Version::Any.accepts("3.10.8") && Version::Any.accepts("4.3.6"));
        assert!(!Version::Any.accepts("3.9.27"));
        assert!(Version::V4_0.accepts("4.0.5") && !Version::V4_0.accepts("4.1.0"));
    }
}
