//! What the gate writes down before it changes anything, so that it can be undone, also by another process. Where it is
//! kept is somebody else's: [`Journal`] is implemented here in memory, for clusters that end with this process, and by
//! the store on disk.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::Party;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The object that an entry is about. `version` is the one it was asked by; two keys that differ only there name one
/// object, which is why it takes no part in comparisons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource.
    pub resource: String,
    /// Namespace; empty for objects of the cluster itself, namespaces among them.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    fn identity(&self) -> (&str, &str, &str, &str) {
        (&self.group, &self.resource, &self.namespace, &self.name)
    }

    /// The path of the collection, as in `/apis/apps/v1/namespaces/shop/deployments`.
    pub fn collection(&self) -> String {
        let group = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let namespace =
            if self.namespace.is_empty() { String::new() } else { format!("/namespaces/{}", self.namespace) };
        format!("{group}/{}{namespace}/{}", self.version, self.resource)
    }

    /// The path of the object.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ObjectKey {}

impl std::hash::Hash for ObjectKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        f.write_str(" ")?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A write that is about to be forwarded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Who asks.
    pub party: Party,
    /// `create`, `update`, `patch`, `delete`; a deletecollection is a `delete` for each object.
    pub verb: String,
    /// Subresource, where there is one. The images are of the object itself, never of the subresource.
    pub subresource: String,
    /// The object.
    pub key: ObjectKey,
    /// The object as it was read just before, pinned by its resourceVersion; none: it was not there.
    pub before: Option<Value>,
    /// What a create carries in its annotation, so that it can be told from another's object of the same name.
    pub nonce: Option<String>,
    /// It cannot be undone, and a grant said that it need not be.
    pub irreversible: bool,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It may have been forwarded.
    Intended,
    /// It took effect.
    Done {
        /// The object afterwards; none: it is not there any more.
        after: Option<Value>,
    },
    /// It took no effect.
    Refused,
    /// The answer was lost and reading did not settle it.
    Unknown,
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; numbers grow in the order in which entries were made.
    pub id: u64,
    /// What was about to happen.
    pub intent: Intent,
    /// What became of it.
    pub state: State,
}

/// The journal could not be written or read. Nothing may be forwarded then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal: {0}")]
pub struct JournalError(pub String);

/// The journal of one case.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Writes an intent down. When it resolves, the entry survives the end of this process and of the machine, as far as
    /// the cluster does.
    fn intend(&self, intent: Intent) -> BoxFuture<'_, Result<u64, JournalError>>;

    /// Writes down what became of an entry. Need not survive: an entry that is still intended is settled by reading.
    fn settle(&self, id: u64, state: State) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Every entry, in order.
    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>>;
}

/// A journal that ends with this process, for a cluster that does so too.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Vec<Entry>>);

impl Journal for MemoryJournal {
    fn intend(&self, intent: Intent) -> BoxFuture<'_, Result<u64, JournalError>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = entries.len() as u64;
        entries.push(Entry { id, intent, state: State::Intended });
        std::future::ready(Ok(id)).boxed()
    }

    fn settle(&self, id: u64, state: State) -> BoxFuture<'_, Result<(), JournalError>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = usize::try_from(id).ok().and_then(|id| entries.get_mut(id));
        let settled = entry.map(|entry| entry.state = state).ok_or_else(|| JournalError(format!("no entry {id}")));
        std::future::ready(settled).boxed()
    }

    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        std::future::ready(Ok(entries)).boxed()
    }
}
