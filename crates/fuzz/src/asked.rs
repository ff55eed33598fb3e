//! What people and their programs say: requests and answers of the local socket, tokens, plans of a drill.

use regent_api::{Answer, Request};
use regent_node::token::Token;
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

pub(crate) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for finding in regent_cli::drill::findings(text) {
        assert!(text.get(finding.span.start..finding.span.end).is_some(), "beyond the text: {finding:?}");
    }
}

pub(crate) fn plans() -> Vec<Vec<u8>> {
    lines(include_str!("../corpus/drill_plan/steps.txt"))
}
