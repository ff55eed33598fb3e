//! What a fence agent says about itself (`action=metadata`), and what of a device's configuration does not fit it.

use std::collections::BTreeMap;

use regent_model::config::FenceConfig;

/// Options that every call is given beside the configured ones.
const GIVEN: [&str; 4] = ["action", "plug", "port", "nodename"];
/// Actions without which nothing can be cut and confirmed.
const NEEDED: [&str; 2] = ["off", "status"];

/// The parts of an agent's metadata that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) parameters: BTreeMap<String, Parameter>,
    pub(super) actions: Vec<String>,
}

/// One option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameter {
    /// It has to be given, and has no default.
    pub(super) required: bool,
    /// An older name of it.
    pub(super) obsoletes: Option<String>,
}

impl Metadata {
    /// Reads what an agent printed; `None` if that is no metadata. Agents make it by a program, but pages differ in
    /// their headers and indentation: it is gone through tag by tag, and what is not known is passed over.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut is_metadata = false;
        let mut inside: Option<String> = None;
        for (name, attributes) in tags(text) {
            let get = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            match name {
                "resource-agent" => is_metadata = true,
                "parameter" => {
                    let Some(key) = get("name") else { continue };
                    let says = |key| get(key).is_some_and(|value| value == "1" || value == "true");
                    // What is deprecated has a newer name, and that is required.
                    let required = says("required") && !says("deprecated");
                    let parameter = Parameter { required, obsoletes: get("obsoletes") };
                    found.parameters.insert(key.clone(), parameter);
                    inside = Some(key);
                }
                "/parameter" => inside = None,
                "content" if get("default").is_some() => {
                    if let Some(parameter) = inside.as_ref().and_then(|key| found.parameters.get_mut(key)) {
                        parameter.required = false;
                    }
                }
                "action" => found.actions.extend(get("name")),
                _ => {}
            }
        }
        is_metadata.then_some(found)
    }

    /// What does not fit, each in one line that names the option.
    pub(super) fn doubts(&self, device: &FenceConfig) -> Vec<String> {
        let mut doubts = Vec::new();
        let name = &device.name;
        for (key, parameter) in self.parameters.iter().filter(|(_, p)| p.required) {
            let older = parameter.obsoletes.as_ref();
            let given = |key: &String| device.options.contains_key(key) || GIVEN.contains(&key.as_str());
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
        for action in NEEDED.iter().filter(|needed| !self.actions.iter().any(|a| a == *needed)) {
            doubts.push(format!(
                "the agent of the fence device {name} has no action {action}: nothing it does could be confirmed"
            ));
        }
        doubts
    }
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

    use proptest::prelude::*;
    use regent_model::config::FenceAction;

    use super::*;

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
            nodes: Vec::new(),
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

    proptest! {
        #[test]
        fn whatever_an_agent_prints_is_read_without_a_panic(text in "[<>!?\\-\\[\\]/='\" a-e\\n]{0,200}", cut in 0usize..2000) {
            let _ = Metadata::read(&text);
            let cut = (0..=cut.min(IPMI.len())).rev().find(|at| IPMI.is_char_boundary(*at)).unwrap_or(0);
            let _ = Metadata::read(&IPMI[..cut]);
            let _ = Metadata::read(&format!("{}{text}", &IPMI[..cut]));
        }
    }
}
