//! LVM's commands, and what they print.

use std::path::Path;

use regent_model::action::Failure;

use super::{Volume, command_failed};
use crate::cgroup::Folder;
use crate::command::{self, Command, Ended, Program};
use crate::hands::failure;

/// Commands that only look, or only take away, run under this folder. No group can have its name.
const FOLDER: &str = ".volume";
/// What volumes have in their first attribute that the kernel does not write by itself.
pub(super) const PLAIN: char = '-';
/// A longer answer may have lost its beginning.
const BYTES_MAX: usize = 200_000;
const SEPARATOR: char = '|';

/// A volume group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VolumeGroup {
    pub(super) exported: bool,
    /// Disks of it are missing.
    pub(super) partial: bool,
    /// LVM's own lock daemons see to it.
    pub(super) shared: bool,
    pub(super) tags: Vec<String>,
}

/// Whether a logical volume is active on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Active,
    Inactive,
    /// Suspended, without a table, unknown: the letter says.
    Other(char),
}

/// A logical volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Logical {
    pub(super) name: String,
    /// Its first attribute: [`PLAIN`], or what it is.
    pub(super) kind: char,
    pub(super) state: State,
    /// Disks of it are missing.
    pub(super) partial: bool,
}

/// A command that ended, with everything it printed.
pub(super) struct Answer {
    pub(super) ended: Ended,
    pub(super) text: String,
}

/// The volume group, if LVM sees it on this node.
pub(super) fn volume_group(volume: &Volume<'_>) -> Result<Option<VolumeGroup>, Failure> {
    let vg = volume.config.vg.as_str();
    let answer = look(volume, "vgs", &["-o", "vg_name,vg_uuid,vg_attr,vg_tags", vg])?;
    if !answer.ended.is_success() {
        let no_row = !answer.text.contains(SEPARATOR);
        if answer.ended.code().is_some()
            && no_row
            && answer.text.contains(&format!("Volume group \"{vg}\" not found"))
        {
            return Ok(None);
        }
        return Err(command_failed(&format!("vgs {vg}"), &answer));
    }
    let wrong =
        |why: String| failure(format!("vgs {vg} answered what is not understood: {why}"), &*answer.text);
    parse_group(&answer.text, vg).map(Some).map_err(wrong)
}

/// The logical volumes of the volume group.
pub(super) fn logical_volumes(volume: &Volume<'_>) -> Result<Vec<Logical>, Failure> {
    let vg = volume.config.vg.as_str();
    let answer = look(volume, "lvs", &["-o", "vg_name,lv_name,lv_attr", vg])?;
    if !answer.ended.is_success() {
        return Err(command_failed(&format!("lvs {vg}"), &answer));
    }
    let wrong =
        |why: String| failure(format!("lvs {vg} answered what is not understood: {why}"), &*answer.text);
    parse_volumes(&answer.text, vg).map_err(wrong)
}

fn look(volume: &Volume<'_>, program: &str, arguments: &[&str]) -> Result<Answer, Failure> {
    let mut all = vec!["--noheadings", "--separator", "|"];
    all.extend(arguments);
    let folder = own_folder(volume)?;
    run(volume, &folder, program, &all)
}

/// The control group for what needs no lease.
pub(super) fn own_folder(volume: &Volume<'_>) -> Result<Folder, Failure> {
    Folder::create(&volume.context.inner.cgroups.join(FOLDER)).map_err(Failure::because)
}

/// Runs a command of LVM's in a folder.
pub(super) fn run(
    volume: &Volume<'_>,
    folder: &Folder,
    program: &str,
    arguments: &[&str],
) -> Result<Answer, Failure> {
    let context = volume.context;
    let mut environment = context.run.environment.clone();
    environment.push(("LVM_SUPPRESS_FD_WARNINGS".into(), "1".into()));
    let command = Command {
        program: Program::File(Path::new(program), arguments),
        environment: &environment,
        user: None,
        input: None,
        hung: rustix::process::Signal::KILL,
    };
    // A check and a release may be under way at once: each operation has a file of its own.
    let output = context.inner.run_dir.join("output").join(context.run.group.as_str());
    let output =
        output.join(volume.config.name.as_str()).join(format!("{program}-{}", context.run.op.word()));
    // An answer of an earlier time must not be taken for this one's.
    let _ = std::fs::remove_file(&output);
    context.job.now_doing(&format!("running {program} {}", volume.config.id()));
    let finished = command::run(&command, folder, &output, context.job.soft_deadline(), context.job)
        .map_err(|e| Failure::because(format!("{e}; volumes need LVM: install lvm2 on every node")))?;
    let text = std::fs::read(&output).map_err(|e| {
        Failure::because(format!("the answer of {program} is lost: {}: {e}", output.display()))
    })?;
    if text.len() > BYTES_MAX {
        return Err(Failure::because(format!("{program} printed {} bytes, which is too much", text.len())));
    }
    Ok(Answer { ended: finished.ended, text: String::from_utf8_lossy(&text).into_owned() })
}

/// The rows of a report, each with `N` fields, the first the volume group's name. Lines without a separator are
/// remarks.
fn rows<'t, const N: usize>(text: &'t str, vg: &str) -> Result<Vec<[&'t str; N]>, String> {
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.contains(SEPARATOR)) {
        let fields: Vec<&str> = line.split(SEPARATOR).map(str::trim).collect();
        let count = fields.len();
        let row: [&str; N] =
            fields.try_into().map_err(|_| format!("{count} fields and not {N} in `{}`", line.trim()))?;
        if row[0] != vg {
            return Err(format!("a row about another volume group: `{}`", line.trim()));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn letter(attributes: &str, at: usize) -> Result<char, String> {
    attributes.chars().nth(at).ok_or_else(|| format!("the attributes `{attributes}` are too short"))
}

fn parse_group(text: &str, vg: &str) -> Result<VolumeGroup, String> {
    let rows = rows::<4>(text, vg)?;
    let [[_, _, attributes, tags]] = rows[..] else {
        return Err(match rows.len() {
            0 => "no row".into(),
            _ => {
                let uuids: Vec<&str> = rows.iter().map(|row| row[1]).collect();
                format!(
                    "{} volume groups have this name: {}; rename all but one",
                    rows.len(),
                    uuids.join(", ")
                )
            }
        });
    };
    Ok(VolumeGroup {
        exported: letter(attributes, 2)? == 'x',
        partial: letter(attributes, 3)? == 'p',
        shared: matches!(letter(attributes, 5)?, 's' | 'c'),
        tags: tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
    })
}

fn parse_volumes(text: &str, vg: &str) -> Result<Vec<Logical>, String> {
    let one = |[_, name, attributes]: [&str; 3]| {
        Ok(Logical {
            name: name.to_owned(),
            kind: letter(attributes, 0)?,
            state: match letter(attributes, 4)? {
                'a' => State::Active,
                '-' => State::Inactive,
                other => State::Other(other),
            },
            partial: letter(attributes, 8)? == 'p',
        })
    };
    rows::<3>(text, vg)?.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "YJGSAK-Nrl0-c2nP";

    #[test]
    fn a_volume_group_is_read_with_its_tags_past_remarks() {
        let text = format!("  WARNING: one thing.\n  datavg|{UUID}|wz--n-|regent_lx4,backup\n");
        let group = parse_group(&text, "datavg").unwrap();
        assert_eq!(group.tags, ["regent_lx4", "backup"]);
        assert!(!group.exported && !group.partial && !group.shared);
        let attributes = |a: &str| parse_group(&format!("  datavg|{UUID}|{a}|\n"), "datavg");
        assert!(attributes("wzx-n-").unwrap().exported);
        assert!(attributes("wz-pn-").unwrap().partial);
        assert!(attributes("wz--ns").unwrap().shared && attributes("wz--nc").unwrap().shared);
        assert_eq!(attributes("wz--n-").unwrap().tags, [""; 0]);
        assert!(attributes("wz").unwrap_err().contains("too short"));
    }

    #[test]
    fn what_is_not_an_answer_is_said_and_two_groups_of_one_name_are_told_apart() {
        let wrong = |text: &str| parse_group(text, "datavg").unwrap_err();
        assert!(wrong("").contains("no row"));
        assert!(wrong("  datavg|x|wz--n-\n").contains("3 fields and not 4"));
        assert!(wrong("  other|x|wz--n-|\n").contains("another volume group"));
        let two = wrong("  datavg|aaa|wz--n-|\n  datavg|bbb|wz--n-|\n");
        assert!(two.contains("2 volume groups") && two.contains("aaa, bbb"), "{two}");
    }

    #[test]
    fn logical_volumes_are_read_by_their_attributes() {
        let text = "  datavg|data|-wi-ao----\n  datavg|log|-wi-------\n  datavg|m|rwi-a-r-p-\n  datavg|s|-wi-s-----\n";
        let all = parse_volumes(text, "datavg").unwrap();
        let states: Vec<State> = all.iter().map(|lv| lv.state).collect();
        assert_eq!(states, [State::Active, State::Inactive, State::Active, State::Other('s')]);
        assert!(all[2].partial && all[2].kind == 'r' && all[0].kind == PLAIN);
        assert_eq!(parse_volumes("", "datavg").unwrap(), []);
        assert!(parse_volumes("  datavg|x|-wi-\n", "datavg").unwrap_err().contains("too short"));
    }
}
