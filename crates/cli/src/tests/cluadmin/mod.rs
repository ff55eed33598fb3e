//! Talks with the shell: what is typed, what is seen, and what then stands in the configuration.

mod node;
mod options;
mod screens;
mod services;
mod sharing;
mod states;

use insta::assert_snapshot;

use node::{CACHEHAL, Node, once, types};

#[test]
fn help_shows_every_command_and_the_ways_out_of_a_prompt() {
    assert_snapshot!(types(&Node::with(""), "help\n?\nhelp service\nhelp cluster res\nhelp frob\nexit"));
}

#[test]
fn a_word_finds_its_commands() {
    assert_snapshot!(types(&Node::with(""), "apropos file\napropos\napropos teapot\nclear\nquit"));
}

#[test]
fn what_is_no_command_or_may_be_several_is_told() {
    assert_snapshot!(types(
        &Node::with(CACHEHAL),
        "frob\nservice\ncluster re\nservice enable a b c\n(Enter)\n# a remark\nexit"
    ));
}

#[test]
fn the_configuration_of_the_guide_is_shown_to_the_letter() {
    let listing = "
name: cachehal
preferred node: lx4
relocate: no
user script: None
monitor interval: 0
IP address 0: 192.9.202.197
  netmask 0: 255.255.0.0
  broadcast 0: 192.9.255.255
device 0: /dev/sdc4
  mount point, device 0: /storage2
  mount fstype, device 0: ext3
  mount options, device 0: rw
  force unmount, device 0: yes
  samba share, device 0: None

";
    assert_eq!(once(&Node::with(CACHEHAL), "service show config cachehal", ""), (listing.to_owned(), 0));
}

#[test]
fn the_cluster_as_a_whole_is_shown_and_explained() {
    let typed = "cluster status\ncluster name\ncluster loglevel\ncluster reload\ncluster edit\nexit";
    assert_snapshot!(types(&Node::with(CACHEHAL), typed));
}

#[test]
fn the_configuration_is_kept_in_a_file_and_comes_back_from_it() {
    let folder = std::env::temp_dir().join(format!("cluadmin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("kept.toml").display().to_string();
    let node = Node::with(CACHEHAL);
    let saved = types(&node, &format!("cluster saveas {file}\nservice delete cachehal\nyes\nexit"));
    assert!(!node.text.borrow().contains("cachehal"));
    let restored = types(
        &node,
        &format!(
            "cluster restorefrom\n{file}\nno\ncluster restorefrom {file}\nyes\ncluster restorefrom {file}\ncluster restorefrom {file}.no\nexit"
        ),
    );
    assert_eq!(*node.text.borrow(), format!("{}{CACHEHAL}", node::CLUSTER));
    std::fs::write(&file, "[cluster]\nname = 7\n").unwrap();
    let broken = types(&node, &format!("cluster restorefrom {file}\nexit"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_snapshot!(
        format!("{saved}\n{restored}\n{broken}").replace(&folder.display().to_string(), "FOLDER")
    );
}

#[test]
fn the_exit_code_is_that_of_what_failed() {
    let node = Node::with(CACHEHAL);
    let code = |words: &str, lines: &str| once(&node, words, lines).1;
    assert_eq!(code("service show state", ""), 0);
    assert_eq!(code("service show config nothing", ""), 1);
    assert_eq!(code("service frob", ""), 2);
    assert_eq!(code("service delete cachehal", "no"), 1, "cancelled is not done");
    let script = node::Person::who_types("service frob\nservice show state\nexit");
    assert_eq!(node::talk(&node, &script, &[]).1, 2, "one of several failed");
}

#[test]
fn the_end_of_the_input_ends_every_talk() {
    let node = Node::with(CACHEHAL);
    assert_snapshot!(types(&node, "service add\nx\nlx4"));
    assert_eq!(node.serial.get(), 4);
    assert_eq!(*node.lock.borrow(), None);
}
