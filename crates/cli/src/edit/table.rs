//! Keys and inner tables of one table.

use toml_edit::{ArrayOfTables, Item, Table, Value};

/// The blanks before the keys and headers of an inner table that is new.
const INDENT: &str = "  ";

/// The text of a key, if it is text.
#[must_use]
pub fn text_of<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

/// Gives a key a value. A comment behind the old value stays; a value that says the same already is not touched.
pub fn set(table: &mut Table, key: &str, value: impl Into<Value>) {
    let mut value = value.into();
    if let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) {
        if !says_the_same(old, &value) {
            value.decor_mut().clone_from(old.decor());
            *old = value;
        }
        return;
    }
    let indent = indent_of(table);
    table.insert(key, Item::Value(value));
    if let Some(mut key) = table.key_mut(key) {
        key.leaf_decor_mut().set_prefix(indent);
    }
}

/// Takes a key out.
pub fn unset(table: &mut Table, key: &str) {
    table.remove(key);
}

/// The inner tables of that kind: `[[group.kind]]`.
#[must_use]
pub fn inners<'a>(table: &'a Table, kind: &str) -> Vec<&'a Table> {
    let tables = table.get(kind).and_then(Item::as_array_of_tables);
    tables.into_iter().flatten().collect()
}

/// The same, to be changed.
pub fn inners_mut<'a>(table: &'a mut Table, kind: &str) -> Vec<&'a mut Table> {
    let tables = table.get_mut(kind).and_then(Item::as_array_of_tables_mut);
    tables.into_iter().flat_map(ArrayOfTables::iter_mut).collect()
}

/// Takes out the inner tables of that kind, counted from 0, that are not to be kept.
pub fn keep_inners(table: &mut Table, kind: &str, keep: impl Fn(usize) -> bool) {
    let Some(tables) = table.get_mut(kind).and_then(Item::as_array_of_tables_mut) else { return };
    for at in (0..tables.len()).rev() {
        if !keep(at) {
            tables.remove(at);
        }
    }
    if tables.is_empty() {
        table.remove(kind);
    }
}

/// Adds an inner table of that kind behind the others. None if the kind is written as something else.
pub fn add_inner<'a>(table: &'a mut Table, kind: &str) -> Option<&'a mut Table> {
    let item = table.entry(kind).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let tables = item.as_array_of_tables_mut()?;
    let mut inner = Table::new();
    inner.decor_mut().set_prefix(format!("\n{INDENT}"));
    tables.push(inner);
    tables.get_mut(tables.len() - 1)
}

fn says_the_same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::String(old), Value::String(new)) => old.value() == new.value(),
        (Value::Boolean(old), Value::Boolean(new)) => old.value() == new.value(),
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(a, b)| says_the_same(a, b))
        }
        (Value::InlineTable(old), Value::InlineTable(new)) => {
            let same = |(key, value): (&str, &Value)| old.get(key).is_some_and(|o| says_the_same(o, value));
            old.len() == new.len() && new.iter().all(same)
        }
        _ => false,
    }
}

/// As its other keys are indented, or as its header.
fn indent_of(table: &Table) -> String {
    let blanks = |text: &str| {
        let line = text.rsplit('\n').next().unwrap_or_default();
        line.chars().take_while(|c| c.is_whitespace()).collect::<String>()
    };
    let last = table.iter().filter(|(_, item)| item.is_value()).last().map(|(key, _)| key.to_owned());
    let prefix = match last.as_deref().and_then(|key| table.key(key)) {
        Some(key) => key.leaf_decor().prefix(),
        None => table.decor().prefix(),
    };
    prefix.and_then(|raw| raw.as_str()).map(blanks).unwrap_or_default()
}
