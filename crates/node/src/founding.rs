//! With what a node's state begins: the file that `init`, `join` and the lab write.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regent_guard::{durable, release};
use regent_model::NodeId;
use regent_model::config::{self, Config};
use regent_model::format::Format;
use regent_model::state::{Member, State};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, NodeError, Result};

/// The beginning of a node's state. A founder knows the members and voters of the new cluster; a node that joins
/// knows the configuration alone, and is told the rest by the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// The configuration's text.
    pub config: String,
    /// The first members; none on a node that joins.
    pub members: Vec<FoundingMember>,
    /// Who of them votes.
    pub voters: Vec<NodeId>,
    /// The newest format of the release that wrote it: that of the first state. A file that names none is of the first.
    #[serde(default = "first")]
    pub format: Format,
}

fn first() -> Format {
    1
}

/// One of the first members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundingMember {
    /// Its number.
    pub id: NodeId,
    /// Who.
    #[serde(flatten)]
    pub member: Member,
}

impl Founding {
    /// What a node that joins begins with.
    #[must_use]
    pub fn of_newcomer(config: String) -> Self {
        Self { config, members: Vec::new(), voters: Vec::new(), format: release::speaks().newest }
    }

    /// What all founders begin with: every node and witness of the configuration is a member and votes. The numbers
    /// are given in the order of the file, nodes first, from 1.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn of_founders(config: String) -> Result<Self> {
        let parsed = parse(&config)?;
        let mut members = Vec::new();
        for (names, witness) in [(&parsed.nodes, false), (&parsed.witnesses, true)] {
            for node in names {
                let id = NodeId(members.len() as u64 + 1);
                let member = Member { name: node.name.clone(), witness, votes: true };
                members.push(FoundingMember { id, member });
            }
        }
        let voters = members.iter().map(|m| m.id).collect();
        Ok(Self { config, members, voters, format: release::speaks().newest })
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the file is not there, or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).doing(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| {
            NodeError::new(format!("{} is damaged: {error}", path.display()))
                .next(durable::begin_anew(path.parent().unwrap_or(Path::new("."))))
        })
    }

    /// Writes it, durably.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).doing(|| format!("write {}", path.display()))?;
        durable::replace(path, &text, 0o600).doing(|| format!("write {}", path.display()))
    }

    /// The replicated state that it stands for, and who votes in it.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn state(&self) -> Result<(State, BTreeSet<NodeId>)> {
        let config = parse(&self.config)?;
        let members: BTreeMap<_, _> = self.members.iter().map(|m| (m.id, m.member.clone())).collect();
        let state = State::founded(config, self.config.clone(), members).founded_in(self.format);
        Ok((state, self.voters.iter().copied().collect()))
    }
}

/// The configuration with this text.
///
/// # Errors
/// When it is not valid: every error with its line.
pub(crate) fn parse(text: &str) -> Result<Config> {
    let parsed = config::parse(text);
    let errors = parsed.errors();
    let lines: Vec<String> =
        errors.map(|f| format!("line {}: {}", f.line_and_column(text).0, f.message)).collect();
    parsed.config.ok_or_else(|| {
        NodeError::new(format!("the configuration is not valid: {}", lines.join("; ")))
            .next("regent verify FILE")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_later_release_begins_with_the_format_that_the_founders_had() {
        let folder = Folder::new("founding-format");
        let path = folder.path().join("founding.json");
        let mut founding = Founding::of_founders(CONFIG.to_owned()).unwrap();
        assert_eq!(founding.format, release::speaks().newest);
        founding.format = 7;
        founding.write(&path).unwrap();
        let (state, _) = Founding::read(&path).unwrap().state().unwrap();
        assert!(state.format == 7 && state.speaks.len() == 3 && state.speaks.values().all(|f| *f == 7));
        let text = fs::read_to_string(&path).unwrap().replace("\"format\"", "\"of no meaning\"");
        fs::write(&path, text).unwrap();
        assert_eq!(Founding::read(&path).unwrap().format, 1, "the first files named none");
    }

    const CONFIG: &str = "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n\
                          [[node]]\nname = \"b\"\naddresses = [\"10.0.0.2\"]\n\
                          [[witness]]\nname = \"c\"\naddresses = [\"10.0.0.3\"]\n";

    #[test]
    fn founders_are_numbered_in_the_order_of_the_file_and_all_vote() {
        let founding = Founding::of_founders(CONFIG.to_owned()).unwrap();
        let (state, voters) = founding.state().unwrap();
        assert_eq!(voters, BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]));
        assert_eq!(state.name_of(NodeId(2)), "b");
        assert!(state.members[&NodeId(3)].witness && !state.members[&NodeId(1)].witness);
    }

    #[test]
    fn it_reads_what_it_wrote_and_a_newcomer_knows_nobody() {
        let folder = Folder::new("founding");
        let path = folder.path().join("founding.json");
        let founding = Founding::of_founders(CONFIG.to_owned()).unwrap();
        founding.write(&path).unwrap();
        assert_eq!(Founding::read(&path).unwrap(), founding);
        let (state, voters) = Founding::of_newcomer(CONFIG.to_owned()).state().unwrap();
        assert!(state.members.is_empty() && voters.is_empty());
    }

    #[test]
    fn an_invalid_configuration_and_a_damaged_file_are_told_with_what_to_type() {
        let folder = Folder::new("founding-bad");
        let error = Founding::of_founders("[cluster]\nnaem = \"w\"\n".to_owned()).unwrap_err();
        assert!(error.what.contains("line 2") && error.next.is_some(), "{error}");
        let path = folder.path().join("founding.json");
        fs::write(&path, "{\"config\": \"").unwrap();
        let error = Founding::read(&path).unwrap_err();
        assert!(error.what.contains("damaged") && error.next.is_some(), "{error}");
    }
}
