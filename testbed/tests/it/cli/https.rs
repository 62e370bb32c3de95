//! `slowlane` over TLS.

use anyhow::{Result, ensure};
use testbed::tls;

use super::fake;
use crate::support::https;
use crate::support::slowlane::{CliOutput, UNKNOWN, slowlane};

#[tokio::test]
async fn https_is_spoken_with_those_whom_the_system_trusts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = tls::write(folder.path())?;
    let body = format!("{{\"requestId\":\"{UNKNOWN}\",\"status\":\"completed\"}}");
    let url = https::serve(&files, fake::answer(200, "", &body))?;
    let words = ["get", UNKNOWN, "--retry-for", "0s"];
    let trusting = slowlane(&url, &words).env("SSL_CERT_FILE", &files.ca).start()?;
    let said = CliOutput::by(&trusting).await?;
    ensure!(said.code == Some(0) && said.text.contains("completed"), "{}", said.text);

    let other = tls::write(&folder.path().join("other"))?;
    let wary = slowlane(&url, &words).env("SSL_CERT_FILE", &other.ca).start()?;
    let said = CliOutput::by(&wary).await?;
    ensure!(said.code == Some(7) && said.text.contains("certificate"), "{}", said.text);
    Ok(())
}
