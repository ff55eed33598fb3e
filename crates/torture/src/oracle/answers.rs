//! No answer comes from an ownership that is over: the ledger says its node and epoch with every answer.

use regent_lab::probe::Reply;

use super::{Oracle, Violation, Window, within};

/// Judges the answers of the ledger: whoever asks after an answer of epoch 8 has come gets none of epoch 7.
pub(crate) fn judge(replies: &[Reply], frozen: &[(String, Window)]) -> Vec<Violation> {
    let mut newest: Option<(&Reply, u64)> = None;
    let mut found = Vec::new();
    for reply in replies {
        let mut words = reply.who.split(' ');
        let (Some(node), Some(epoch)) = (words.next(), words.next().and_then(|e| e.parse().ok())) else {
            continue;
        };
        match newest {
            Some((before, known)) if epoch < known => {
                let stood = frozen.iter().any(|(n, w)| n == node && within(&[*w], reply.sent, reply.at));
                if reply.sent > before.at && !stood && found.is_empty() {
                    let text = format!(
                        "{} answered at {} ns, asked after {} had answered at {} ns",
                        reply.who, reply.at, before.who, before.at
                    );
                    found.push(Violation::new(Oracle::Answers, text));
                }
            }
            _ => newest = Some((reply, epoch)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(sent: u64, at: u64, who: &str) -> Reply {
        Reply { sent, at, who: who.into() }
    }

    #[test]
    fn an_answer_of_an_earlier_epoch_to_a_later_question_is_a_violation() {
        let lawful = [reply(1, 2, "a 7"), reply(5, 6, "b 8"), reply(4, 7, "a 7"), reply(8, 9, "b 8")];
        assert_eq!(judge(&lawful, &[]), []);
        let late = [reply(1, 2, "a 7"), reply(5, 6, "b 8"), reply(7, 8, "a 7")];
        assert_eq!(judge(&late, &[]).len(), 1);
        assert_eq!(judge(&late, &[("a".into(), (0, 10))]), []);
    }
}
