//! What the event journal says of the order of things.

use regent_cli::follow::wall_ms;
use regent_model::journal::Entry;

use crate::cluster::Cluster;

/// What happened since a moment, as words in order: `lx5 acquire dce`, `lx4 release krb5`.
pub(crate) struct Chapter {
    from: u64,
}

impl Chapter {
    /// Begins now.
    pub(crate) fn begin() -> Self {
        Self { from: wall_ms() }
    }

    /// The resources that were acquired and released since, in order, as `node kind resource`.
    pub(crate) fn steps(&self, cluster: &Cluster, teller: &str, group: &str) -> Vec<String> {
        let mut entries = self.entries(cluster, teller, group);
        entries.retain(|e| ["acquire", "release"].contains(&e.kind.as_str()));
        let word = |e: &Entry| {
            let resource = e.resource.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{} {} {resource}", e.node, e.kind)
        };
        entries.iter().map(word).collect()
    }

    /// Everything that was printed by start and stop commands since on a node, in order, line by line.
    pub(crate) fn printed(&self, cluster: &Cluster, node: &str, group: &str) -> Vec<String> {
        // By whoever still knows: a node that was rebooted has forgotten what it did before.
        let mut entries: Vec<Entry> = Vec::new();
        for teller in ["lx4", "lx5", "wit"].into_iter().filter(|m| cluster.status_of(m).is_some()) {
            let more = self.entries(cluster, teller, group);
            let new = |e: &Entry| {
                !entries.iter().any(|k| (&k.node, k.wall_ms, k.number) == (&e.node, e.wall_ms, e.number))
            };
            let more: Vec<Entry> = more.into_iter().filter(new).collect();
            entries.extend(more);
        }
        entries.sort_by_key(|e| (e.wall_ms, e.number));
        let told = entries.iter().filter(|e| e.node.as_str() == node && e.text.contains(" command "));
        told.flat_map(|e| e.evidence.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Everything that the journal says since of a group on a node, in order, with its evidence.
    pub(crate) fn told(&self, cluster: &Cluster, node: &str, group: &str) -> Vec<String> {
        let entries = self.entries(cluster, node, group);
        let here = entries.iter().filter(|e| e.node.as_str() == node);
        here.map(|e| format!("{} {}", e.text, e.evidence.replace('\n', "; "))).collect()
    }

    /// Everything that a machine's journal says since of all nodes, in order, with its evidence, line by line.
    pub(crate) fn everything(&self, cluster: &Cluster, teller: &str) -> Vec<String> {
        let mut entries = cluster.events(teller);
        entries.retain(|e| e.wall_ms >= self.from);
        entries.sort_by_key(|e| (e.wall_ms, e.number));
        let lines = |e: &Entry| {
            let all: Vec<String> = std::iter::once(e.text.as_str())
                .chain(e.evidence.lines())
                .map(|line| format!("{}: {line}", e.node))
                .collect();
            all
        };
        entries.iter().flat_map(lines).collect()
    }

    fn entries(&self, cluster: &Cluster, teller: &str, group: &str) -> Vec<Entry> {
        let mut entries = cluster.events(teller);
        entries.retain(|e| e.wall_ms >= self.from && e.group.as_ref().is_some_and(|g| g.as_str() == group));
        entries.sort_by_key(|e| (e.wall_ms, e.number));
        entries
    }
}

/// These words come in this order, whatever stands between them.
pub(crate) fn in_order(told: &[String], expected: &[&str]) {
    if let Some(word) = missing(told, expected) {
        panic!("`{word}` is not told, or not in its place of {expected:#?}\n{told:#?}");
    }
}

/// Waits until `told` has these words in this order: an event is told of when it has ended.
pub(crate) fn until_in_order(told: impl Fn() -> Vec<String>, expected: &[&str]) {
    let began = std::time::Instant::now();
    while missing(&told(), expected).is_some() && began.elapsed() < std::time::Duration::from_secs(30) {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    in_order(&told(), expected);
}

fn missing<'a>(told: &[String], expected: &[&'a str]) -> Option<&'a str> {
    let mut rest = told.iter();
    expected.iter().copied().find(|word| !rest.any(|t| t.contains(word)))
}
