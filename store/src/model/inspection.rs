//! What can be seen of the database itself.

/// The database, and the settings that can lose what was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// A SQLite file.
    Sqlite {
        /// Its path.
        path: String,
        /// The kind of the file system that it is on, if the operating system tells.
        file_system: Option<String>,
    },
    /// A PostgreSQL server.
    Postgres {
        /// Whether it writes through to the disk.
        fsync: bool,
        /// Whether pages that were written in part can be repaired.
        full_page_writes: bool,
        /// Whether it only follows another server.
        is_standby: bool,
    },
}

/// The kind of the file system of a path, from the text of `/proc/self/mountinfo`.
pub(crate) fn file_system(mounts: &str, path: &str) -> Option<String> {
    let mount = |line: &str| {
        let (fields, rest) = line.split_once(" - ")?;
        let point = fields.split(' ').nth(4)?.replace("\\040", " ");
        let is_above =
            path == point || path.starts_with(&format!("{}/", point.trim_end_matches('/')));
        is_above.then(|| (point.len(), rest.split(' ').next().unwrap_or_default().to_owned()))
    };
    // Of two mounts at the same place the later one counts.
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "22 1 254:1 / / rw,relatime - ext4 /dev/vda rw\n\
            30 22 0:40 / /mnt/share rw shared:1 - nfs4 host:/share rw\n\
            31 22 0:41 / /mnt/sharedisk rw - xfs /dev/vdb rw\n";
        let kind = |path| file_system(mounts, path).unwrap();
        assert_eq!(kind("/var/lib/a.db"), "ext4");
        assert_eq!(kind("/mnt/share/a.db"), "nfs4");
        assert_eq!(kind("/mnt/sharedisk/a.db"), "xfs");
        assert_eq!(file_system("", "/a"), None);
    }
}
