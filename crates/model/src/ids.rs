//! Names and numbers that must never be mistaken for one another.

use std::fmt;

use serde::{Deserialize, Serialize};

mod area_id;
mod group_name;
mod instance_name;

/// The longest name of a cluster, node, group or resource, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text is longer than [`NAME_BYTES_MAX`].
    TooLong,
    /// The text holds this character; letters, digits, `-`, `_` and `.` are allowed.
    Character(char),
    /// The text does not begin with a letter or a digit.
    Start(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a name cannot be empty"),
            Self::TooLong => write!(f, "a name has at most {NAME_BYTES_MAX} bytes"),
            Self::Character(c) => {
                write!(f, "{c:?} cannot stand in a name; use letters, digits, '-', '_' or '.'")
            }
            Self::Start(c) => write!(f, "a name begins with a letter or a digit, not with {c:?}"),
        }
    }
}

impl std::error::Error for NameError {}

/// Checks the one rule that all names share: they are safe in paths, logs, environment and interface labels.
///
/// # Errors
/// The first thing wrong with `text`.
pub fn check_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if let Some(c) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
        return Err(NameError::Character(c));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start(first));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Makes a name of `text`.
            ///
            /// # Errors
            /// See [`check_name`].
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check_name(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

name! {
    /// The name of a cluster.
    ClusterName
}
name! {
    /// The name of a node or of a witness, unique among both.
    NodeName
}
pub use area_id::{AreaId, NoAreaId};
pub use group_name::GroupName;
pub use instance_name::{INSTANCE_NAME_BYTES_MAX, INSTANCE_RESOURCE_PREFIX, InstanceName};

name! {
    /// The name of a resource, unique within its group.
    ResourceName
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        pub struct $type(pub u64);

        impl $type {
            /// The number after this one.
            ///
            /// # Panics
            /// When 2^64 - 1 is passed, which no cluster lives to see.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).unwrap_or_else(|| panic!("{} overflows", stringify!($type))))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A voter in the replicated log: one life of one node's durable state. A node that lost its state gets a new one.
    NodeId
}
number! {
    /// One life of a node's guard (L11). Unique per [`NodeId`]; a daemon restart keeps it, a reboot or a lapsed lease ends it.
    Incarnation
}
number! {
    /// The number of one ownership of one group; grows with every new ownership, in the order of the log.
    Epoch
}
number! {
    /// The number of one promise of one voter (L5): a withdrawn round proves nothing any more.
    Round
}

/// One incarnation of one node: what a lease, a promise and a fence proof are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IncarnationOf {
    /// The node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

impl fmt::Display for IncarnationOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.incarnation)
    }
}

/// The identity of one boot of a machine (`/proc/sys/kernel/random/boot_id`; in the lab, the lab's own).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
