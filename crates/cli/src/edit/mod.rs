//! The text of a configuration, changed in places: comments, order and spacing of everything else stay as they are.
//!
//! It knows tables and keys and nothing of what they mean: whoever edits has the text parsed and verified afterwards.

mod member;
mod table;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use crate::trouble::{Result, Trouble};

pub use member::without_member;
pub use table::{add_inner, inners, inners_mut, keep_inners, set, text_of, unset};

/// The text of a configuration while it is edited.
#[derive(Debug, Clone)]
pub struct Editor {
    document: DocumentMut,
}

impl Editor {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is no TOML; a configuration in force always is.
    pub fn read(text: &str) -> Result<Self> {
        let document =
            text.parse().map_err(|e| Trouble::usage(format!("the configuration cannot be edited: {e}")))?;
        Ok(Self { document })
    }

    /// The text as it is now.
    #[must_use]
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// The names of all `[[kind]]`, in the order of the text.
    #[must_use]
    pub fn names(&self, kind: &str) -> Vec<String> {
        let tables = self.document.get(kind).and_then(Item::as_array_of_tables);
        tables.into_iter().flatten().filter_map(|t| text_of(t, "name")).map(str::to_owned).collect()
    }

    /// The `[[kind]]` of that name.
    #[must_use]
    pub fn find(&self, kind: &str, name: &str) -> Option<&Table> {
        let tables = self.document.get(kind)?.as_array_of_tables()?;
        tables.iter().find(|t| text_of(t, "name") == Some(name))
    }

    /// The same, to be changed.
    #[must_use]
    pub fn find_mut(&mut self, kind: &str, name: &str) -> Option<&mut Table> {
        let tables = self.document.get_mut(kind)?.as_array_of_tables_mut()?;
        tables.iter_mut().find(|t| text_of(t, "name") == Some(name))
    }

    /// Adds a `[[kind]]` of that name behind the others, or at the end.
    ///
    /// # Errors
    /// When `kind` is written as something else than tables; nothing is changed then.
    pub fn add(&mut self, kind: &str, name: &str) -> Result<&mut Table> {
        let item = self.document.entry(kind).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let Some(tables) = item.as_array_of_tables_mut() else {
            return Err(not_tables(kind));
        };
        let mut table = Table::new();
        table.decor_mut().set_prefix("\n");
        set(&mut table, "name", name);
        tables.push(table);
        let last = tables.len() - 1;
        tables.get_mut(last).ok_or_else(|| not_tables(kind))
    }

    /// The one `[kind]`, which is added at the end if there is none.
    ///
    /// # Errors
    /// When `kind` is written as something else than a table; nothing is changed then.
    pub fn single(&mut self, kind: &str) -> Result<&mut Table> {
        let item = self.document.entry(kind).or_insert_with(|| {
            let mut table = Table::new();
            table.decor_mut().set_prefix("\n");
            Item::Table(table)
        });
        item.as_table_mut().ok_or_else(|| {
            Trouble::usage(format!("the configuration does not write `{kind}` as [{kind}]")).next(format!(
                "write it as a table [{kind}]: regent config show > FILE, then regent apply FILE"
            ))
        })
    }

    /// Takes the one `[kind]` out. Whether there was one.
    pub fn remove_single(&mut self, kind: &str) -> bool {
        self.document.remove(kind).is_some()
    }

    /// Takes a `[[kind]]` of that name out, with all that is inside it. Whether there was one.
    pub fn remove(&mut self, kind: &str, name: &str) -> bool {
        let Some(tables) = self.document.get_mut(kind).and_then(Item::as_array_of_tables_mut) else {
            return false;
        };
        let before = tables.len();
        tables.retain(|t| text_of(t, "name") != Some(name));
        let removed = tables.len() < before;
        if tables.is_empty() {
            self.document.remove(kind);
        }
        removed
    }
}

fn not_tables(kind: &str) -> Trouble {
    Trouble::usage(format!("the configuration does not write `{kind}` as [[{kind}]]")).next(format!(
        "write each as a [[{kind}]] of its own: regent config show > FILE, then regent apply FILE"
    ))
}

#[cfg(test)]
mod tests;
