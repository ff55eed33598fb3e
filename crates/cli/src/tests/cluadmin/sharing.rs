//! One person at a time changes the configuration.

use insta::assert_snapshot;

use super::node::{CACHEHAL, Node, Person, Quick, once, talk, types};

#[test]
fn who_comes_second_sees_who_has_the_lock_and_may_leave_it() {
    let node = Node::with(CACHEHAL).locked_by("jonas");
    assert_snapshot!(types(&node, "?\nno\nservice show state cachehal\nservice delete cachehal\nno\nexit"));
    assert_eq!(node.lock.borrow().as_ref().unwrap().who, "jonas", "it is still his");
}

#[test]
fn who_takes_the_lock_over_changes_and_gives_it_up_at_the_end() {
    let node = Node::with(CACHEHAL).locked_by("jonas");
    assert_snapshot!(types(&node, "yes\nservice delete cachehal\nyes\nexit"));
    assert_eq!(*node.lock.borrow(), None);
}

#[test]
fn who_lost_the_lock_is_told_and_changes_nothing_any_more() {
    let node = Node::with(CACHEHAL);
    let taken = || {
        let other = Node::with("").locked_by("jonas").lock.take();
        node.lock.replace(other);
    };
    let person = Person::who_types("service show config cachehal")
        .while_(taken)
        .then_types("service show state\nservice modify cachehal\nno\nservice relocate cachehal\nexit");
    let (screen, _) = talk(&node, &person, &[]);
    assert_snapshot!(screen);
    assert_eq!(node.serial.get(), 4);
    assert_eq!(node.lock.borrow().as_ref().unwrap().who, "jonas", "what is his is not given up for him");
}

#[test]
fn who_loses_the_lock_at_the_last_moment_changes_nothing_either() {
    let taken = |node: &Node| {
        let other = Node::with("").locked_by("jonas").lock.take();
        node.lock.replace(other);
    };
    let node = Node { before_change: Some(Box::new(taken) as Quick).into(), ..Node::with(CACHEHAL) };
    let (screen, code) = once(&node, "service modify cachehal", "(Enter)\nyes\n(Enter)\n(Enter)\nf\nf\nyes");
    let (_, end) = screen.split_once("service as shown").unwrap();
    assert_snapshot!(end);
    assert_eq!((code, node.serial.get()), (1, 4));
}

#[test]
fn the_lock_of_a_shell_that_died_here_is_nobodys() {
    let node = Node::with(CACHEHAL).locked_by("jonas");
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap();
    if let Some(lock) = node.lock.borrow_mut().as_mut() {
        lock.node = super::super::samples::node_name("lx5");
        // No number of a process is that high.
        lock.ticket = format!("{}/4194999/1", namespace.display());
    }
    let (screen, code) = once(&node, "service delete cachehal", "yes");
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("jonas"), "{screen}");
}

#[test]
fn what_was_put_in_force_by_somebody_else_is_told_once() {
    let node = Node::with(CACHEHAL);
    let person = Person::who_types("cluster name")
        .while_(|| node.serial.set(5))
        .then_types("cluster name\ncluster name\nexit");
    let (screen, _) = talk(&node, &person, &[]);
    assert_snapshot!(screen);
}

#[test]
fn who_had_the_lock_that_was_given_up_for_him_is_told() {
    let node = Node::with(CACHEHAL);
    let given_up = || drop(node.lock.take());
    let person = Person::who_types("cluster name").while_(given_up).then_types("cluster name\nexit");
    assert_snapshot!(talk(&node, &person, &[]).0);
}

#[test]
fn who_wants_a_lock_that_somebody_else_has_just_taken_is_told() {
    let node = Node::with(CACHEHAL).locked_by("jonas");
    let gone = || node.lock.replace(Node::with("").locked_by("berta").lock.take());
    let person = Person::who_waits().while_(|| drop(gone())).then_types("yes\ncluster name\nexit");
    assert_snapshot!(talk(&node, &person, &[]).0);
}

#[test]
fn without_a_majority_nothing_is_locked_and_everything_is_shown() {
    let node = Node::with(CACHEHAL);
    node.quorate.set(false);
    let screen = types(&node, "cluster name\nexit");
    assert_snapshot!(screen);
    assert_eq!(*node.lock.borrow(), None);
}
