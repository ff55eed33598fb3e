//! How large what a request brings may be: what is kept in the log and shown to everybody, and what takes the engine's
//! time to read.

use regent_api::{Answer, GroupVerb, InstanceVerb, RemoveStep, Request};

/// Characters of who ordered something, and of why.
const WORDS_MAX: usize = 1000;
/// Bytes of a configuration: reading it must not keep the engine from its leases.
const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Why this request is not looked at, if it is too large.
pub(crate) fn too_large(request: &Request) -> Option<Answer> {
    let words: &[(&str, &String)] = match request {
        Request::Apply { text, .. }
        | Request::ApplyLater { text, .. }
        | Request::Change { text, .. }
        | Request::Remove { step: RemoveStep::Finish { text, .. }, .. }
        | Request::Simulate { config: Some(text), .. } => return config_too_large(text),
        Request::Group { verb: GroupVerb::Hold { who, why }, .. } | Request::ConfirmDead { who, why, .. } => {
            &[("who orders it", who), ("the reason", why)]
        }
        Request::Remove { step: RemoveStep::Leave { who, .. }, .. } => &[("who orders it", who)],
        Request::FenceByHand { who, ended, .. } => match ended {
            None => &[("who does it", who)],
            Some(end) => &[("who does it", who), ("how it ended", &end.words)],
        },
        Request::Instance { verb: InstanceVerb::Version { version, who }, .. } => {
            &[("who orders it", who), ("the version", version)]
        }
        _ => return None,
    };
    let (what, text) = words.iter().find(|(_, text)| text.chars().count() > WORDS_MAX)?;
    let reason = format!("{what} has {} characters, more than {WORDS_MAX}", text.chars().count());
    Some(Answer::refused(reason, "say it in fewer words; nothing was ordered"))
}

fn config_too_large(text: &str) -> Option<Answer> {
    let reason = format!("the configuration has {} bytes, more than {CONFIG_BYTES_MAX}", text.len());
    let advice =
        "make the file smaller: a [[profile]] stands for what many groups have in common; regent verify FILE";
    (text.len() > CONFIG_BYTES_MAX).then(|| Answer::refused(reason, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(request: &Request) -> Option<String> {
        too_large(request).map(|answer| match answer {
            Answer::Refused(refusal) => refusal.reason,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_configuration_that_takes_long_to_read_is_refused_unread() {
        for length in [CONFIG_BYTES_MAX, CONFIG_BYTES_MAX + 1] {
            let text = "#".repeat(length);
            let all = [
                Request::Apply { text: text.clone(), dry_run: true },
                Request::ApplyLater { text: text.clone(), dry_run: true },
                Request::Simulate { lose: Vec::new(), networks: Vec::new(), config: Some(text) },
            ];
            for request in all {
                let why = refusal(&request);
                assert_eq!(why.is_some(), length > CONFIG_BYTES_MAX, "{why:?}");
                assert!(why.is_none_or(|why| why.contains("1048577 bytes, more than 1048576")));
            }
        }
    }

    #[test]
    fn who_and_why_are_kept_for_ever_and_are_short() {
        let hold = |who: usize, why: usize| Request::Group {
            group: "web".into(),
            verb: GroupVerb::Hold { who: "ü".repeat(who), why: "ü".repeat(why) },
        };
        assert_eq!(refusal(&hold(1000, 1000)), None);
        assert!(refusal(&hold(1001, 1)).unwrap().contains("who orders it has 1001 characters"));
        assert!(refusal(&hold(1, 1001)).unwrap().contains("the reason has 1001 characters"));
        let why = "x".repeat(1 << 20);
        let dead = Request::ConfirmDead { node: "lx4".into(), who: "m".into(), why, minutes: None };
        assert!(refusal(&dead).unwrap().contains("more than 1000"));
    }
}
