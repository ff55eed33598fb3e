//! The shared area that decides between two nodes: whatever a disk shows of it, a contest ends, and nobody wins what
//! the other one is read to have won.

use regent_arbiter::area::{Beginning, Header, formatted};
use regent_arbiter::contest::{Contest, Effect, Input, Outcome};
use regent_arbiter::mutants::Mutants;
use regent_arbiter::record::{BLOCK, Ballot, RECORD, Record};
use regent_arbiter::slot::{COPIES, SLOT, Slot, block_of};
use regent_arbiter::standing::Generation;
use regent_model::NodeId;
use regent_model::ids::{AreaId, ClusterName};

const AREA: AreaId = AreaId([7; 16]);
const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const GENERATION: Generation = Generation(5);
const LIFE: u64 = 3;

/// What the other node wrote before it was lost: it had begun a ballot of its own.
fn theirs() -> Vec<u8> {
    let promised = Ballot { round: 1, node: OTHER };
    let record = Record {
        life: 2,
        sequence: 1,
        generation: GENERATION,
        promised,
        accepted: Some((promised, OTHER)),
        ..Record::blank(AREA, OTHER)
    };
    let mut slot = formatted(AREA, OTHER);
    let at = block_of(record.life) * BLOCK;
    slot[at..at + COPIES * BLOCK].copy_from_slice(&record.block().repeat(COPIES));
    slot
}

/// The bytes are a first block; and they are damage to two slots: a place in three bytes, what stands there instead,
/// and whether the block is sealed again, as only a program would.
pub(crate) fn run(bytes: &[u8]) {
    if let Beginning::Area(header) = Beginning::at(bytes) {
        assert_eq!(Beginning::at(&header.block()), Beginning::Area(header), "not twice the same header");
    }
    let mut slots = [formatted(AREA, ME), theirs()].concat();
    for change in bytes.chunks_exact(5) {
        let at = usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
        let at = at % slots.len();
        slots[at] ^= change[3];
        if change[4] % 2 == 1 {
            let block = at / BLOCK * BLOCK;
            let sum = crc32c::crc32c(&slots[block + 4..block + RECORD]);
            slots[block..block + 4].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let (own, other) = slots.split_at_mut(SLOT);
    contest(own, other);
}

/// Plays one attempt against a node that is silent, on a disk that writes what it is told to.
fn contest(own: &mut [u8], other: &[u8]) {
    let read =
        |own: &[u8]| Input::Slots { own: Slot::at(own, AREA, ME), other: Slot::at(other, AREA, OTHER) };
    let (mut contest, mut effect) = Contest::new(AREA, ME, OTHER, GENERATION, (LIFE, 0), (0, 0));
    for _ in 0..8 {
        let input = match effect {
            Effect::Over(outcome) => return judge(outcome, own, other),
            Effect::Read => read(own),
            Effect::Write(record) => {
                let at = block_of(record.life) * BLOCK;
                own[at..at + COPIES * BLOCK].copy_from_slice(&record.block().repeat(COPIES));
                Input::Written
            }
        };
        effect =
            contest.step(input).unwrap_or_else(|| panic!("a contest that is not over wants something done"));
    }
    panic!("a contest without an end");
}

fn judge(outcome: Outcome, own: &[u8], other: &[u8]) {
    let Some(theirs) = Slot::at(other, AREA, OTHER).newest(Mutants::none()) else {
        assert_eq!(outcome, Outcome::Damaged, "decided although something of the other one's is lost");
        return;
    };
    let theirs = Some(theirs).filter(|theirs| theirs.generation >= GENERATION);
    let named = theirs.and_then(|theirs| theirs.decided.or(theirs.accepted.map(|(_, winner)| winner)));
    if let Outcome::Lost(_) = outcome {
        let own = Slot::at(own, AREA, ME).newest(Mutants::none());
        let mut named = own.into_iter().flat_map(|own| own.named()).chain(named);
        assert!(named.any(|winner| winner == OTHER), "this node lost, and the other one was not named");
    }
    if let Outcome::Won(generation) = outcome {
        assert_eq!(generation, GENERATION);
        assert!(named.is_none_or(|winner| winner == ME), "this node won, and {named:?} was named");
    }
}

pub(crate) fn starters() -> Vec<Vec<u8>> {
    let cluster = ClusterName::new("ward7").unwrap_or_else(|e| panic!("{e}"));
    let header = Header { area: AREA, cluster }.block();
    // Of two copies of the same write the second one counts.
    let theirs = SLOT + (block_of(2) + 1) * BLOCK;
    let change = |at: usize, by: u8, sealed: u8| {
        let at = u32::try_from(theirs + at).unwrap_or_default().to_be_bytes();
        vec![at[1], at[2], at[3], by, sealed]
    };
    // The numbers of the record from the generation on; then a round after which there is no other.
    let numbers = (52..108).step_by(8).flat_map(|at| change(at, 3, 1));
    let last_round = (60..68).flat_map(|at| change(at, if at == 60 { 0xfe } else { 0xff }, 1));
    vec![header[..RECORD].to_vec(), numbers.collect(), last_round.collect(), change(60, 1, 0)]
}
