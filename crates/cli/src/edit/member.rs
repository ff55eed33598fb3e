//! A configuration without one of its members.

use toml_edit::{Array, InlineTable, Item, Table, TableLike, Value};

use crate::trouble::{Result, Trouble};

use super::Editor;

/// The keys that list nodes.
const LISTS: [&str; 1] = ["nodes"];
/// The keys under which every node has a value of its own.
const VALUES: [&str; 3] = ["plugs", "delay", "devices"];

/// The text without the `[[node]]` or `[[witness]]` of this name, and without the name where nodes are listed. A fence
/// device that is left without a node is taken out, too.
///
/// # Errors
/// When there is none of that name, or a group has no other node.
pub fn without_member(text: &str, name: &str) -> Result<String> {
    let mut editor = Editor::read(text)?;
    if !(editor.remove("node", name) || editor.remove("witness", name)) {
        let known = [editor.names("node"), editor.names("witness")].concat().join(", ");
        let what = format!("the configuration in force has no node and no witness {name}");
        return Err(Trouble::refused(what).next(format!("the members are: {known}")));
    }
    for group in editor.names("group") {
        let only = editor.find("group", &group).and_then(|t| t.get("nodes")?.as_array());
        if only.is_some_and(|nodes| nodes.len() == 1 && names(nodes, name)) {
            let what = format!("{group} has no other node than {name}");
            let next = format!(
                "add one to its nodes, or take it out of the configuration: regent apply FILE; then again: regent node remove \
                 {name}"
            );
            return Err(Trouble::refused(what).next(next));
        }
    }
    for fence in editor.names("fence") {
        let only = editor.find("fence", &fence).and_then(|t| t.get("nodes")?.as_array());
        if only.is_some_and(|nodes| nodes.len() == 1 && names(nodes, name)) {
            editor.remove("fence", &fence);
        }
    }
    forget(editor.document.as_table_mut(), name);
    Ok(editor.text())
}

fn names(list: &Array, name: &str) -> bool {
    list.iter().any(|value| value.as_str() == Some(name))
}

fn forget(table: &mut Table, name: &str) {
    for (key, item) in table.iter_mut() {
        let key = key.get();
        if LISTS.contains(&key)
            && let Some(list) = item.as_array_mut()
        {
            take_out(list, name);
        }
        if VALUES.contains(&key)
            && let Some(values) = item.as_table_like_mut()
        {
            values.remove(name);
        }
        if VALUES.contains(&key)
            && let Some(values) = item.as_inline_table_mut()
        {
            closes(values);
        }
        inside(item, name);
    }
}

/// The name, and with it the comma; what stands before the first of a list stays there.
fn take_out(list: &mut Array, name: &str) {
    loop {
        let found = list.iter().position(|value| value.as_str() == Some(name));
        let Some(at) = found else { return };
        let removed = list.remove(at);
        if at == 0
            && let Some(first) = list.get_mut(0)
        {
            first.decor_mut().clone_from(removed.decor());
        }
    }
}

/// Before the closing brace there is a blank, as it was when another value stood there.
fn closes(values: &mut InlineTable) {
    let last = values.len().saturating_sub(1);
    for (at, (_, value)) in values.iter_mut().enumerate() {
        value.decor_mut().set_suffix(if at == last { " " } else { "" });
    }
}

fn inside(item: &mut Item, name: &str) {
    match item {
        Item::Table(table) => forget(table, name),
        Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| forget(table, name)),
        Item::Value(Value::InlineTable(table)) => {
            for (key, value) in TableLike::iter_mut(table) {
                if LISTS.contains(&key.get())
                    && let Some(list) = value.as_array_mut()
                {
                    take_out(list, name);
                }
            }
        }
        Item::Value(_) | Item::None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[[node]]
name = \"lx4\"

# the old one
[[node]]
name = \"lx5\"
addresses = [\"10.77.0.5\"]
[[node.adapter]]
interface = \"eth0\"

[[node]]
name = \"lx6\"

[[witness]]
name = \"wit\"

[[fence]]
name = \"power\"
nodes = [\"lx4\", \"lx5\", \"lx6\"]   # all of them
plugs = { lx4 = \"3\", lx5 = \"4\" }
delay = \"2s\"

[[fence]]
name = \"ipmi5\"
nodes = [\"lx5\"]

[[group]]
name = \"web\"
nodes = [\"lx5\", \"lx4\"]   # at home on lx5

[[group]]
name = \"own\"
nodes = [\"lx6\"]
";

    #[test]
    fn a_member_is_taken_out_wherever_it_is_named_and_nothing_else_changes() {
        let text = without_member(TEXT, "lx5").unwrap();
        let own = "# the old one\n[[node]]\nname = \"lx5\"\naddresses = [\"10.77.0.5\"]\n[[node.adapter]]\ninterface = \
                   \"eth0\"\n\n";
        let expected = TEXT
            .replace(own, "")
            .replace("[[fence]]\nname = \"ipmi5\"\nnodes = [\"lx5\"]\n\n", "")
            .replace("\"lx4\", \"lx5\", \"lx6\"", "\"lx4\", \"lx6\"")
            .replace("{ lx4 = \"3\", lx5 = \"4\" }", "{ lx4 = \"3\" }")
            .replace("[\"lx5\", \"lx4\"]", "[\"lx4\"]");
        assert_eq!(text, expected);
        let text = without_member(TEXT, "wit").unwrap();
        assert_eq!(text, TEXT.replace("[[witness]]\nname = \"wit\"\n\n", ""));
    }

    #[test]
    fn a_stranger_and_the_only_node_of_a_group_are_refused() {
        let why = |name| format!("{:?}", without_member(TEXT, name).unwrap_err());
        assert!(why("lx9").contains("no node and no witness lx9"));
        assert!(why("lx6").contains("own has no other node than lx6"));
    }
}
