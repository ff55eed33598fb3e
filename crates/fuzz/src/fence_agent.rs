//! What a fence agent prints about itself: whatever it is, people are shown plain lines, and a call is given whole ones.

use regent_model::NodeName;
use regent_model::config::{Config, parse};
use regent_model::fence_agent::{Metadata, input};

const CONFIG: &str = r#"
[cluster]
name = "w"
[[node]]
name = "lx4"
addresses = ["10.0.0.4"]
[[fence]]
name = "bmc"
agent = "/usr/sbin/fence_bmc"
nodes = ["lx4"]
plugs = { lx4 = "3" }
options = { ip = "10.0.0.9", ipaddr = "10.0.0.9", pasword = "x" }
"#;

fn config() -> Config {
    parse(CONFIG).config.unwrap_or_else(|| panic!("the configuration of this target is refused"))
}

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(metadata) = Metadata::read(&text) else { return };
    let config = config();
    let device = config.fences.first().unwrap_or_else(|| panic!("no device"));
    for line in metadata.doubts(device).iter().chain(&metadata.remarks(device)) {
        assert!(!line.is_empty() && !line.contains(char::is_control), "no plain line: {line:?}");
    }
    let node = NodeName::new("lx4").unwrap_or_else(|e| panic!("{e}"));
    let lines = input(device, &node, "off", Some(&metadata)).unwrap_or_else(|e| panic!("{e}"));
    let ours = lines.split_once("pasword=x\n").map_or("", |(_, ours)| ours);
    let usual = ["", "plug=3\n", "port=3\n"].map(|plug| format!("action=off\nnodename=lx4\n{plug}"));
    assert!(usual.iter().any(|usual| usual == ours), "given besides the options: {ours:?}");
}

pub(crate) fn starters() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../corpus/fence_metadata/renamed.xml").to_vec(),
        include_bytes!("../corpus/fence_metadata/odd.xml").to_vec(),
    ]
}
