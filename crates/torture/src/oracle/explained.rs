//! The journal explains what was seen from outside: every node that began to answer for an address or to write on a disk
//! tells of it, every order that was done has left its trace, and what a fence device confirmed has happened.

use std::collections::BTreeSet;

use regent_model::journal::Entry;

use super::{Oracle, Violation, Window};

const S: u64 = 1_000_000_000;
/// A step is told when it is done; what it does is seen before.
const TOLD_WITHIN_NS: u64 = S;
/// What a node told in so long before its power was cut may be lost with it.
const LOST_NS: u64 = 3 * S;
/// A cut that a device confirms lies no further back.
const CUT_NS: u64 = 180 * S;

/// Something that a node was seen to begin, in ns of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) at: u64,
    pub(crate) node: String,
    pub(crate) group: String,
    /// The address, or the file system as the journal names it.
    pub(crate) resource: String,
}

/// An order of an operator that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordered {
    pub(crate) words: Vec<String>,
    pub(crate) window: Window,
}

/// Everything that the journals say, and what may be missing in them.
pub(crate) struct Told<'a> {
    pub(crate) entries: Vec<&'a Entry>,
    /// How far the clock of the entries is before the monotonic one.
    pub(crate) ahead: u64,
    /// When which node lost its power.
    pub(crate) cuts: &'a [(String, u64)],
    /// When which node stood still: it wrote nothing down then.
    pub(crate) stills: &'a [(String, Window)],
    /// When which node was registered at the SAN, or its key was taken away.
    pub(crate) keys: &'a [(String, u64, bool)],
    /// The nodes that could not keep their journal in this round.
    pub(crate) mute: &'a BTreeSet<String>,
}

impl Told<'_> {
    fn at(&self, entry: &Entry) -> u64 {
        entry.at.0.saturating_sub(self.ahead)
    }

    /// Whether a node may have lost what it told of this time.
    fn may_be_lost(&self, node: &str, at: u64) -> bool {
        let lost = |cut: u64| cut + S >= at && cut <= at + LOST_NS + self.stood_still(node, at, cut);
        self.mute.contains(node) || self.cuts.iter().any(|(n, cut)| n == node && lost(*cut))
    }

    /// How long it stood still between these two. Two reasons at once count once.
    fn stood_still(&self, node: &str, from: u64, to: u64) -> u64 {
        let mut windows: Vec<Window> =
            self.stills.iter().filter(|(n, _)| n == node).map(|(_, window)| *window).collect();
        windows.sort_unstable();
        let (mut reached, mut still) = (from, 0);
        for (began, ended) in windows {
            let (began, ended) = (began.max(reached), ended.min(to));
            still += ended.saturating_sub(began);
            reached = reached.max(ended);
        }
        still
    }

    /// The last that a node told of a resource until then: what, and when it was over.
    fn last_of(&self, act: &Act) -> Option<(&Entry, u64)> {
        // The guard tells of what it let go by what it is, not by its name.
        let place = act.resource.strip_prefix("srv-").map(|group| format!("mounted at /srv/{group}"));
        let place = place.unwrap_or_else(|| act.resource.clone());
        let name = act.resource.replace(':', "-");
        let of = |e: &&&Entry| {
            let named = e.resource.as_ref().is_some_and(|r| r.as_str() == name);
            e.node.as_str() == act.node
                && e.group.as_ref().is_some_and(|g| g.as_str() == act.group)
                && (named || e.kind == "let_go" && e.text.contains(&place))
        };
        let begun = |e: &&Entry| {
            let took = e.took.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
            self.at(e).saturating_sub(took)
        };
        let of_it = self.entries.iter().filter(of).filter(|e| begun(e) <= act.at + TOLD_WITHIN_NS);
        of_it.map(|e| (*e, self.at(e))).max_by_key(|(e, at)| (*at, e.number))
    }

    /// The acts that nobody tells of.
    pub(crate) fn acts(&self, acts: &[Act]) -> Vec<Violation> {
        let mut found = Vec::new();
        for act in acts.iter().filter(|a| !self.may_be_lost(&a.node, a.at)) {
            let Act { at, node, group, resource } = act;
            match self.last_of(act) {
                None => found.push(violation(format!(
                    "{group}: {node} acted with {resource} at {at} ns, and no journal tells of it"
                ))),
                Some((entry, down))
                    if ["release", "let_go"].contains(&entry.kind.as_str())
                        && down + TOLD_WITHIN_NS < *at =>
                {
                    found.push(violation(format!(
                        "{group}: {node} acted with {resource} at {at} ns; its journal says that it was down at {down} ns"
                    )));
                }
                Some(_) => {}
            }
        }
        found
    }

    /// Whether the SAN had a node's key at this time, and for longer than telling of it takes.
    fn may_write(&self, node: &str, at: u64) -> bool {
        let until = self.keys.iter().filter(|(n, since, _)| n == node && *since <= at);
        let last = until.max_by_key(|(_, since, _)| *since);
        last.is_some_and(|(_, since, registered)| *registered && since + TOLD_WITHIN_NS < at)
    }

    /// The cuts that a device confirmed and that never happened.
    pub(crate) fn fences(&self, since: u64) -> Vec<Violation> {
        let confirmed = self.entries.iter().filter(|e| e.kind == "fence" && self.at(e) >= since);
        let mut found = Vec::new();
        for entry in confirmed {
            let Some((_, rest)) = entry.text.split_once(" confirms: ") else { continue };
            let at = self.at(entry);
            if let Some(victim) = rest.strip_suffix(" is cut off from its disks")
                && self.may_write(victim, at)
            {
                found.push(violation(format!("`{}` at {at} ns: it was still registered there", entry.text)));
            }
            let Some(victim) = rest.strip_suffix(" is off") else { continue };
            let happened = self.cuts.iter().any(|(n, cut)| n == victim && *cut <= at && at <= *cut + CUT_NS);
            if !happened {
                found.push(violation(format!("`{}` at {at} ns: its power was not cut", entry.text)));
            }
        }
        found
    }

    /// The nodes whose state was put back, and of which nobody said that they have forgotten something.
    pub(crate) fn forgotten(&self, put_back: &[&str], since: u64) -> Vec<Violation> {
        let told = |node: &str| {
            let of = |e: &&&Entry| e.kind == "forgotten" && self.at(e) >= since;
            self.entries.iter().filter(of).any(|e| e.node.as_str() == node || e.text.contains(node))
        };
        let missing = put_back.iter().filter(|node| !told(node));
        missing.map(|n| violation(format!("{n}: its state was put back, and nobody noticed"))).collect()
    }

    /// The orders that left no trace though they were done.
    pub(crate) fn orders(&self, orders: &[Ordered]) -> Vec<Violation> {
        let mut found = Vec::new();
        for order in orders {
            let (from, to) = (order.window.0, order.window.1 + TOLD_WITHIN_NS);
            // Much is told by the leader alone, whoever that was.
            let lossy = !self.mute.is_empty()
                || self.cuts.iter().any(|(_, at)| from <= at + LOST_NS && *at <= to + LOST_NS);
            if !lossy && !self.has_trace(&order.words, (from, to)) {
                let words = order.words.join(" ");
                found.push(violation(format!(
                    "`{words}` was done at {} ns, and no journal shows it",
                    order.window.1
                )));
            }
        }
        found
    }

    fn has_trace(&self, words: &[String], (from, to): Window) -> bool {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let of = |group: &str, e: &Entry| e.group.as_ref().is_some_and(|g| g.as_str() == group);
        let within = |e: &Entry| (from..=to).contains(&self.at(e));
        let any = |fits: &dyn Fn(&Entry) -> bool| self.entries.iter().any(|e| within(e) && fits(e));
        match *words.as_slice() {
            // It may have been there before, or have come and gone meanwhile.
            ["group", "move", group, node] => {
                let all = self.entries.iter().filter(|e| e.kind == "assigned" && of(group, e));
                let mut all: Vec<(u64, &str)> = all.map(|e| (self.at(e), e.node.as_str())).collect();
                all.sort_unstable();
                let before = all.iter().rev().find(|(at, _)| *at <= from).map(|(_, n)| *n);
                before == Some(node) || all.iter().any(|(at, n)| (from..=to).contains(at) && *n == node)
            }
            ["group", "restart", group] => {
                any(&|e| of(group, e) && ["release", "acquire", "assigned"].contains(&e.kind.as_str()))
            }
            ["apply", ..] => any(&|e| e.kind == "config"),
            _ => true,
        }
    }
}

fn violation(text: String) -> Violation {
    Violation::new(Oracle::Journal, text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regent_model::journal::Level;
    use regent_model::{Epoch, GroupName, Moment, NodeName, ResourceName};

    use super::*;

    fn entry(node: &str, at: u64, kind: &str, resource: Option<&str>, text: &str) -> Entry {
        Entry {
            node: NodeName::new(node).unwrap(),
            number: at,
            at: Moment(at * S),
            wall_ms: 0,
            level: Level::Step,
            kind: kind.to_owned(),
            group: Some(GroupName::new("ledger").unwrap()),
            resource: resource.map(|r| ResourceName::new(r).unwrap()),
            epoch: Some(Epoch(1)),
            index: None,
            event: None,
            text: text.into(),
            took: Some(Duration::from_millis(20)),
            evidence: String::new(),
        }
    }

    fn with<T>(entries: &[Entry], cuts: &[(String, u64)], ask: impl Fn(&Told<'_>) -> T) -> T {
        let mute = BTreeSet::new();
        ask(&Told { entries: entries.iter().collect(), ahead: 0, cuts, stills: &[], keys: &[], mute: &mute })
    }

    fn act(node: &str, at: u64) -> Vec<Act> {
        let (group, resource) = ("ledger".to_owned(), "srv-ledger".to_owned());
        vec![Act { at: at * S, node: node.into(), group, resource }]
    }

    #[test]
    fn an_act_that_no_journal_tells_of_is_seen() {
        let told = [entry("a", 10, "acquire", Some("srv-ledger"), "up")];
        assert_eq!(with(&told, &[], |t| t.acts(&act("a", 11))), []);
        assert_eq!(with(&told, &[], |t| t.acts(&act("b", 11))).len(), 1);
        assert_eq!(with(&told, &[], |t| t.acts(&act("a", 5))).len(), 1, "long before");
        let cut = [("b".to_owned(), 12 * S)];
        assert_eq!(with(&told, &cut, |t| t.acts(&act("b", 11))), [], "lost with the power");
        let down = [told[0].clone(), entry("a", 20, "release", Some("srv-ledger"), "down")];
        assert_eq!(with(&down, &[], |t| t.acts(&act("a", 30))).len(), 1, "after it was down");
        let let_go = [entry("a", 11, "let_go", None, "let go of /dev/san0 mounted at /srv/ledger")];
        assert_eq!(with(&let_go, &[], |t| t.acts(&act("a", 11))), [], "in the middle of acquiring");
        assert_eq!(with(&let_go, &[], |t| t.acts(&act("a", 20))).len(), 1);
    }

    #[test]
    fn what_a_node_told_of_just_before_it_stood_still_is_lost_with_a_reset_at_the_end_of_that() {
        let (cuts, mute) = ([("b".to_owned(), 16 * S)], BTreeSet::new());
        let found = |stills: &[(String, Window)]| {
            Told { entries: vec![], ahead: 0, cuts: &cuts, stills, keys: &[], mute: &mute }
                .acts(&act("b", 12))
                .len()
        };
        assert_eq!(found(&[("b".into(), (13 * S, 16 * S))]), 0);
        assert_eq!(found(&[]), 1, "it had four seconds to write it down");
        assert_eq!(found(&[("a".into(), (13 * S, 16 * S))]), 1, "another stood still");
        assert_eq!(found(&[("b".into(), (2 * S, 12 * S))]), 1, "that was before");
        let half = ("b".to_owned(), (13 * S, 13 * S + S / 2));
        assert_eq!(found(&[half.clone(), half]), 1, "half a second, however often it is said");
    }

    #[test]
    fn a_cut_that_was_confirmed_and_never_happened_is_seen() {
        let told = [entry("a", 50, "fence", None, "power confirms: b is off")];
        assert_eq!(with(&told, &[], |t| t.fences(0)).len(), 1);
        assert_eq!(with(&told, &[("b".into(), 49 * S)], |t| t.fences(0)), []);
        assert_eq!(with(&told, &[("c".into(), 49 * S)], |t| t.fences(0)).len(), 1);
    }

    #[test]
    fn a_node_that_was_confirmed_cut_off_and_is_registered_is_seen() {
        let (told, mute) =
            (entry("a", 50, "fence", None, "san confirms: b is cut off from its disks"), BTreeSet::new());
        let found = |keys: &[(String, u64, bool)]| {
            Told { entries: vec![&told], ahead: 0, cuts: &[], stills: &[], keys, mute: &mute }.fences(0).len()
        };
        let registered = ("b".to_owned(), 10 * S, true);
        assert_eq!(found(std::slice::from_ref(&registered)), 1);
        assert_eq!(found(&[registered.clone(), ("b".into(), 49 * S, false)]), 0);
        assert_eq!(found(&[registered, ("b".into(), 49 * S, false), ("b".into(), 60 * S, true)]), 0);
        assert_eq!(found(&[]), 0, "it never was");
    }

    #[test]
    fn a_state_that_was_put_back_unnoticed_is_seen() {
        let told = [entry("b", 50, "forgotten", None, "a has forgotten what it told this node")];
        assert_eq!(with(&told, &[], |t| t.forgotten(&["a"], 40 * S)), []);
        assert_eq!(with(&told, &[], |t| t.forgotten(&["b", "c"], 40 * S)).len(), 1);
        assert_eq!(with(&told, &[], |t| t.forgotten(&["a"], 60 * S)).len(), 1, "long before");
    }

    #[test]
    fn an_order_that_left_no_trace_is_seen() {
        let order = |words: &str| {
            vec![Ordered { words: words.split(' ').map(str::to_owned).collect(), window: (20 * S, 22 * S) }]
        };
        let told = [entry("a", 10, "assigned", None, ""), entry("b", 21, "assigned", None, "")];
        for words in ["group move ledger b", "group move ledger a", "group restart ledger", "node start a"] {
            assert_eq!(with(&told, &[], |t| t.orders(&order(words))), [], "{words}");
        }
        for words in ["group move ledger c", "apply", "group restart front"] {
            assert_eq!(with(&told, &[], |t| t.orders(&order(words))).len(), 1, "{words}");
            let cut = [("a".to_owned(), 21 * S)];
            assert_eq!(with(&told, &cut, |t| t.orders(&order(words))), [], "{words}: may be lost");
        }
    }
}
