//! `service show state`, `enable`, `disable`, `relocate`.

use insta::assert_snapshot;

use super::node::{CACHEHAL, Node, once, types};

fn two() -> Node {
    let second =
        CACHEHAL.replace("cachehal", "cachedos").replace("sdc4", "sdd4").replace("storage2", "storage3");
    Node::with(&format!("{CACHEHAL}{}", second.replace("202.197", "202.198")))
}

#[test]
fn services_are_chosen_from_those_for_which_the_command_makes_sense() {
    let node = two();
    assert_snapshot!(types(
        &node,
        "service relocate
1
service show state
service disable
?
7
c
service disable
cachedos
service enable
0
service enable
service show config
c
exit"
    ));
}

#[test]
fn a_service_is_relocated_from_a_script_as_the_guide_writes_it() {
    let node = Node::with(CACHEHAL);
    let (screen, code) = once(&node, "service relocate cachehal", "");
    assert_eq!(code, 0);
    assert_snapshot!(screen);
    assert_eq!(node.groups.borrow()["cachehal"].1.as_deref(), Some("lx5"));
    assert_eq!(once(&node, "service relocate cachehal lx4", "").1, 0);
    assert_eq!(node.groups.borrow()["cachehal"].1.as_deref(), Some("lx4"));
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_type() {
    let node = Node::with(CACHEHAL);
    let mut shown = once(&node, "service enable cachehal", "").0;
    shown += &once(&node, "service disable cachehal", "").0;
    shown += &once(&node, "service relocate cachehal", "").0;
    shown += &once(&node, "service relocate", "").0;
    shown += &once(&node, "service enable nothing", "").0;
    node.down.borrow_mut().push("lx4".into());
    shown += &once(&node, "service enable cachehal", "").0;
    shown += &once(&node, "service relocate cachehal", "").0;
    assert_snapshot!(shown);
}
