//! What is encoded comes back, and nothing else is decoded.

use proptest::prelude::*;
use regent_model::proof::Promise;
use regent_model::{Incarnation, IncarnationOf, NodeId, Round};
use regent_wire::codec::{Why, decode, decode_within, encode, encode_into};

fn promise(voter: u64, round: u64) -> Promise {
    let about = IncarnationOf { node: NodeId(2), incarnation: Incarnation(7) };
    Promise { voter: NodeId(voter), about, round: Round(round) }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(voters in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20)) {
        let promises: Vec<_> = voters.into_iter().map(|(voter, round)| promise(voter, round)).collect();
        let bytes = encode(&promises, 4096).unwrap();
        prop_assert_eq!(decode::<Vec<Promise>>(&bytes).unwrap(), promises);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_allocate_beyond_them(
        bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let _ = decode::<Vec<Promise>>(&bytes);
        let _ = decode::<Vec<Vec<u8>>>(&bytes);
        let _ = decode::<String>(&bytes);
    }

    #[test]
    fn a_value_cut_short_or_prolonged_is_refused(voter in any::<u64>(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&promise(voter, 3), 100).unwrap();
        let kept = cut.index(bytes.len());
        prop_assert_eq!(decode::<Promise>(&bytes[..kept]).unwrap_err().why, Why::Truncated);
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert_eq!(decode::<Promise>(&longer).unwrap_err().why, Why::Trailing { bytes: 1 });
    }
}

#[test]
fn a_limit_is_kept_in_both_directions_and_leaves_the_buffer_as_it_was() {
    let long = vec![7_u8; 100];
    let mut out = vec![1, 2, 3];
    let error = encode_into(&long, 100, &mut out).unwrap_err();
    assert_eq!(error.why, Why::TooLarge { limit: 100 });
    assert_eq!(out, [1, 2, 3]);
    encode_into(&long, 101, &mut out).unwrap();
    assert_eq!(decode_within::<Vec<u8>>(&out[3..], 101).unwrap(), long);
    assert_eq!(decode_within::<Vec<u8>>(&out[3..], 100).unwrap_err().why, Why::TooLarge { limit: 100 });
}
