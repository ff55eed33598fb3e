//! `service add`, `modify` and `delete`.

use insta::assert_snapshot;

use super::node::{CACHEHAL, CLUSTER, Node, Person, once, talk, types};

/// The guide's service, typed answer by answer.
const GUIDE: &str = "
service add
cachehal
lx4
no
None
0
yes
192.9.202.197
255.255.0.0
None
f
yes
/dev/sdc4
ext3
/storage2
rw
yes
no
no
f
no
yes
service show config cachehal
exit";

#[test]
fn the_service_of_the_guide_is_added() {
    let node = Node::with("");
    assert_snapshot!(types(&node, GUIDE));
    let written = "
[[group]]
name = \"cachehal\"
nodes = [\"lx4\", \"lx5\"]
policy = { startup = \"home\", failover = \"next\", failback = \"never\" }

  [[group.filesystem]]
  device = \"/dev/sdc4\"
  mount = \"/storage2\"
  type = \"ext3\"
  options = \"rw\"

  [[group.address]]
  address = \"192.9.202.197/16\"
";
    assert_eq!(*node.text.borrow(), format!("{CLUSTER}{written}"));
}

#[test]
fn every_prompt_explains_itself_and_says_what_is_wrong_with_an_answer() {
    let node = Node::with(CACHEHAL);
    assert_snapshot!(types(
        &node,
        "service add
?
:x
9to5
cachehal
two words
:p
cachedos
?
lx9
None
?
maybe
yes
?
init.d/cache
/etc/rc.d/init.d/cache-cachedos
?
often
30
?
y
?
lx4
192.9.202.198
?
255.0.255.0
255.255.0.0
?
x
192.9.202.255
x
f
y
?
sdc4
/dev/sdd1
?
nfs
ext3
None
:p
/storage3
?
rw, noatime
rw,noatime
?
no
?
yes
perhaps
no
?
no
f
?
:c
exit"
    ));
    assert_eq!(node.serial.get(), 4);
}

#[test]
fn several_addresses_and_devices_are_added_changed_shown_and_deleted() {
    let node = Node::with("");
    assert_snapshot!(types(
        &node,
        "service add cachedos
lx5
yes
/etc/rc.d/init.d/cache-cachedos
30
yes
192.9.202.198
None
None
a
192.9.202.199
255.255.0.0
192.9.202.255
a
fd00:77::198
64
eth1
s
m
1
(Enter)
255.255.255.0
None
d
0
d
c
:r
(Enter)
(Enter)
(Enter)
(Enter)
f
y
/dev/sdd1
ext3
/storage3
None
yes
no
no
a
/dev/sdd2
xfs
/storage4
noatime
no
no
no
a
/dev/sdd3
None
d
7
0
f
yes
yes
service show config cachedos
service show state
exit"
    ));
    let text = node.text.borrow().clone();
    assert_snapshot!(text.strip_prefix(CLUSTER).unwrap());
}

#[test]
fn a_service_is_modified_without_touching_what_was_not_asked_for() {
    let more = "  monitor = { interval = \"9s\" }          # slow network

  [[group.application]]
  name  = \"agent\"
  start = \"/usr/local/bin/agent --daemon\"

  [[group.event]]
  name  = \"node_up\"
  nodes = [\"lx4\"]
  post  = \"/usr/local/etc/at-home\"
";
    let node = Node::with(&format!("{CACHEHAL}{more}"));
    let screen = types(
        &node,
        "service modify
0
(Enter)
yes
/etc/rc.d/init.d/cache-cachehal
0
f
m
(Enter)
(Enter)
(Enter)
rw,noatime
(Enter)
(Enter)
(Enter)
f
yes
service show config cachehal
exit",
    );
    assert_snapshot!(screen);
    let text = node.text.borrow().clone();
    assert_snapshot!(text.strip_prefix(CLUSTER).unwrap());
    // And back again: only what was added goes.
    types(
        &node,
        "service modify cachehal
(Enter)
no
none
(Enter)
f
m
(Enter)
(Enter)
(Enter)
rw
(Enter)
(Enter)
(Enter)
f
yes
exit",
    );
    assert_eq!(*node.text.borrow(), format!("{CLUSTER}{CACHEHAL}{more}"));
}

#[test]
fn the_preferred_member_may_change_and_be_none() {
    let node = Node::with(CACHEHAL);
    let rest = "(Enter)\n(Enter)\n(Enter)\nf\nf\nyes";
    types(
        &node,
        &format!("service modify cachehal\nlx5\n{rest}\nservice modify cachehal\nNone\n{rest}\nexit"),
    );
    let text = node.text.borrow().clone();
    let policy = "{ startup = \"first-available\", failover = \"next\", failback = \"never\" }";
    assert!(text.contains("[\"lx5\", \"lx4\"]") && text.contains(policy), "{text}");
    let (shown, _) = once(&node, "service show config cachehal", "");
    assert!(shown.contains("preferred node: None\nrelocate: no\n"), "{shown}");
}

#[test]
fn what_nobody_changed_is_not_put_in_force() {
    let node = Node::with(CACHEHAL);
    let screen = types(&node, "service modify cachehal\n(Enter)\n(Enter)\n(Enter)\n(Enter)\nf\nf\nexit");
    let (_, end) = screen.split_once("goes on with the next prompt").unwrap();
    assert_snapshot!(end);
    assert_eq!(node.serial.get(), 4);
}

#[test]
fn a_definition_that_is_refused_is_asked_again_with_its_answers() {
    let node = Node::with(CACHEHAL);
    // Its device and its mount point are another service's.
    let screen = types(
        &node,
        "service add cachedos
lx5
no
None
0
no
yes
/dev/sdc4
ext3
/storage2
None
yes
no
no
f
yes
yes
yes
(Enter)
(Enter)
(Enter)
(Enter)
(Enter)
m
/dev/sdd4
(Enter)
/storage4
(Enter)
(Enter)
(Enter)
(Enter)
f
(Enter)
yes
exit",
    );
    assert_snapshot!(screen);
    assert_eq!(node.groups.borrow()["cachedos"].0, "disabled");
}

#[test]
fn what_a_power_switch_is_needed_for_is_said_when_there_is_none() {
    let node = Node::with("");
    let bare = node.text.borrow().split("[[fence]]").next().unwrap().to_owned();
    node.text.replace(bare);
    let screen = types(&node, &GUIDE.replace("service show config cachehal\n", ""));
    let (_, end) = screen.split_once("service as shown").unwrap();
    assert_snapshot!(end);
}

#[test]
fn a_service_that_does_not_start_stays_defined_and_says_what_to_do() {
    let node =
        Node { fails: Some("lx4 could not run it: there is no device /dev/sdc4".into()), ..Node::with("") };
    let (screen, code) = talk(&node, &Person::who_types(GUIDE), &[]);
    let (_, end) = screen.split_once("service as shown").unwrap();
    assert_snapshot!(end);
    assert_eq!(code, 1);
}

#[test]
fn a_service_whose_preferred_member_is_away_starts_on_another_one() {
    let node = Node { down: vec!["lx4".to_owned()].into(), ..Node::with("") };
    let screen = types(&node, &GUIDE.replace("service show config cachehal\n", ""));
    let (_, end) = screen.split_once("service as shown").unwrap();
    assert_snapshot!(end);
    assert_eq!(node.groups.borrow()["cachehal"].1.as_deref(), Some("lx5"));
}

#[test]
fn a_service_is_stopped_and_forgotten_when_a_person_says_so_twice() {
    let node = Node::with(CACHEHAL);
    assert_snapshot!(types(
        &node,
        "service delete cachehal\n?\nno\nservice delete\n0\nyes\nservice delete\nexit"
    ));
    assert_eq!(*node.text.borrow(), CLUSTER);
}

#[test]
fn a_device_is_shared_with_windows_clients() {
    let node = Node::with("");
    let shared = GUIDE.replace("rw\nyes\nno\nno\nf\nno\nyes", "rw\nyes\nno\nyes\nmy files\nhall\nf\nno\nyes");
    let screen = types(&node, &shared);
    let (_, end) = screen.split_once("Mount options").unwrap();
    assert_snapshot!(end);
    let share = "\n  [[group.share]]\n  name = \"hall\"\n  path = \"/storage2\"\n";
    assert!(node.text.borrow().contains(share), "{}", node.text.borrow());
}

#[test]
fn a_service_with_an_instance_is_not_deleted_before_it_and_names_that_differ_in_capitals_are_one() {
    let instance =
        "\n[[instance]]\nname = \"cachehal\"\nkind = \"gtm\"\ndirectory = \"/storage2/c52ha\"\nport = 1972\n";
    let node = Node::with(&format!("{CACHEHAL}{instance}"));
    assert_snapshot!(types(
        &node,
        "service delete cachehal\nservice add\nCACHEHAL\n:c\nservice relocate cachehal lx9\nexit"
    ));
    assert!(node.text.borrow().contains("cachehal"));
}

#[test]
fn what_others_need_is_not_stopped_to_be_deleted() {
    let other = "\n[[group]]\nname = \"report\"\nnodes = [\"lx4\"]\nparent = \"cachehal\"\n";
    let node = Node::with(&format!("{CACHEHAL}{other}"));
    assert_snapshot!(once(&node, "service delete cachehal", "yes").0);
    assert_eq!((node.groups.borrow()["cachehal"].0.as_str(), node.serial.get()), ("online", 4));
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let node = Node::with(CACHEHAL);
    let quick = || {
        let text = node.text.borrow().replace("/storage2", "/storage9");
        node.text.replace(text);
        node.serial.set(5);
    };
    let person = Person::who_types("service modify cachehal\n(Enter)\nyes\n(Enter)\n(Enter)\nf")
        .while_(quick)
        .then_types("f\nyes\nservice show state nothing\nexit");
    let (screen, code) = talk(&node, &person, &[]);
    let (_, end) = screen.split_once("service as shown").unwrap();
    assert_snapshot!(end);
    assert_eq!((code, node.serial.get()), (1, 5));
}

#[test]
fn what_the_cluster_refuses_is_said_in_the_words_of_the_shell() {
    let reason = "cachehal is held by lx4, and filesystem storage2 would be changed under it; first: regent group disable cachehal";
    let refuses = Some((reason.to_owned(), "then apply the file, and enable the group again".to_owned()));
    let node = Node { refuses, ..Node::with(CACHEHAL) };
    let screen = types(&node, "service modify cachehal\n(Enter)\nyes\n(Enter)\n(Enter)\nf\nf\nyes\nexit");
    let (_, end) = screen.split_once("service as shown").unwrap();
    assert_snapshot!(end);
}

#[test]
fn every_example_is_shown_as_far_as_the_layout_goes() {
    let mut shown = String::new();
    for example in ["every-key.toml", "postgresql.toml"] {
        let path = format!("{}/../../examples/{example}", env!("CARGO_MANIFEST_DIR"));
        let node = Node::with("");
        node.text.replace(std::fs::read_to_string(path).unwrap());
        let names = crate::edit::Editor::read(&node.text.borrow()).unwrap().names("group");
        for name in names {
            shown.push_str(&once(&node, &format!("service show config {name}"), "").0);
        }
    }
    assert_snapshot!(shown);
}
