//! Parents and children in the replicated state.

use crate::ids::{Epoch, GroupName};
use crate::state::{Ownership, Phase, State, Tenure};

impl State {
    /// The groups that run only while `parent` does, and have an owner.
    pub fn owned_children<'a>(
        &'a self,
        parent: &'a GroupName,
    ) -> impl Iterator<Item = (&'a GroupName, &'a Ownership)> {
        self.config.groups.iter().filter_map(move |config| {
            let child = config.relations.parent.as_ref() == Some(parent);
            let ownership = child.then(|| self.ownership(&config.name)).flatten()?;
            Some((&config.name, ownership))
        })
    }

    /// The epoch under which the parent of `name` is online; `None` if it has no parent.
    ///
    /// # Errors
    /// When the parent is not online: nothing of its children may be acquired.
    pub(super) fn parents_epoch(&self, name: &GroupName) -> Result<Option<Epoch>, String> {
        let Some(parent) = self.config.group(name).and_then(|g| g.relations.parent.as_ref()) else {
            return Ok(None);
        };
        match self.ownership(parent) {
            Some(o) if o.phase == Phase::Online => Ok(Some(o.epoch)),
            _ => Err(format!("{parent}, the parent of {name}, is not online")),
        }
    }

    /// The parent goes on under another epoch, and was not taken down for it: its children stay.
    pub(super) fn keep_children(&mut self, parent: &GroupName, before: Epoch, after: Epoch) {
        let children: Vec<GroupName> = self.owned_children(parent).map(|(name, _)| name.clone()).collect();
        for child in children {
            if let Some(Tenure::Owned(o)) = self.groups.get_mut(&child).map(|g| &mut g.tenure)
                && o.parent_epoch == Some(before)
            {
                o.parent_epoch = Some(after);
            }
        }
    }
}
