//! What the command line asks.

use regent_api::{Answer, GroupVerb, NodeVerb, Request, node_name};
use regent_model::config;
use regent_model::ids::{GroupName, NodeId};
use regent_model::state::{Change, Command, NewConfig, NodeMode, Phase};

use crate::bounds;
use crate::concurrent::Meant;
use crate::config_lock::Terms;
use crate::engine::Engine;
use crate::io::RequestId;
use crate::joining::Newcomer;
use crate::proposals::Waiting;

impl Engine {
    pub(crate) fn request(&mut self, id: RequestId, request: Request) {
        if let Some(refusal) = bounds::too_large(&request) {
            self.out.answer.push((id, refusal));
            return;
        }
        let answer = match request {
            Request::Status => Some(Answer::Status(Box::new(self.status()))),
            Request::Events { after, limit } => {
                let (entries, last) = self.chronicle.after(after, limit);
                Some(Answer::Events { entries, last })
            }
            Request::Config => Some(Answer::Config {
                text: self.state.config_text.clone(),
                serial: self.state.config_serial,
            }),
            Request::Simulate { lose, networks, config } => Some(self.simulate(id, &lose, &networks, config)),
            Request::Apply { text, dry_run } => self.apply_config(id, text, dry_run, Terms::default()),
            Request::ApplyLater { text, dry_run } => {
                let terms = Terms { later: true, ..Terms::default() };
                self.apply_config(id, text, dry_run, terms)
            }
            Request::Change { text, serial, lock, disabled, later } => {
                let terms = Terms { lock, later, ..Terms::default() };
                self.change_config(id, text, serial, terms, &disabled)
            }
            Request::LockConfig { lock, over } => self.lock_config(id, lock, over),
            Request::Environment { group, .. } => Some(match self.known_group(&group) {
                Ok(name) => self.environment_asked(&name),
                Err(refusal) => refusal,
            }),
            Request::Application { group, application, verb } => {
                self.application_request(id, &group, &application, verb)
            }
            Request::Instances => Some(Answer::Instances(Box::new(self.registry()))),
            Request::Instance { name, verb, words } => self.instance_request(id, &name, verb, words),
            Request::Group { group, verb } => self.group_request(id, &group, verb),
            Request::Remove { node, step } => self.remove_request(id, &node, step),
            Request::Node { node, verb } => self.node_request(id, node.as_deref(), verb),
            Request::EventQueue => Some(self.event_queue()),
            Request::ResumeEvents { node } => self.resume_request(id, node.as_deref()),
            Request::ConfirmDead { node, who, why, minutes } => {
                self.confirm_dead(id, &node, (who, why), minutes)
            }
            Request::FenceByHand { node, act, who, ended } => {
                Some(self.fenced_by_hand(&node, act, &who, ended))
            }
            Request::Join { name, addresses, witness, showing } => {
                self.join(id, &Newcomer { name, addresses, witness, showing })
            }
            Request::Invite { id: ticket, ticket: what } => self.invite(id, ticket, what),
            Request::Tokens => Some(self.tokens()),
            Request::Access => {
                Some(Answer::refused("who asks is known at the door, not to the engine", "regent access"))
            }
            Request::RevokeToken { id: ticket } => self.revoke_token(id, &ticket),
            Request::Key(verb) => self.key_request(id, verb),
            Request::Nodes(_) => Some(Answer::refused(
                "nodes are asked by the daemon, not by the engine",
                "regent verify --nodes",
            )),
            Request::MakeArea { .. } => Some(Answer::refused(
                "disks are written to by the daemon, not by the engine",
                "regent arbiter init DISK",
            )),
            Request::Token { .. } => {
                Some(Answer::refused("tokens are made by the daemon, not by the engine", "regent token"))
            }
        };
        if let Some(answer) = answer {
            self.out.answer.push((id, answer));
        }
    }

    fn group_request(&mut self, id: RequestId, group: &str, verb: GroupVerb) -> Option<Answer> {
        let name = match self.meant_group(group) {
            Ok(Meant::One(name)) => name,
            Ok(Meant::Every(names)) => return self.group_everywhere(id, group, names, verb),
            Err(answer) => return Some(answer),
        };
        let (command, words) = match verb {
            GroupVerb::Enable => (Command::Enable(name.clone()), format!("{name} is enabled")),
            GroupVerb::Disable => (Command::Disable(name.clone()), format!("{name} is disabled")),
            GroupVerb::Restart if self.state.groups.get(&name).is_some_and(|g| !g.enabled) => {
                let stuck = self.state.ownership(&name).is_some_and(|o| matches!(o.phase, Phase::Stuck(_)));
                if !stuck {
                    let reason = format!("{name} is disabled: there is nothing to restart");
                    return Some(Answer::refused(reason, format!("regent group enable {name}")));
                }
                (Command::Restart(name.clone()), format!("{name} is being taken down once more"))
            }
            GroupVerb::Restart => (Command::Restart(name.clone()), format!("{name} is being restarted")),
            GroupVerb::Hold { who, why } => {
                let words = format!(
                    "{name} is held: nothing is done with it by itself, also when its node is lost, until: \
                     regent group resume {name}"
                );
                (Command::Hold { group: name.clone(), who, why, since_ms: self.wall_ms }, words)
            }
            GroupVerb::Resume => (Command::Resume(name.clone()), format!("{name} is looked after again")),
            GroupVerb::Restore => {
                (Command::Restore(name.clone()), format!("its list decides again where {name} runs"))
            }
            GroupVerb::Move { to } => {
                let node = match self.known_node(&to) {
                    Ok(node) => node,
                    Err(answer) => return Some(answer),
                };
                if let Some(refusal) = self.cannot_move(&name, node) {
                    return Some(refusal);
                }
                let words = format!("{name} is to run on {to}{}", self.reboot_words(&name, node));
                (Command::Move { group: name.clone(), to: node }, words)
            }
        };
        self.propose_for(command, Waiting::Request(id, words));
        None
    }

    /// Why a group cannot be moved to a node now, if it cannot.
    fn cannot_move(&self, name: &GroupName, node: NodeId) -> Option<Answer> {
        if name.node().is_some() {
            let advice = format!("regent group disable {name} takes it down there");
            return Some(Answer::refused(format!("{name} belongs to its node and cannot move"), advice));
        }
        let to = self.state.name_of(node);
        let listed = self.state.config.group(name).is_some_and(|g| g.nodes.iter().any(|n| n.as_str() == to));
        if !listed {
            let advice = format!("add {to} to its nodes in the configuration, then: regent apply FILE");
            return Some(Answer::refused(format!("{to} is not in the node list of {name}"), advice));
        }
        if let Some(group) = self.state.groups.get(name).filter(|g| !g.enabled) {
            let advice = format!("regent group enable {name}, then move it");
            return Some(Answer::refused(format!("{name} is disabled (epoch {})", group.epoch), advice));
        }
        let placement = regent_planner::place(&self.state, &self.view(), name);
        if let Some(ownership) = self.state.ownership(name) {
            if ownership.owner.node == node && placement.intent == regent_planner::Intent::Stay {
                return Some(Answer::Done(format!("{name} runs on {to} already")));
            }
            if let regent_planner::Intent::Blocked { reason, advice } = placement.intent {
                return Some(Answer::refused(format!("{name} cannot move: {reason}"), advice));
            }
        }
        let verdict = placement.candidates.iter().find(|(n, _)| n.as_str() == to).map(|(_, v)| v);
        match verdict {
            Some(regent_planner::Verdict::Unfit(
                why @ (regent_planner::Why::Down
                | regent_planner::Why::NoMember
                | regent_planner::Why::Silent
                | regent_planner::Why::Standby
                | regent_planner::Why::Stopping(_)
                | regent_planner::Why::NotWith(_)
                | regent_planner::Why::ApartFrom(_)
                | regent_planner::Why::ClientsDown(_)),
            )) => Some(Answer::refused(format!("{name} cannot move to {to}: it {why}"), "regent status")),
            _ => None,
        }
    }

    fn node_request(&mut self, id: RequestId, node: Option<&str>, verb: NodeVerb) -> Option<Answer> {
        let node = match node.map_or(Ok(self.me.id), |name| self.known_node(name)) {
            Ok(node) => node,
            Err(answer) => return Some(answer),
        };
        let name = self.state.name_of(node);
        if self.state.living(node).is_none() {
            let advice = format!("on {name}: regent node start");
            return Some(Answer::refused(format!("{name} is not up"), advice));
        }
        let wants_it = matches!(verb, NodeVerb::Start | NodeVerb::Standby);
        if wants_it && self.state.leaving.contains_key(&node) {
            let reason = format!("{name} is being removed");
            return Some(Answer::refused(reason, format!("to keep it: regent node remove {name} --undo")));
        }
        let (mode, words) = match verb {
            NodeVerb::Start => (NodeMode::Active, format!("{name} may own groups")),
            NodeVerb::Standby => (NodeMode::Standby, format!("{name} is on standby")),
            NodeVerb::Stop(mode) => (NodeMode::Stopping(mode), format!("{name} stops ({})", mode.word())),
        };
        let witness = self.state.members.get(&node).is_some_and(|m| m.witness);
        if witness && !matches!(verb, NodeVerb::Stop(_)) {
            return Some(Answer::refused(
                format!("{name} is a witness: it owns nothing in any case"),
                "regent status",
            ));
        }
        self.propose_for(Command::SetMode { node, mode }, Waiting::Request(id, words));
        None
    }

    pub(crate) fn apply_config(
        &mut self,
        id: RequestId,
        text: String,
        dry_run: bool,
        terms: Terms,
    ) -> Option<Answer> {
        let now = self.local_time();
        let parsed = config::parse(&text);
        let error = |f: &config::Finding| format!("line {}: {}", f.line_and_column(&text).0, f.message);
        let errors: Vec<String> = parsed.errors().map(error).collect();
        let Some(config) = parsed.config else {
            return Some(Answer::refused(errors.join("\n"), "regent verify FILE"));
        };
        if config.cluster != self.state.config.cluster {
            let reason = format!("this is the cluster {}, not {}", self.state.config.cluster, config.cluster);
            return Some(Answer::refused(reason, "give cluster.name the name of this cluster"));
        }
        if config.port != self.state.config.port {
            let reason =
                format!("the port is {}, and cannot change while the cluster runs", self.state.config.port);
            return Some(Answer::refused(reason, "leave cluster.port as it is"));
        }
        let names = || config.nodes.iter().chain(&config.witnesses).map(|n| &n.name);
        if let Some(stranger) = names().find(|name| self.state.id_of(name).is_none()) {
            let advice = format!("on {stranger}: regent join TOKEN (a token: regent token)");
            return Some(Answer::refused(format!("{stranger} has not joined this cluster"), advice));
        }
        if let Some(gone) = self.state.members.values().find(|m| names().all(|n| n != &m.name)) {
            let reason = format!("{} is a member, and the file does not name it", gone.name);
            let advice = format!(
                "add its [[node]] or [[witness]] again; or remove it, which takes it out: regent node remove {}",
                gone.name
            );
            return Some(Answer::refused(reason, advice));
        }
        if let Err(why) = self.state.keeps_what_is_held(&config, terms.later) {
            let first = why.split_once("first: ").and_then(|(_, next)| next.split(';').next());
            let advice = first.unwrap_or("regent status").to_owned();
            return Some(Answer::refused(why, advice));
        }
        if text == self.state.config_text {
            return Some(Answer::Done("nothing changes: this configuration is in force".to_owned()));
        }
        if dry_run {
            return Some(Answer::Plan(self.state.effects_of(&config, terms.later)));
        }
        let past_dates = now.map(|now| config::past_dates(&config, now)).unwrap_or_default();
        let past: Vec<&str> = past_dates.iter().map(GroupName::as_str).collect();
        let remark = match past.as_slice() {
            [] => String::new(),
            names => format!("; the date of failback is past, they go back at once: {}", names.join(", ")),
        };
        let past_dates = past_dates.iter().cloned().collect();
        let meanwhile = self.told_of_the_lock(terms.lock.as_deref());
        let new = NewConfig {
            lock: terms.lock,
            disabled: terms.disabled,
            later: terms.later,
            ..NewConfig::replacing(self.state.config_serial, text, config, past_dates)
        };
        let words = format!("configuration {} is in force{remark}{meanwhile}", new.replaces + 1);
        self.propose_for(Command::SetConfig(Box::new(new)), Waiting::Request(id, words));
        None
    }

    pub(crate) fn known_node(&self, text: &str) -> Result<NodeId, Answer> {
        let name = node_name(text)?;
        self.state.id_of(&name).ok_or_else(|| {
            let known: Vec<&str> = self.state.members.values().map(|m| m.name.as_str()).collect();
            Answer::refused(
                format!("there is no node {name}"),
                format!("the nodes are: {}", known.join(", ")),
            )
        })
    }

    /// What somebody waited for was applied.
    pub(crate) fn answer_applied(&mut self, waiting: Waiting, changes: &[Change]) {
        let void =
            changes.iter().find_map(|c| if let Change::Void(why) = c { Some(why.clone()) } else { None });
        let refused = |why: String| Answer::refused(why, "regent status");
        match waiting {
            Waiting::Nobody => {}
            Waiting::Request(id, words) => {
                let words = crate::keys::what_came_of_it(changes).unwrap_or(words);
                self.out.answer.push((id, void.map_or(Answer::Done(words), refused)));
            }
            Waiting::Admitted(id, newcomer) => self.answer_admitted(id, &newcomer, void),
            Waiting::Joining(id, new) => match void {
                Some(why) => self.out.answer.push((id, refused(why))),
                None => {
                    let (number, member) = *new;
                    self.propose_for(Command::AddMember { id: number, member }, Waiting::Joined(id, number));
                }
            },
            Waiting::Joined(id, number) => {
                let config = self.state.config_text.clone();
                let answer = void.map_or(Answer::Joined { id: number.0, config }, refused);
                self.out.answer.push((id, answer));
            }
        }
    }

    /// What somebody waited for was not applied in time.
    pub(crate) fn answer_no_majority(&mut self, waiting: Waiting) {
        let Some(id) = waiting.asked() else { return };
        let voters = self.consensus.voters().len();
        let reason = format!(
            "no majority of the {voters} voters answered: nothing was changed, as far as this node can tell"
        );
        self.out.answer.push((id, Answer::refused(reason, "regent status shows which nodes are silent")));
    }
}
