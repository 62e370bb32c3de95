//! Settings of the database that can lose what was committed.

use store::{Inspection, Store};

use crate::doctor::diagnosis::{Check, Verdict};

/// File systems on other hosts, where locks and syncs are not what SQLite needs.
const NETWORK_FILE_SYSTEMS: [&str; 10] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "afs"];

/// Looks at the database.
pub(super) async fn check(store: &Store) -> Check {
    let verdict = match store.inspect().await {
        Ok(inspection) => verdict(&inspection),
        Err(error) => Verdict::unseen(
            format!("The settings of the database: {error}"),
            "see the part store of /health/ready",
        ),
    };
    Check::new("database", verdict)
}

fn verdict(inspection: &Inspection) -> Verdict {
    match inspection {
        Inspection::Sqlite { path, file_system: Some(kind) }
            if NETWORK_FILE_SYSTEMS.contains(&kind.as_str()) =>
        {
            Verdict::finding(
                format!(
                    "{path} is on another host ({kind}), where SQLite can lose what was committed"
                ),
                "put the file on a local disk, or use DATABASE_URL=postgres://...",
            )
        }
        Inspection::Sqlite { path, file_system } => {
            let kind = file_system.as_deref().unwrap_or("not known");
            Verdict::Fine(format!("SQLite, {path} (file system: {kind})"))
        }
        Inspection::Postgres { fsync: false, .. } => Verdict::finding(
            "PostgreSQL runs with fsync = off: a crash of its host loses what was committed",
            "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()",
        ),
        Inspection::Postgres { full_page_writes: false, .. } => Verdict::finding(
            "PostgreSQL runs with full_page_writes = off: a crash of its host can damage its files",
            "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()",
        ),
        Inspection::Postgres { is_standby: true, .. } => Verdict::finding(
            "PostgreSQL is a standby, and takes no writes",
            "use the primary in DATABASE_URL",
        ),
        Inspection::Postgres { .. } => Verdict::Fine("PostgreSQL, a primary with fsync".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_lose_data_is_found() {
        let postgres = |fsync, full_page_writes, is_standby| {
            verdict(&Inspection::Postgres { fsync, full_page_writes, is_standby })
        };
        let sqlite = |kind: Option<&str>| {
            let (path, file_system) = ("a.db".to_owned(), kind.map(str::to_owned));
            verdict(&Inspection::Sqlite { path, file_system })
        };
        for bad in [
            postgres(false, true, false),
            postgres(true, false, false),
            postgres(true, true, true),
            sqlite(Some("nfs4")),
        ] {
            assert!(matches!(bad, Verdict::Finding { .. }), "{bad:?}");
        }
        for good in [postgres(true, true, false), sqlite(Some("ext4")), sqlite(None)] {
            assert!(matches!(good, Verdict::Fine(_)), "{good:?}");
        }
    }
}
