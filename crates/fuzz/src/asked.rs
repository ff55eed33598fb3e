//! What people and their programs say: requests and answers of the local socket, tokens, plans of a drill.

use regent_api::{Answer, Request};
use regent_node::token::Token;
use regent_wire::handover::{KeyAsk, KeysGiven};
use regent_wire::{ClusterKey, KeyRing};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What was understood can be said again, and means the same.
fn is_stable<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(said) = serde_json::from_slice::<T>(bytes) else { return };
    let once = serde_json::to_vec(&said).unwrap_or_else(|e| panic!("{e}"));
    let again: T =
        serde_json::from_slice(&once).unwrap_or_else(|e| panic!("not understood when said again: {e}"));
    assert_eq!(serde_json::to_vec(&again).ok(), Some(once), "it means something else when said again");
}

pub(crate) fn request(bytes: &[u8]) {
    is_stable::<Request>(bytes);
}

pub(crate) fn answer(bytes: &[u8]) {
    is_stable::<Answer>(bytes);
}

fn lines(text: &str) -> Vec<Vec<u8>> {
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    lines(include_str!("../../api/tests/releases/asked-1.jsonl"))
}

pub(crate) fn answers() -> Vec<Vec<u8>> {
    lines(include_str!("../../api/tests/releases/answered-1.jsonl"))
}

pub(crate) fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = Token::parse(text) {
        let again = token.to_text().unwrap_or_else(|e| panic!("{e}"));
        assert!(Token::parse(&again).is_ok(), "what was read is not read when said again");
    }
}

pub(crate) fn tokens() -> Vec<Vec<u8>> {
    let label = regent_node::token::LABEL;
    vec![label.into(), regent_wire::text::format(label, &[3; 120]).into_bytes()]
}

/// What members say when one asks another for the cluster's keys, and the file that keeps them.
pub(crate) fn keys(bytes: &[u8]) {
    is_stable::<KeyAsk>(bytes);
    is_stable::<KeysGiven>(bytes);
    if let Some(ring) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<KeyRing>().ok()) {
        assert_eq!(ring.to_text().parse(), Ok(ring), "keys are read as they were written");
    }
}

pub(crate) fn rings() -> Vec<Vec<u8>> {
    let key = |byte| ClusterKey::from_bytes([byte; 32]);
    let both = KeyRing::first(key(1)).with_next(key(2));
    let texts = [KeyRing::first(key(1)).to_text(), both.to_text(), both.using_newest().to_text()];
    let ask = br#"{"member":2,"ephemeral":[0],"signature":[1,2]}"#.to_vec();
    texts.into_iter().map(String::into_bytes).chain([ask]).collect()
}

pub(crate) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for finding in regent_cli::drill::findings(text) {
        assert!(text.get(finding.span.start..finding.span.end).is_some(), "beyond the text: {finding:?}");
    }
}

pub(crate) fn plans() -> Vec<Vec<u8>> {
    lines(include_str!("../corpus/drill_plan/steps.txt"))
}
