//! How a case ended, and whose doing it was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The word as it was stored.
            pub fn from_stored(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// How a case ended.
    Outcome {
        /// Every deciding column passed.
        Passed = "passed",
        /// A deciding column failed.
        Failed = "failed",
        /// The agent's time was up.
        TimedOut = "timed_out",
        /// The failure was not witnessed, or a control passed: no verdict on any agent.
        Invalid = "invalid",
        /// Something other than the agent broke.
        Error = "error",
        /// A prerequisite is not met; nothing was done.
        Skipped = "skipped",
        /// The run was interrupted.
        Interrupted = "interrupted",
    }
}

words! {
    /// Whose doing a non-pass was.
    Class {
        /// The agent under test.
        Agent = "agent",
        /// The failure, its metadata, a missing prerequisite.
        Test = "test",
        /// Cluster, provider, harness.
        Infrastructure = "infrastructure",
    }
}

words! {
    /// The outcome in one word for dashboards: `pass`, `fail`, or `none` where no agent was judged.
    Status {
        /// The agent passed.
        Pass = "pass",
        /// The agent did not pass.
        Fail = "fail",
        /// The agent was not judged.
        None = "none",
    }
}

impl Outcome {
    /// `pass`, `fail` or `none`.
    pub fn status(self, class: Option<Class>) -> Status {
        match (self, class) {
            (Self::Passed, _) => Status::Pass,
            (Self::Failed, _) | (Self::TimedOut, Some(Class::Agent)) => Status::Fail,
            _ => Status::None,
        }
    }
}
