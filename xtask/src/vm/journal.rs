//! What a machine's own journal says of a takeover, and when that was by the clock of this one.

use std::time::{Duration, Instant};

use super::machine::Machine;

/// How often a machine is asked for its clock: the quickest answer tells the most.
const LOOKS: usize = 8;
/// It says hundredths of a second, and leaves the rest away.
const HUNDREDTH: Duration = Duration::from_millis(10);

/// A takeover. Whatever the machine did to the disk came after the moment at which it knew of it.
pub(super) struct Takeover {
    /// That moment, or a little before it.
    pub(super) at: Instant,
    /// It was over by then, at the latest.
    pub(super) by: Instant,
    pub(super) epoch: u64,
    pub(super) proof: String,
}

/// When a machine's boot clock stood at zero: not before that, and by how much later at most.
fn zero(machine: &mut Machine) -> Result<(Instant, Duration), String> {
    let mut best: Option<(Instant, Duration)> = None;
    for _ in 0..LOOKS {
        let asked = Instant::now();
        let said = machine.insist("cut -d ' ' -f 1 /proc/uptime", Duration::from_secs(20))?;
        let wide = asked.elapsed();
        let up = seconds(&said).ok_or_else(|| format!("no time since the boot: {said}"))?;
        let zero =
            asked.checked_sub(up + HUNDREDTH).ok_or("it was up before this machine: its clock is wrong")?;
        if best.is_none_or(|(_, narrow)| wide + HUNDREDTH < narrow) {
            best = Some((zero, wide + HUNDREDTH));
        }
    }
    best.ok_or_else(|| "it was not asked".to_owned())
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

/// How `machine` came to own the group last, if that was after `since`.
///
/// # Errors
/// When its journal has no such thing, in words.
pub(super) fn takeover(
    machine: &mut Machine,
    group: &str,
    from: &str,
    since: Instant,
) -> Result<Takeover, String> {
    let (zero, wide) = zero(machine)?;
    let said = machine.insist(
        &format!(
            "regent --json events --last 40 --group {group} | sed 's/{{\"at\":/\\n&/g' | grep 'owns {group} from now on'"
        ),
        Duration::from_secs(40),
    )?;
    let (at, epoch, proof) = last_taken(&said, machine.name, group, from)
        .ok_or_else(|| format!("the journal of {} does not say how it came to own {group}", machine.name))?;
    let at = zero + at;
    if at + wide < since {
        return Err(format!("the last time that {} came to own {group} was before", machine.name));
    }
    Ok(Takeover { at, by: at + wide, epoch, proof })
}

/// Of such entries, one in a line: the last that says that it owns the group, its epoch and the proof.
fn last_taken(said: &str, me: &str, group: &str, from: &str) -> Option<(Duration, u64, String)> {
    let taken = |line: &str| {
        let (at, rest) = line.trim().strip_prefix("{\"at\":")?.split_once(',')?;
        let (_, text) = rest.split_once("\"text\":\"")?;
        let text = text.strip_prefix(&format!("{me} owns {group} from now on, epoch "))?;
        let (epoch, proof) = text.split_once('"')?.0.split_once(&format!(" after {from}; proof: "))?;
        Some((Duration::from_nanos(at.parse().ok()?), epoch.parse().ok()?, proof.to_owned()))
    };
    said.lines().filter_map(taken).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_takeover_is_read_with_its_own_time() {
        let entry = |at: u64, text: &str| {
            format!("{{\"at\":{at}000000000,\"epoch\":3,\"text\":\"{text}\",\"took\":null}},\n")
        };
        let said = entry(5, "lx5 owns ledger from now on, epoch 3 after lx4; proof: released by its owner")
            + &entry(
                70,
                "lx5 owns ledger from now on, epoch 5 after lx4; proof: fenced, confirmed by switch",
            )
            + &entry(71, "ledger is up")
            + &entry(72, "lx5 owns ledger from now on, epoch 7 after lx5; proof: rebooted, now boot 1");
        let (at, epoch, proof) = last_taken(&said, "lx5", "ledger", "lx4").expect("it is there");
        assert_eq!((at, epoch, proof.as_str()), (Duration::from_secs(70), 5, "fenced, confirmed by switch"));
        assert!(last_taken(&said, "lx4", "ledger", "lx5").is_none());
    }
}
