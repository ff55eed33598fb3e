//! Who a node is: its place in the cluster, its boot, its key.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use regent_model::ids::ClusterName;
use regent_model::{BootId, NodeId, NodeName};
use regent_wire::KeyRing;
use serde::{Deserialize, Serialize};

use crate::durable;

/// The environment variable that names the boot where the kernel's own name is not this machine's alone.
pub const BOOT_VARIABLE: &str = "REGENT_BOOT_ID";

/// Who a node is, as `identity.json` in its state folder says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster: ClusterName,
    /// The node's number in the log.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its own addresses, one per network.
    pub addresses: Vec<IpAddr>,
    /// The port of keepalives (UDP) and channels (TCP).
    pub port: u16,
    /// Whether it only votes.
    #[serde(default)]
    pub witness: bool,
}

impl NodeIdentity {
    /// Reads it.
    ///
    /// # Errors
    /// In words, with what to type.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!(
                "{} is not there: this machine belongs to no cluster. Type: regent init NAME, or: regent join TOKEN",
                path.display()
            ),
            _ => format!("cannot read {}: {error}", path.display()),
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            format!(
                "{} is damaged ({error}): this machine does not know who it is, and owns nothing. Type: {}",
                path.display(),
                durable::begin_anew(path.parent().unwrap_or(Path::new(".")))
            )
        })
    }

    /// Writes it, durably.
    ///
    /// # Errors
    /// In words.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let fail = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let text = serde_json::to_vec_pretty(self).map_err(|error| fail(error.into()))?;
        durable::replace(path, &text, 0o644).map_err(fail)
    }
}

/// The machine's boot.
///
/// # Errors
/// In words; a node without a boot identity could not tell what is left from an earlier boot.
pub fn boot_id() -> Result<BootId, String> {
    if let Ok(given) = std::env::var(BOOT_VARIABLE) {
        return Ok(BootId(given));
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {path}: {error}; is /proc mounted?"))?;
    Ok(BootId(text.trim().to_owned()))
}

/// Reads the cluster's key, or the two of them while it is being changed.
///
/// # Errors
/// In words.
pub fn read_keys(path: &Path) -> Result<KeyRing, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        format!("cannot read the cluster's key {shown}: {error}. Copy it from another node, readable by root alone")
    })?;
    text.parse().map_err(|error| {
        format!("{shown} does not hold a key ({error}). Copy it from another node, readable by root alone")
    })
}

/// Writes the cluster's keys, durably, for root alone.
///
/// # Errors
/// The kernel's; the file is then as it was before.
pub fn write_keys(path: &Path, ring: &KeyRing) -> io::Result<()> {
    durable::replace(path, format!("{}\n", ring.to_text()).as_bytes(), 0o600)
}
