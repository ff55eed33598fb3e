//! The fence agent interface: what an agent says about itself (`action=metadata`), what of a device's configuration does
//! not fit that, and the lines that a call of it is given.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::NodeName;
use crate::config::{FenceConfig, FenceKind};

/// What an agent is asked for to hear about itself.
pub const METADATA: &str = "metadata";
/// Options that every call is given beside the configured ones, as far as the agent knows them.
const GIVEN: [&str; 4] = ["action", "plug", "port", "nodename"];
/// The same for devices at the storage.
const DISKS: [&str; 2] = ["devices", "key"];
/// How agents call what a device calls a node: today, and in older ones.
const PLUGS: [&str; 2] = ["plug", "port"];
/// Actions without which nothing can be cut and confirmed.
const NEEDED: [&str; 2] = ["off", "status"];

/// The parts of an agent's metadata that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its options, by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// What it can be asked for.
    pub actions: Vec<String>,
    /// Whether a node comes back by its `on`, on that node itself or beforehand: it cuts off from disks or networks, and not
    /// the power.
    pub unfences: bool,
}

/// One option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// It has to be given, and has no default.
    pub required: bool,
    /// The agent still takes it, and would rather be given another.
    pub deprecated: bool,
    /// An older name of it.
    pub obsoletes: Option<String>,
}

impl Metadata {
    /// Reads what an agent printed; `None` if that is no metadata. Agents make it by a program, but pages differ in
    /// their headers and indentation: it is gone through tag by tag, and what is not known is passed over.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut is_metadata = false;
        let mut inside: Option<String> = None;
        for (name, attributes) in tags(text) {
            let get = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            let named = || get("name").filter(|name| is_a_name(name));
            match name {
                "resource-agent" => is_metadata = true,
                "parameter" => {
                    let Some(key) = named() else { continue };
                    let says = |key| get(key).is_some_and(|value| value == "1" || value == "true");
                    let deprecated = says("deprecated");
                    // What is deprecated has a newer name, and that is required.
                    let required = says("required") && !deprecated;
                    let parameter = Parameter { required, deprecated, obsoletes: get("obsoletes") };
                    found.parameters.insert(key.clone(), parameter);
                    inside = Some(key);
                }
                "/parameter" => inside = None,
                "content" if get("default").is_some() => {
                    if let Some(parameter) = inside.as_ref().and_then(|key| found.parameters.get_mut(key)) {
                        parameter.required = false;
                    }
                }
                "action" => {
                    let says = |key| get(key).is_some_and(|value| value == "1");
                    let by_on = named().is_some_and(|name| name == "on");
                    found.unfences |= by_on && (says("on_target") || says("automatic"));
                    found.actions.extend(named());
                }
                _ => {}
            }
        }
        is_metadata.then_some(found)
    }

    /// What does not fit, each in one line that names the option.
    #[must_use]
    pub fn doubts(&self, device: &FenceConfig) -> Vec<String> {
        let mut doubts = Vec::new();
        let name = &device.name;
        for (key, parameter) in self.parameters.iter().filter(|(_, p)| p.required) {
            let older = parameter.obsoletes.as_ref();
            let given = |key: &String| {
                device.options.contains_key(key)
                    || GIVEN.contains(&key.as_str())
                    || (device.kind == FenceKind::Storage && DISKS.contains(&key.as_str()))
            };
            if !given(key) && !older.is_some_and(given) {
                doubts.push(format!(
                    "the fence device {name} lacks what its agent requires: write {key} into its options"
                ));
            }
        }
        for key in device.options.keys().filter(|key| !self.parameters.contains_key(*key)) {
            doubts.push(format!(
                "the agent of the fence device {name} knows no option {key}: is it misspelt? {} -o metadata lists them",
                device.agent.display()
            ));
        }
        doubts.extend(self.other_kind(device));
        for action in NEEDED.iter().filter(|needed| !self.actions.iter().any(|a| a == *needed)) {
            doubts.push(format!(
                "the agent of the fence device {name} has no action {action}: nothing it does could be confirmed"
            ));
        }
        doubts
    }

    /// What is wrong with the kind of a device, by what its agent says: what cuts off from disks must never be believed to
    /// have cut the power.
    #[must_use]
    pub fn other_kind(&self, device: &FenceConfig) -> Option<String> {
        let name = &device.name;
        match (device.kind, self.unfences) {
            (FenceKind::Power, true) => Some(format!(
                "the agent of the fence device {name} cuts no power, but nodes off from disks or networks: write \
                 kind = \"storage\", and the disks"
            )),
            (FenceKind::Storage, false) => Some(format!(
                "the agent of the fence device {name} does not register nodes at disks (its action on has neither on_target \
                 nor automatic): delete kind and disks"
            )),
            _ => None,
        }
    }

    /// What works today and may not with the agent's next version, each in one line that says what to write instead.
    #[must_use]
    pub fn remarks(&self, device: &FenceConfig) -> Vec<String> {
        let old = device.options.keys().filter(|key| self.parameters.get(*key).is_some_and(|p| p.deprecated));
        old.map(|key| {
            let newer = self.parameters.iter().find(|(_, p)| p.obsoletes.as_ref() == Some(key));
            let instead = newer.map_or_else(String::new, |(newer, _)| format!(": write {newer} instead"));
            format!(
                "the option {key} of the fence device {} is deprecated by its agent{instead}",
                device.name
            )
        })
        .collect()
    }

    /// Which words name the plug to this agent: the one that it would rather be given, or none.
    fn plug_words(&self) -> Vec<&'static str> {
        let known = |word: &&&str| self.parameters.contains_key(**word);
        let current = |word: &&&str| self.parameters.get(**word).is_some_and(|p| !p.deprecated);
        let word = PLUGS.iter().find(current).or_else(|| PLUGS.iter().find(known));
        word.copied().into_iter().collect()
    }
}

/// The lines that a call is given on its standard input: `key=value`, ours last, for the last one counts. What the device
/// calls the node goes under the name that the agent's metadata has for it; where they are not known, under both that are
/// in use, for agents pass over what they do not know.
///
/// # Errors
/// When an option cannot stand in such a line: no quoting exists.
pub fn input(
    device: &FenceConfig,
    victim: &NodeName,
    action: &str,
    metadata: Option<&Metadata>,
) -> Result<String, String> {
    let disks: Vec<String> = device.disks.iter().map(|disk| disk.display().to_string()).collect();
    let disks = disks.join(",");
    let plug = device.plugs.get(victim).map_or(victim.as_str(), String::as_str);
    let plugs = metadata.map_or_else(|| PLUGS.to_vec(), Metadata::plug_words).into_iter();
    let ours =
        [("action", action), ("nodename", victim.as_str())].into_iter().chain(plugs.map(|word| (word, plug)));
    let key = device.keys.get(victim).map(|key| ("key", key.as_str()));
    let ours = ours.chain(key.is_some().then_some(("devices", disks.as_str()))).chain(key);
    let configured = device.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    lines(configured.chain(ours)).map_err(|why| format!("fence device {}: {why}", device.name))
}

fn lines<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> Result<String, String> {
    let mut text = String::new();
    for (key, value) in options {
        if key.is_empty() || key.contains(['\n', '=', '#']) || value.contains('\n') {
            return Err(format!(
                "the option {key:?} cannot be given to an agent: line breaks and '=' cannot stand there"
            ));
        }
        let _ = writeln!(text, "{key}={value}");
    }
    Ok(text)
}

/// Names are shown to people, on one line.
fn is_a_name(text: &str) -> bool {
    (1..=100).contains(&text.len()) && !text.contains(char::is_control)
}

/// The names and attributes of all tags, in order; comments, instructions and text are passed over.
fn tags(text: &str) -> impl Iterator<Item = (&str, Vec<(String, String)>)> {
    const PASSED_OVER: [(&str, &str); 4] = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>"), ("!", ">")];
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, from) = rest.split_once('<')?;
            let passed = PASSED_OVER.iter().find_map(|(begins, ends)| {
                let inner = from.strip_prefix(begins)?;
                Some(inner.split_once(ends).map_or("", |(_, after)| after))
            });
            if let Some(after) = passed {
                rest = after;
                continue;
            }
            let end = end_of_tag(from)?;
            rest = from.get(end + 1..).unwrap_or("");
            let tag = from.get(..end).unwrap_or("");
            let name = tag.split(|c: char| c.is_whitespace()).next().unwrap_or("");
            return Some((name.trim_end_matches('/'), attributes(tag.get(name.len()..).unwrap_or(""))));
        }
    })
}

/// Where a tag ends: at the first `>` that stands in no quotes.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

fn attributes(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|c| *c == '"' || *c == '\'') else { break };
        let Some((value, next)) = after.get(1..).and_then(|value| value.split_once(quote)) else { break };
        found.push((key.trim().to_owned(), value.to_owned()));
        rest = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::FenceAction;
    use proptest::prelude::*;

    const IPMI: &str = r#"<?xml version="1.0" ?>
<!-- <parameter name="never" required="1"/> -->
<resource-agent name="fence_ipmilan" shortdesc="Fence agent for IPMI">
<longdesc>It says: 5 &gt; 4, and <![CDATA[<parameter name="nor" required="1">]]>.</longdesc>
<parameters>
	<parameter name="action" unique="0" required="1">
		<getopt mixed="-o, --action=[action]" />
		<content type="string" default="reboot"  />
	</parameter>
	<parameter name="ip" unique="0" required="1" obsoletes="ipaddr">
		<getopt mixed="-a, --ip=[ip] > this"/><content type="string"  />
	</parameter>
	<parameter name='ipaddr' unique="0" required="1" deprecated="1" ><content type="string"/></parameter>
	<parameter name="password" required="0"><content type="string"/></parameter>
	<parameter name="plug" required="1" obsoletes="port"><content type="string"/></parameter>
	<parameter name="cipher" required="1"><content type="string" default="0"/></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off" /><action name="status" /></actions>
</resource-agent>"#;

    fn device(options: &[(&str, &str)]) -> FenceConfig {
        FenceConfig {
            name: "bmc".into(),
            agent: "/usr/sbin/fence_ipmilan".into(),
            kind: FenceKind::Power,
            disks: Vec::new(),
            nodes: Vec::new(),
            keys: BTreeMap::new(),
            plugs: BTreeMap::new(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            action: FenceAction::Reboot,
            level: 1,
            timeout: Duration::from_secs(1),
            retries: 0,
            delay: Duration::ZERO,
            delays: BTreeMap::new(),
        }
    }

    #[test]
    fn parameters_and_actions_are_read_past_comments_and_quoted_signs() {
        let metadata = Metadata::read(IPMI).unwrap();
        let required: Vec<_> =
            metadata.parameters.iter().filter(|(_, p)| p.required).map(|(k, _)| k.as_str()).collect();
        assert_eq!(required, ["ip", "plug"]);
        assert_eq!(metadata.parameters.len(), 6);
        assert_eq!(metadata.actions, ["on", "off", "status"]);
        assert_eq!(Metadata::read("bash: no such thing"), None);
    }

    #[test]
    fn what_is_missing_misspelt_or_impossible_is_named() {
        let metadata = Metadata::read(IPMI).unwrap();
        assert!(metadata.doubts(&device(&[("ip", "10.0.0.9"), ("password", "x")])).is_empty());
        assert!(metadata.doubts(&device(&[("ipaddr", "10.0.0.9")])).is_empty(), "an older name will do");
        let doubts = metadata.doubts(&device(&[("pasword", "x")]));
        assert_eq!(doubts.len(), 2, "{doubts:?}");
        assert!(doubts[0].contains("write ip into its options"), "{doubts:?}");
        assert!(doubts[1].contains("knows no option pasword"), "{doubts:?}");
        let blind = Metadata::read(&IPMI.replace("<action name=\"status\" />", "")).unwrap();
        assert!(blind.doubts(&device(&[("ip", "1")]))[0].contains("no action status"));
    }

    #[test]
    fn the_plug_goes_by_the_name_that_the_metadata_have_for_it_and_by_both_where_there_are_none() {
        let lx4 = NodeName::new("lx4").unwrap();
        let mut bmc = device(&[("action", "reboot"), ("ip", "10.0.0.9")]);
        bmc.plugs.insert(lx4.clone(), "n 1".to_owned());
        let given = |metadata: Option<&Metadata>| input(&bmc, &lx4, "off", metadata).unwrap();
        let ours = "action=reboot\nip=10.0.0.9\naction=off\nnodename=lx4\n";
        assert_eq!(given(None), format!("{ours}plug=n 1\nport=n 1\n"));
        let new = Metadata::read(IPMI).unwrap();
        assert_eq!(given(Some(&new)), format!("{ours}plug=n 1\n"));
        // One that was not renamed yet, one that offers the new name as well, and one that needs none.
        let old = Metadata::read("<resource-agent><parameter name='port'/></resource-agent>").unwrap();
        assert_eq!(given(Some(&old)), format!("{ours}port=n 1\n"));
        let both = "<resource-agent><parameter name='port'/><parameter name='plug' deprecated='1'/></resource-agent>";
        assert_eq!(given(Metadata::read(both).as_ref()), format!("{ours}port=n 1\n"));
        assert_eq!(given(Some(&Metadata::default())), ours);
    }

    #[test]
    fn what_is_deprecated_is_told_with_its_newer_name() {
        let metadata = Metadata::read(IPMI).unwrap();
        assert!(metadata.remarks(&device(&[("ip", "10.0.0.9")])).is_empty());
        let remarks = metadata.remarks(&device(&[("ipaddr", "10.0.0.9")]));
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(remarks[0].contains("option ipaddr of the fence device bmc"), "{remarks:?}");
        assert!(remarks[0].ends_with("write ip instead"), "{remarks:?}");
    }

    #[test]
    fn a_line_break_is_refused() {
        let lx4 = NodeName::new("lx4").unwrap();
        let why = input(&device(&[("password", "x\naction=on")]), &lx4, "off", None).unwrap_err();
        assert!(why.contains("bmc") && why.contains("password"), "{why}");
    }

    proptest! {
        #[test]
        fn no_value_can_smuggle_in_another_option(value: String) {
            let lx4 = NodeName::new("lx4").unwrap();
            if let Ok(text) = input(&device(&[("ip", &value)]), &lx4, "off", Some(&Metadata::default())) {
                prop_assert_eq!(text.split('\n').count(), 4);
                prop_assert!(text.ends_with("\naction=off\nnodename=lx4\n"));
            }
        }

        #[test]
        fn whatever_an_agent_prints_is_read_without_a_panic(text in "[<>!?\\-\\[\\]/='\" a-e\\n]{0,200}", cut in 0usize..2000) {
            let _ = Metadata::read(&text);
            let cut = (0..=cut.min(IPMI.len())).rev().find(|at| IPMI.is_char_boundary(*at)).unwrap_or(0);
            let _ = Metadata::read(&IPMI[..cut]);
            let _ = Metadata::read(&format!("{}{text}", &IPMI[..cut]));
        }
    }
}
