//! Screens that are seldom seen: answers that do not go together, and what cannot be read or written.

use insta::assert_snapshot;

use super::node::{CACHEHAL, CLUSTER, Node, once, types};

#[test]
fn a_device_without_a_file_system_needs_no_entry() {
    let node = Node::with(CACHEHAL);
    let screen = types(
        &node,
        "service modify cachehal
(Enter)
(Enter)
(Enter)
(Enter)
f
m
(Enter)
None
(Enter)
None
/storage2
None
(Enter)
(Enter)
(Enter)
a
/dev/sdd7
None
s
d
1
d
s
d
:c
exit",
    );
    let (_, talk) = screen.split_once("inished adding IP addresses [f]: f\n").unwrap();
    assert_snapshot!(talk);
    assert_eq!(node.serial.get(), 4);
}

#[test]
fn an_interval_without_a_script_and_a_return_without_a_home_are_put_right() {
    let screen = types(
        &Node::with(CACHEHAL),
        "service add cachedos
None
yes
None
30
:r
lx5
(Enter)
/etc/init.d/x y
30
:c
exit",
    );
    assert_snapshot!(screen);
}

#[test]
fn names_and_numbers_that_are_none_are_refused_where_they_are_typed() {
    let node = Node::with(CACHEHAL);
    let mut shown = once(&node, "service add cachehal", "").0;
    shown += &once(&node, "service add 9to5", "").0;
    let typed = "lx5\nno\nNone\n0\ny\nfd00:77::9\n200\n64\neth 1\neth1\nf\ny\n/dev/sdd1\next4\n/s\n\nno\nno\ny\na/b\n:c";
    let (_, talk) = once(&node, "service add x", &typed.replace("\n\n", "\n(Enter)\n"))
        .0
        .split_once("goes on with the next prompt")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_snapshot!(shown + &talk);
}

#[test]
fn menus_of_nothing_say_so() {
    let node = Node::with("");
    let shown: String = ["modify", "delete", "enable", "disable", "relocate", "show config", "show config x"]
        .iter()
        .map(|verb| once(&node, &format!("service {verb}"), "").0)
        .collect();
    assert_snapshot!(shown);
}

#[test]
fn what_all_services_are_already_is_said() {
    let node = Node::with(CACHEHAL);
    let mut shown = once(&node, "service enable", "").0;
    shown += &once(&node, "service disable", "0").0;
    shown += &once(&node, "service disable", "").0;
    shown += &once(&node, "service relocate cachehal nowhere", "").0;
    assert_snapshot!(shown);
}

#[test]
fn a_member_is_chosen_where_several_could_have_the_service() {
    let third = "\n[[node]]\nname = \"lx6\"\naddresses = [\"192.9.202.7\", \"10.78.0.7\"]\n";
    let node = Node { more: vec!["lx6".into()], ..Node::with(&format!("{CACHEHAL}{third}")) };
    assert_snapshot!(once(&node, "service relocate cachehal", "?\n7\nlx6").0);
    assert_eq!(node.groups.borrow()["cachehal"].1.as_deref(), Some("lx6"));
}

#[test]
fn a_configuration_in_a_manner_of_its_own_is_not_rewritten() {
    let inline =
        "\n[[group]]\nname = \"g\"\nnodes = [\"lx4\"]\naddress = [{ address = \"192.9.202.9/16\" }]\n";
    let node = Node::with(inline);
    let typed = "(Enter)\n(Enter)\n(Enter)\n(Enter)\nyes\n192.9.202.10\n255.255.0.0\nNone\nf\nno\nyes";
    let screen = once(&node, "service modify g", typed).0;
    let (_, end) = screen.split_once("goes on with the next prompt").unwrap();
    assert_snapshot!(end);
    assert_eq!(*node.text.borrow(), format!("{CLUSTER}{inline}"));
}

#[test]
fn a_configuration_of_another_version_is_not_touched() {
    let node = Node::with(CACHEHAL);
    node.text.replace(format!("{CLUSTER}{CACHEHAL}\n[something]\nnew = 1\n"));
    let mut shown = once(&node, "service show config cachehal", "").0;
    shown += &once(&node, "service modify cachehal", "").0;
    assert_snapshot!(shown);
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let node = Node::with(CACHEHAL);
    let mut shown = once(&node, "cluster saveas /proc/no/such", "").0;
    shown += &once(&node, "cluster saveas", "?\n:c").0;
    shown += &once(&node, "cluster restorefrom /proc/no/such", "").0;
    assert_snapshot!(shown);
}

#[test]
fn what_belongs_to_a_service_beyond_the_listing_stands_below_it() {
    let instance =
        "\n[[instance]]\nname = \"cachehal\"\nkind = \"gtm\"\ndirectory = \"/storage2/c52ha\"\nport = 1972\n";
    let node = Node::with(&format!("{CACHEHAL}{instance}"));
    assert_snapshot!(once(&node, "service show config cachehal", "").0);
}
