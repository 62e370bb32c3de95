//! Writes the configuration files of a private node.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::{Context, Result};

use super::access::Access;
use crate::tls;

/// Writes configuration, plugin list, cookie, and certificates if TLS is wanted.
pub(super) fn write(access: &Access, extra: &str) -> Result<()> {
    let dir = &access.dir;
    for part in ["data", "log"] {
        fs::create_dir_all(dir.join(part))
            .with_context(|| format!("cannot make {}", dir.join(part).display()))?;
    }
    write_cookie(access)?;
    let plugins = if access.management_port.is_some() { "[rabbitmq_management]." } else { "[]." };
    fs::write(dir.join("enabled_plugins"), plugins)?;
    let mut conf = base(access);
    if let Some(port) = access.tls_port {
        conf += &tls_listener(port, &tls::write(&access.tls_dir())?);
    }
    conf += extra;
    conf.push('\n');
    fs::write(dir.join("rabbitmq.conf"), conf)?;
    Ok(())
}

fn base(access: &Access) -> String {
    let mut conf = format!("listeners.tcp.1 = {}\n", access.address());
    if let Some(port) = access.management_port {
        conf += &format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n");
    }
    conf + "log.console = false\nlog.file.level = info\ndisk_free_limit.absolute = 50MB\n\
            vm_memory_high_watermark.relative = 0.4\n"
}

fn tls_listener(port: u16, files: &tls::Files) -> String {
    format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = false\n",
        files.ca.display(),
        files.certificate.display(),
        files.key.display()
    )
}

/// The cookie lets the tools of this node, and nobody else, administer it. Erlang insists on its mode.
fn write_cookie(access: &Access) -> Result<()> {
    let path = access.dir.join(".erlang.cookie");
    if !path.exists() {
        fs::write(&path, uuid::Uuid::now_v7().simple().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400))?;
    }
    Ok(())
}
