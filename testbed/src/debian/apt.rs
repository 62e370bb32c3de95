//! The system's own package sources, read for the mirror that it is set up to use.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A mirror and the key that signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    pub(super) uri: String,
    pub(super) signed_by: Option<String>,
}

impl Mirror {
    /// The line of a `sources.list` for one suite of this mirror.
    pub(super) fn line(&self, suite: &str) -> String {
        // A key given for one suite may not sign another; Debian's own keyring has the keys of all suites.
        let keyring =
            if Path::new(KEYRING).is_file() { Some(KEYRING) } else { self.signed_by.as_deref() };
        let options = keyring.map(|file| format!("[signed-by={file}] ")).unwrap_or_default();
        format!("deb {options}{} {suite} main\n", self.uri)
    }
}

/// The mirror from which this system takes the packages of `codename`.
pub(super) fn mirror(codename: &str) -> Result<Mirror> {
    let mut files = Vec::new();
    for place in SOURCES {
        collect(Path::new(place), &mut files);
    }
    files
        .iter()
        .find_map(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            if file.extension()? == "sources" {
                in_deb822(&text, codename)
            } else {
                in_list(&text, codename)
            }
        })
        .with_context(|| format!("no apt source for {codename} main in {}", SOURCES.join(" or ")))
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) {
    if place.is_file() {
        files.push(place.to_owned());
    }
    let Ok(entries) = std::fs::read_dir(place) else { return };
    let known =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "list" || end == "sources");
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(known).collect();
    found.sort();
    files.extend(found);
}

/// Finds the suite in a file of stanzas, as `debian.sources`.
fn in_deb822(text: &str, codename: &str) -> Option<Mirror> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            let mut lines = stanza.lines().filter(|line| !line.starts_with('#'));
            let value = lines
                .find_map(|line| {
                    line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name))
                })?
                .1;
            Some(value.trim().to_owned())
        };
        let has = |name: &str, word: &str| {
            field(name).is_some_and(|value| value.split_whitespace().any(|each| each == word))
        };
        let disabled = field("Enabled").is_some_and(|value| value == "no");
        if disabled
            || !has("Types", "deb")
            || !has("Suites", codename)
            || !has("Components", "main")
        {
            return None;
        }
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        let signed_by = field("Signed-By").filter(|value| value.starts_with('/'));
        Some(Mirror { uri, signed_by })
    })
}

/// Finds the suite in a file of lines, as `deb [signed-by=/a.gpg] http://mirror/debian bookworm main`.
fn in_list(text: &str, codename: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        (suite == codename && words.any(|word| word == "main"))
            .then(|| Mirror { uri: uri.to_owned(), signed_by })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_of_another_suite_or_a_disabled_one_is_passed_over() {
        let text = "Types: deb\nURIs: http://a/\nSuites: bookworm-security\nComponents: main\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://b/\nSuites: bookworm\nComponents: main\n\n\
                    Types: deb deb-src\n# a remark: here\nURIs: http://c/ http://d/\nSuites: bookworm bookworm-updates\n\
                    Components: contrib main\nSigned-By: /k.gpg";
        let found = in_deb822(text, "bookworm");
        assert_eq!(
            found,
            Some(Mirror { uri: "http://c/".into(), signed_by: Some("/k.gpg".into()) })
        );
    }

    #[test]
    fn a_line_may_have_options() {
        let text = "# deb http://x/ bookworm main\ndeb-src http://a/ bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://b/ bookworm main contrib\n";
        let found = in_list(text, "bookworm");
        assert_eq!(
            found,
            Some(Mirror { uri: "http://b/".into(), signed_by: Some("/k.gpg".into()) })
        );
        assert_eq!(in_list("deb http://a/ trixie main", "bookworm"), None);
    }
}
