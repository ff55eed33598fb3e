//! The name of a database instance.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NameError, ResourceName, check_name};

/// What stands before an instance's name in the name of its resource.
/// The resource of an instance, and with it its control group, is named so, and by its name.
pub const INSTANCE_RESOURCE_PREFIX: &str = "instance-";

/// The longest name of an instance, in bytes: its resource's name must be one, too.
pub const INSTANCE_NAME_BYTES_MAX: usize = super::NAME_BYTES_MAX - INSTANCE_RESOURCE_PREFIX.len();

/// The name of an instance. Case does not matter: it is kept, compared and shown in upper case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName(String);

impl InstanceName {
    /// Makes a name of `text`, whatever its case.
    ///
    /// # Errors
    /// See [`check_name`]; and an instance's name has at most [`INSTANCE_NAME_BYTES_MAX`] bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        check_name(text)?;
        if text.len() > INSTANCE_NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(text.to_ascii_uppercase()))
    }

    /// The name in upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its resource in its group: `instance-NAME`.
    #[must_use]
    pub fn resource(&self) -> ResourceName {
        ResourceName(format!("{INSTANCE_RESOURCE_PREFIX}{}", self.0))
    }
}

impl TryFrom<String> for InstanceName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<InstanceName> for String {
    fn from(name: InstanceName) -> Self {
        name.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instances_differ_not_by_case_alone() {
        let name = InstanceName::new("cacheHa1").unwrap();
        assert_eq!(name, InstanceName::new("CACHEHA1").unwrap());
        assert_eq!((name.as_str(), name.resource().as_str()), ("CACHEHA1", "instance-CACHEHA1"));
        assert!(InstanceName::new("").is_err() && InstanceName::new("a b").is_err());
        assert!(check_name(InstanceName::new("x".repeat(54)).unwrap().resource().as_str()).is_ok());
        assert_eq!(InstanceName::new("x".repeat(55)), Err(NameError::TooLong));
    }
}
