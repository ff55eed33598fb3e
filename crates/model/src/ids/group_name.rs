//! The name of a resource group, or of one node's part of a concurrent group.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NameError, NodeName, check_name};

/// What stands between a concurrent group and the node of an instance. It cannot be typed in a configuration.
const AT: char = '@';

/// The name of a resource group; or `group@node`, the name of a concurrent group's instance on a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

impl GroupName {
    /// Makes a name of `text`, as a configuration may say it: without an instance.
    ///
    /// # Errors
    /// See [`check_name`].
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check_name(&text)?;
        Ok(Self(text))
    }

    /// The name of a concurrent group's instance on a node.
    #[must_use]
    pub fn instance(group: &Self, node: &NodeName) -> Self {
        Self(format!("{}{AT}{node}", group.base()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group as the configuration names it: without the node of an instance.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.split_once(AT).map_or(&self.0, |(group, _)| group)
    }

    /// The node of an instance; `None` for any other group.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.0.split_once(AT).map(|(_, node)| node)
    }
}

impl TryFrom<String> for GroupName {
    type Error = NameError;

    /// Takes `group` as well as `group@node`.
    fn try_from(text: String) -> Result<Self, NameError> {
        match text.split_once(AT) {
            Some((group, node)) => check_name(group).and_then(|()| check_name(node))?,
            None => check_name(&text)?,
        }
        Ok(Self(text))
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_told_from_a_group_and_cannot_be_typed_as_one() {
        let group = GroupName::new("clients").unwrap();
        let instance = GroupName::instance(&group, &NodeName::new("lx4").unwrap());
        assert_eq!(
            (instance.as_str(), instance.base(), instance.node()),
            ("clients@lx4", "clients", Some("lx4"))
        );
        assert_eq!((group.base(), group.node()), ("clients", None));
        assert!(GroupName::new("clients@lx4").is_err());
        assert_eq!(GroupName::try_from("clients@lx4".to_owned()), Ok(instance));
        for bad in ["@lx4", "g@", "g@lx4@lx5", "g@-x", ""] {
            assert!(GroupName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
