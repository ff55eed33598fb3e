//! Keys and tokens as text.

use proptest::prelude::*;
use regent_wire::ClusterKey;
use regent_wire::text::{self, TextError};

proptest! {
    #[test]
    fn what_is_formatted_is_parsed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = text::format("regent-token", &bytes);
        prop_assert_eq!(text::parse("regent-token", &text), Ok(bytes.clone()));
        prop_assert_eq!(text::parse("regent-token", &format!("  {text}\n")), Ok(bytes));
    }

    #[test]
    fn one_wrong_character_is_noticed(bytes in any::<[u8; 32]>(), at in 0_usize..84, digit in 0_u32..16) {
        let text = ClusterKey::from_bytes(bytes).to_text();
        let digit = char::from_digit(digit, 16).unwrap_or('0');
        let wrong: String = text.chars().enumerate().map(|(i, c)| if i == at { digit } else { c }).collect();
        if wrong != text {
            prop_assert!(wrong.parse::<ClusterKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", hex in "regent-key-[0-9a-fé-]{0,100}") {
        let _ = text.parse::<ClusterKey>();
        let _ = hex.parse::<ClusterKey>();
    }
}

#[test]
fn a_key_comes_back_from_its_text_and_a_cut_text_says_so() {
    let key = ClusterKey::generate().unwrap();
    let text = key.to_text();
    let again: ClusterKey = text.parse().unwrap();
    assert_eq!(again.expose(), key.expose());
    assert_eq!(again.fingerprint(), key.fingerprint());
    assert_eq!(
        "regent-token-00-00".parse::<ClusterKey>().unwrap_err(),
        TextError::Label("regent-key".into())
    );
    for cut in 0..text.len() {
        assert!(text[..cut].parse::<ClusterKey>().is_err());
    }
}
