//! Who is registered at the SAN: from the first registration on only those who are may write, as with SCSI-3 persistent
//! reservations (write exclusive, registrants only). The keys outlive the power of the nodes, and end with the lab.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// The registered nodes, by name; nothing before the first has registered.
#[derive(Default)]
pub(crate) struct Keys(RwLock<Option<BTreeSet<String>>>);

impl Keys {
    /// Whether `node` is registered.
    pub(crate) fn has(&self, node: &str) -> bool {
        self.read().as_ref().is_some_and(|keys| keys.contains(node))
    }

    /// Registers a node.
    pub(crate) fn register(&self, node: &str) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.get_or_insert_default().insert(node.to_owned());
    }

    /// Takes a node's key away. When this returns, none of its writes touches an image any more.
    pub(crate) fn preempt(&self, node: &str) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = keys.as_mut() {
            keys.remove(node);
        }
    }

    /// Calls `write` if this node may write, and has nobody's key taken away meanwhile.
    pub(crate) fn while_allowed<T>(&self, node: &str, write: impl FnOnce() -> T) -> Option<T> {
        let keys = self.read();
        keys.as_ref().is_none_or(|keys| keys.contains(node)).then(write)
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<BTreeSet<String>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_writes_until_somebody_registers_and_who_was_preempted_does_not() {
        let keys = Keys::default();
        let writes = |node| keys.while_allowed(node, || ()).is_some();
        assert!(writes("lx4") && writes("lx5"));
        keys.register("lx4");
        assert!(writes("lx4") && !writes("lx5"));
        keys.register("lx5");
        keys.preempt("lx4");
        assert!(!writes("lx4") && writes("lx5") && !keys.has("lx4") && keys.has("lx5"));
        keys.preempt("lx5");
        assert!(!writes("lx5"), "the reservation stays");
    }
}
