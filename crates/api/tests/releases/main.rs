//! A command and a daemon of two releases that follow each other understand each other: what was said by release 1 is
//! recorded beside this file, as its command and its daemon said it, and every later one must still read it, and say
//! nothing less.
//!
//! When one of these tests fails, a type has changed so that the release before would be misunderstood. Give a field that
//! is new `#[serde(default)]`, keep those that are there, and put what is new of an enumeration beside what is there. As
//! long as no release has what is recorded, the line that the test shows may be corrected instead.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use regent_api::{Answer, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const ASKED: &str = include_str!("asked-1.jsonl");
const ANSWERED: &str = include_str!("answered-1.jsonl");

/// What is in `old` and not in `new`, with its place.
fn missing(place: &str, old: &Value, new: &Value) -> Vec<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old
            .iter()
            .flat_map(|(key, value)| match new.get(key) {
                Some(is) => missing(&format!("{place}.{key}"), value, is),
                // What is left out where it is nothing means the same.
                None if value.is_null() || value == &json!([]) => Vec::new(),
                None => vec![format!("{place}.{key} is gone")],
            })
            .collect(),
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => old
            .iter()
            .zip(new)
            .enumerate()
            .flat_map(|(at, (old, new))| missing(&format!("{place}[{at}]"), old, new))
            .collect(),
        (old, new) if old == new => Vec::new(),
        (old, new) => vec![format!("{place} was {old} and is {new}")],
    }
}

fn is_understood_as_a_whole<T: Serialize + DeserializeOwned>(lines: &str) {
    for line in lines.lines() {
        let value: T = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}, in\n{line}"));
        let old: Value = serde_json::from_str(line).unwrap();
        let lost = missing("", &old, &serde_json::to_value(&value).unwrap());
        assert!(lost.is_empty(), "{}, in\n{line}", lost.join("; "));
    }
}

#[test]
fn what_a_command_of_the_first_release_asks_is_understood() {
    is_understood_as_a_whole::<Request>(ASKED);
    assert!(ASKED.lines().count() > 30);
}

#[test]
fn what_a_daemon_of_the_first_release_answers_is_understood() {
    is_understood_as_a_whole::<Answer>(ANSWERED);
    assert!(ANSWERED.lines().count() > 15);
}

#[test]
fn what_a_later_release_adds_to_an_answer_or_to_a_question_is_passed_over() {
    let mut added = 0;
    for line in ANSWERED.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        for place in
            ["/status", "/status/nodes/0", "/status/groups/0", "/events/entries/0/1", "/config", "/foresight"]
        {
            let mut later = value.clone();
            if let Some(object) = later.pointer_mut(place).and_then(Value::as_object_mut) {
                object.insert("of_tomorrow".into(), json!({"a": [1]}));
                let read: Answer = serde_json::from_value(later).unwrap_or_else(|e| panic!("{place}: {e}"));
                assert_eq!(read, serde_json::from_str(line).unwrap());
                added += 1;
            }
        }
    }
    assert!(added > 8, "{added}");
    let later = json!({"node": {"node": "lx4", "verb": "standby", "of_tomorrow": true}});
    assert!(matches!(serde_json::from_value(later), Ok(Request::Node { .. })));
}

#[test]
fn what_is_lost_of_an_answer_is_found() {
    let old = json!({"a": {"b": 1, "c": [1, 2]}, "d": null});
    assert_eq!(missing("", &old, &old), [""; 0]);
    let found = missing("", &old, &json!({"a": {"c": [1, 3]}}));
    assert_eq!(found, [".a.b is gone", ".a.c[1] was 2 and is 3"]);
}
