//! What the sample configurations of the tests begin with.

/// A cluster without its groups: two nodes, a witness, a fence device.
macro_rules! two_nodes {
    () => {
        r#"[cluster]
name = "ward7"
takeover = "normal"

[[node]]
name = "lx4"
addresses = ["10.77.0.4", "10.78.0.4"]

[[node]]
name = "lx5"
addresses = ["10.77.0.5", "10.78.0.5"]

[[witness]]
name = "wit"
addresses = ["10.77.0.6", "10.78.0.6"]

[[fence]]
name = "power"
agent = "/usr/sbin/fence_ipmilan"
nodes = ["lx4", "lx5"]
"#
    };
}
