//! What is not edited stays to the letter.

use super::*;

const TEXT: &str = "\
# our cluster
[cluster]
name = \"ward7\"   # as on the door

[[group]]
name   = \"cachehal\"            # the hall
nodes  = [\"lx4\", \"lx5\"]

  # the disk in the rack
  [[group.filesystem]]
  device = \"/dev/sdc4\"         # never sdb
  mount  = \"/storage2\"

# what cuts power
[[fence]]
name = \"power\"
";

fn edited(change: impl FnOnce(&mut Editor)) -> String {
    let mut editor = Editor::read(TEXT).unwrap();
    change(&mut editor);
    editor.text()
}

#[test]
fn what_is_read_and_written_is_the_same_text() {
    assert_eq!(edited(|_| ()), TEXT);
}

#[test]
fn a_changed_value_keeps_its_comment_and_an_equal_one_is_not_touched() {
    let text = edited(|e| {
        let group = e.find_mut("group", "cachehal").unwrap();
        set(group, "name", "cachehal");
        set(inners_mut(group, "filesystem").remove(0), "device", "/dev/sdd1");
    });
    assert_eq!(text, TEXT.replace("\"/dev/sdc4\"  ", "\"/dev/sdd1\"  "));
}

#[test]
fn new_keys_and_inner_tables_stand_where_a_person_would_write_them() {
    let text = edited(|e| {
        let group = e.find_mut("group", "cachehal").unwrap();
        set(inners_mut(group, "filesystem").remove(0), "type", "ext4");
        set(add_inner(group, "address").unwrap(), "address", "192.9.202.197/16");
    });
    let new = "  mount  = \"/storage2\"\n  type = \"ext4\"\n\n  [[group.address]]\n  address = \"192.9.202.197/16\"\n";
    assert_eq!(text, TEXT.replace("  mount  = \"/storage2\"\n", new));
}

#[test]
fn a_new_group_stands_behind_the_last_one_and_is_gone_again_without_a_trace() {
    let mut editor = Editor::read(TEXT).unwrap();
    set(editor.add("group", "b").unwrap(), "needs", toml_edit::Array::from_iter(["fenced"]));
    let new = "  mount  = \"/storage2\"\n\n[[group]]\nname = \"b\"\nneeds = [\"fenced\"]\n";
    assert_eq!(editor.text(), TEXT.replace("  mount  = \"/storage2\"\n", new));
    assert_eq!(editor.names("group"), ["cachehal", "b"]);
    assert!(editor.remove("group", "b") && !editor.remove("group", "b"));
    assert_eq!(editor.text(), TEXT);
}

#[test]
fn the_first_of_a_kind_is_added_and_the_last_one_removed() {
    let text = edited(|e| {
        set(e.add("instance", "cache1").unwrap(), "kind", "gtm");
        assert!(e.remove("fence", "power"));
    });
    let end = "\n[[instance]]\nname = \"cache1\"\nkind = \"gtm\"\n";
    assert!(text.ends_with(end) && !text.contains("[[fence]]"), "{text}");
}

#[test]
fn inner_tables_that_are_not_kept_go_with_their_comments() {
    let text = edited(|e| keep_inners(e.find_mut("group", "cachehal").unwrap(), "filesystem", |_| false));
    assert!(
        !text.contains("/dev/sdc4") && !text.contains("in the rack") && text.contains("# what cuts power")
    );
}

#[test]
fn what_is_not_written_as_tables_is_refused() {
    let mut editor = Editor::read("instance = [{ name = \"a\" }]\n").unwrap();
    assert!(editor.add("instance", "b").unwrap_err().next[0].contains("[[instance]]"));
    assert_eq!(editor.text(), "instance = [{ name = \"a\" }]\n");
}

#[test]
fn a_table_of_which_there_is_one_comes_at_the_end_is_changed_in_its_place_and_goes_again() {
    let with = edited(|e| set(e.single("arbiter").unwrap(), "disk", "/dev/a"));
    assert_eq!(with, format!("{TEXT}\n[arbiter]\ndisk = \"/dev/a\"\n"));
    let mut editor = Editor::read(&with).unwrap();
    set(editor.single("arbiter").unwrap(), "disk", "/dev/b");
    assert_eq!(editor.text(), with.replace("/dev/a", "/dev/b"));
    assert!(editor.remove_single("arbiter") && !editor.remove_single("arbiter"));
    assert_eq!(editor.text(), TEXT);
    assert!(editor.single("fence").is_err());
}
