//! What the fence agents that are installed on this machine say about themselves, held against a configuration.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use regent_model::config::{Config, FenceConfig};
use serde_json::{Value, json};

use super::agent;

/// Whether, and what, an agent said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    /// What does not fit the device's configuration, and what is deprecated.
    Said(Vec<String>, Vec<String>),
    /// It was not asked, or has said nothing; why.
    Nothing(String),
}

/// What was heard about each device.
pub struct About(Vec<(String, Heard)>);

/// Asks the agent of every device about itself. Nothing is asked about a node, and no option is given.
#[must_use]
pub fn about(config: &Config) -> About {
    About(config.fences.iter().map(|device| (device.name.clone(), heard(device))).collect())
}

fn heard(device: &FenceConfig) -> Heard {
    if let Err(why) = may_be_run(&device.agent) {
        return Heard::Nothing(why);
    }
    match agent::metadata(device) {
        Some(said) => Heard::Said(said.doubts(device), said.remarks(device)),
        None => Heard::Nothing(format!("{} says nothing about itself", device.agent.display())),
    }
}

/// A configuration may come from anywhere: to look at it must run nothing that this machine's administrator did not
/// install.
fn may_be_run(agent: &Path) -> Result<(), String> {
    let shown = agent.display();
    let file = std::fs::metadata(agent).map_err(|_| format!("{shown} is not installed on this machine"))?;
    let is_program = file.is_file() && file.mode() & 0o111 != 0;
    let trusted = file.uid() == 0 && file.mode() & 0o022 == 0;
    match (is_program, trusted) {
        (false, _) => Err(format!("{shown} is no program")),
        (true, false) => Err(format!("{shown} is not asked: others than root may write it")),
        (true, true) => Ok(()),
    }
}

impl About {
    /// For a person; empty where there is no device.
    #[must_use]
    pub fn text(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut lines = vec!["\nwhat fence agents say about themselves on this machine".to_owned()];
        for (name, heard) in &self.0 {
            match heard {
                Heard::Nothing(why) => lines.push(format!("  {name}: not known: {why}")),
                Heard::Said(doubts, remarks) if doubts.is_empty() && remarks.is_empty() => {
                    lines.push(format!("  {name}: the agent knows every option, off and status"));
                }
                Heard::Said(doubts, remarks) => {
                    lines.extend(doubts.iter().map(|doubt| format!("  warning: {doubt}")));
                    lines.extend(remarks.iter().map(|remark| format!("  note: {remark}")));
                }
            }
        }
        let text = lines.join("\n") + "\n";
        text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let one = |(name, heard): &(String, Heard)| match heard {
            Heard::Nothing(why) => json!({ "device": name, "known": false, "why": why }),
            Heard::Said(doubts, remarks) => {
                json!({ "device": name, "known": true, "warnings": doubts, "notes": remarks })
            }
        };
        self.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A configuration with one device, whose agent does this when it is run.
    fn with_agent(folder: &Path, does: &str, mode: u32) -> Config {
        let agent = folder.join("agent");
        std::fs::write(&agent, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(&agent, PermissionsExt::from_mode(mode)).unwrap();
        let text = format!(
            "[cluster]\nname = \"w\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.0.0.4\"]\n[[fence]]\nname = \"bmc\"\n\
             agent = \"{}\"\nnodes = [\"lx4\"]\noptions = {{ ipaddr = \"1\", pasword = \"geheim\" }}\n",
            agent.display()
        );
        regent_model::config::parse(&text).config.unwrap()
    }

    const SAYS: &str = r#"cat > "$0.heard"; echo '<resource-agent><parameter name="ip" required="1" obsoletes="ipaddr"/>
<parameter name="ipaddr" deprecated="1"/><action name="off"/><action name="status"/></resource-agent>'"#;

    #[test]
    fn what_does_not_fit_and_what_is_deprecated_is_told_and_no_option_is_given() {
        let folder = new_folder();
        let said = about(&with_agent(&folder, SAYS, 0o755));
        let text = said.text();
        assert!(
            text.contains("warning: the agent of the fence device bmc knows no option pasword"),
            "{text}"
        );
        assert!(text.contains("note: the option ipaddr") && text.contains("write ip instead"), "{text}");
        assert_eq!(said.json()[0]["notes"].as_array().unwrap().len(), 1);
        assert_eq!(std::fs::read_to_string(folder.join("agent.heard")).unwrap(), "action=metadata\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_agent_that_others_may_write_is_not_run_and_one_that_is_not_there_is_told() {
        let folder = new_folder();
        let text = about(&with_agent(&folder, SAYS, 0o777)).text();
        assert!(text.contains("bmc: not known") && text.contains("others than root may write it"), "{text}");
        assert!(!folder.join("agent.heard").exists(), "it was run");
        let config = with_agent(&folder, SAYS, 0o755);
        std::fs::remove_file(folder.join("agent")).unwrap();
        let text = about(&config).text();
        assert!(text.contains("is not installed on this machine"), "{text}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn new_folder() -> std::path::PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("regent-about-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
