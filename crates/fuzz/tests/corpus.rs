//! Every input that was worth keeping, and the starters, whole, cut and garbled: none breaks a promise.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::path::{Path, PathBuf};

use regent_fuzz::{TARGETS, Target};

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

fn kept(target: &Target) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder(target)) else { return Vec::new() };
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// A number that depends on those before.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

/// Some of what becomes of an input by cutting it, garbling a byte, and putting a piece of it elsewhere.
fn garbled(input: &[u8], seed: &mut u64) -> Vec<Vec<u8>> {
    if input.is_empty() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(input[..next(seed) % input.len()].to_vec());
        let mut other = input.to_vec();
        other[next(seed) % input.len()] ^= 1 << (next(seed) % 8);
        all.push(other);
        let (from, to) = (next(seed) % input.len(), next(seed) % input.len());
        let piece = input[from..input.len().min(from + 1 + next(seed) % 32)].to_vec();
        all.push([&input[..to], &piece, &input[to..]].concat());
    }
    all
}

#[test]
fn every_input_that_was_kept_is_read_without_a_broken_promise() {
    for target in &TARGETS {
        let starters = (target.starters)();
        assert!(!starters.is_empty() && starters.iter().all(|input| !input.is_empty()), "{}", target.name);
        let mut seed = 7;
        for input in kept(target).iter().chain(&starters) {
            (target.run)(input);
            garbled(input, &mut seed).iter().for_each(|input| (target.run)(input));
        }
    }
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(all).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|target| target.name == name), "nobody reads {name}");
    }
}
