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

/// A configuration may come from anywhere: to look at it must run nothing but a fence agent that this machine's
/// administrator installed. Fence agents are called so, as far as the packages of distributions go.
fn may_be_run(agent: &Path) -> Result<(), String> {
    let shown = agent.display();
    let file = agent.canonicalize().map_err(|_| format!("{shown} is not installed on this machine"))?;
    let known = file.metadata().map_err(|error| format!("{shown} cannot be looked at: {error}"))?;
    if !known.is_file() || known.mode() & 0o111 == 0 {
        return Err(format!("{shown} is no program"));
    }
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    if ![&b"fence_"[..], b"fence-"].iter().any(|beginning| name.starts_with(beginning)) {
        return Err(format!("{shown} is not asked: the name of a fence agent begins with fence_"));
    }
    if !file.ancestors().all(is_roots) {
        return Err(format!("{shown} is not asked: others than root may write or replace it"));
    }
    Ok(())
}

/// Whether nobody but root can change what lies here. Where a folder is sticky, others may add to it, and replace nothing.
fn is_roots(place: &Path) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    place.metadata().is_ok_and(|known| {
        let is_sticky = known.is_dir() && known.mode() & STICKY != 0;
        known.uid() == 0 && (known.mode() & OTHERS_WRITE == 0 || is_sticky)
    })
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
        let agent = folder.join("fence_test");
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
        assert_eq!(std::fs::read_to_string(folder.join("fence_test.heard")).unwrap(), "action=metadata\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_agent_that_others_may_write_is_not_run_and_one_that_is_not_there_is_told() {
        let folder = new_folder();
        let text = about(&with_agent(&folder, SAYS, 0o777)).text();
        assert!(
            text.contains("bmc: not known") && text.contains("others than root may write or replace it"),
            "{text}"
        );
        assert!(!folder.join("fence_test.heard").exists(), "it was run");
        let config = with_agent(&folder, SAYS, 0o755);
        std::fs::remove_file(folder.join("fence_test")).unwrap();
        let text = about(&config).text();
        assert!(text.contains("is not installed on this machine"), "{text}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_fence_agent_is_not_run_and_neither_is_one_in_a_folder_of_others() {
        let folder = new_folder();
        let config = with_agent(&folder, SAYS, 0o755);
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(about(&config).text().contains("others than root may write or replace it"));
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();

        let other = folder.join("poweroff");
        std::fs::rename(folder.join("fence_test"), &other).unwrap();
        std::os::unix::fs::symlink(&other, folder.join("fence_test")).unwrap();
        let text = about(&config).text();
        assert!(text.contains("the name of a fence agent begins with fence_"), "{text}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "it was run");
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
