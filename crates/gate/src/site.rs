//! Clusters as the operator's file sees them: those that a provisioner made may be used by default, others only by name.

use crate::grants::{ClusterGrant, Grants};
use crate::normal_server;
use crate::stanza::word;

/// A cluster on which something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    /// The name that grants know it by: the context of an existing one, its id in the matrix of one that is made.
    pub name: &'a str,
    /// The address of an existing one; none: a provisioner made it for us, and it goes with us.
    pub server: Option<&'a str>,
}

impl<'a> Site<'a> {
    /// A cluster that a provisioner made.
    pub fn made(name: &'a str) -> Self {
        Self { name, server: None }
    }

    /// A cluster that was there before us.
    pub fn existing(context: &'a str, server: &'a str) -> Self {
        Self { name: context, server: Some(server) }
    }
}

/// A cluster that may not be used: the operator has not named it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster {server} (context `{context}`) is not in the grants file{}, so nothing may be run on it; to allow \
         it, add\n{}", other(.named), self.lines())]
pub struct NotNamed {
    /// Its context.
    pub context: String,
    /// Its address.
    pub server: String,
    /// Where the grants file says that the context leads.
    pub named: Vec<String>,
}

fn other(named: &[String]) -> String {
    match named {
        [] => String::new(),
        some => format!(", which says that this context leads to {}", some.join(", ")),
    }
}

impl NotNamed {
    /// The lines that would allow it.
    pub fn lines(&self) -> String {
        format!("clusters:\n  - {{context: {}, server: {}}}", word(&self.context), word(&self.server))
    }
}

impl Grants {
    /// Whether a cluster may be used at all. What comes back is its entry; none for one that a provisioner made, which
    /// needs none.
    ///
    /// # Errors
    /// [`NotNamed`]: it is an existing one, and no entry has both its context and its address.
    pub fn cluster(&self, site: Site<'_>) -> Result<Option<&ClusterGrant>, NotNamed> {
        let Some(server) = site.server.map(normal_server) else { return Ok(None) };
        let named: Vec<&ClusterGrant> = self.clusters.iter().filter(|c| c.context == site.name).collect();
        let found = named.iter().find(|cluster| normal_server(&cluster.server) == server);
        found.map(|cluster| Some(*cluster)).ok_or_else(|| NotNamed {
            context: site.name.to_owned(),
            server,
            named: named.into_iter().map(|cluster| cluster.server.clone()).collect(),
        })
    }
}
