//! Why there is no cluster, or why one is still there: each with whose doing it is and what to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::PROVISIONERS;

/// Why there is no cluster. [`ProvisionError::is_input`] tells an input that is wrong from a cluster that is not well.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The matrix names a provisioner that this version does not have.
    #[error("provisioner `{name}` is not available in this version; available: {}", PROVISIONERS.join(", "))]
    Unknown {
        /// As the matrix names it.
        name: String,
    },
    /// The template is none that the provisioner has.
    #[error("provisioner `{provisioner}` has no template `{template}`; it has: {available}")]
    Template {
        /// The provisioner.
        provisioner: &'static str,
        /// As the matrix names it.
        template: String,
        /// Comma-separated.
        available: String,
    },
    /// A kubeconfig cannot be used.
    #[error("kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// The file, or several as in `$KUBECONFIG`.
        path: PathBuf,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A context leads elsewhere than it did.
    #[error("context `{context}` of {} leads to {now}; it led to {server}", path.display())]
    Moved {
        /// The file.
        path: PathBuf,
        /// The context.
        context: String,
        /// Where it led.
        server: String,
        /// Where it leads.
        now: String,
    },
    /// No credentials could be had, or the API server does not take them.
    #[error(
        "the API server {server} (context `{context}`) takes no requests of ours: {why}; renew the credentials of its \
         user in the kubeconfig"
    )]
    Credentials {
        /// Its address.
        server: String,
        /// The context.
        context: String,
        /// What was said.
        why: String,
    },
    /// The API server does not answer, or says that it is not ready.
    #[error(
        "the API server {server} (context `{context}`) cannot be used: {why}; check that the cluster is up and that this \
         machine reaches it"
    )]
    Unreachable {
        /// Its address.
        server: String,
        /// The context.
        context: String,
        /// What failed.
        why: String,
    },
    /// A program that makes clusters is not there.
    #[error("the program `{program}` is not on PATH: {install}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// How to get it.
        install: &'static str,
    },
    /// A program that makes clusters is there and cannot be started.
    #[error("the program `{program}` cannot be started: {why}")]
    NotStarted {
        /// Its name.
        program: &'static str,
        /// What the system says.
        why: String,
    },
    /// A program did not answer a question in its time.
    #[error("`{command}` did not end within {} s and was ended{}", after.as_secs(), quoted(said))]
    Silent {
        /// The command, as one would type it.
        command: String,
        /// How long it was given.
        after: Duration,
        /// The end of what it said until then.
        said: String,
    },
    /// A program did not answer a question.
    #[error("`{command}` failed: {said}")]
    Refused {
        /// The command, as one would type it.
        command: String,
        /// The end of what it said.
        said: String,
    },
    /// What runs the nodes of a cluster does not.
    #[error(
        "kind has no container engine to work with: {said}; start docker (or podman, nerdctl), let this user use it, and \
         check DOCKER_HOST and KIND_EXPERIMENTAL_PROVIDER"
    )]
    Engine {
        /// What kind said.
        said: String,
    },
    /// There is a cluster of that name already. It is not ours and is left alone.
    #[error("there is a kind cluster `{name}` already; if nobody needs it: kind delete cluster --name {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The image of the nodes cannot be had.
    #[error(
        "kind cannot pull the node image: {said}; check `template` in the matrix against the images of \
         https://github.com/kubernetes-sigs/kind/releases, and that this machine reaches the registry"
    )]
    Image {
        /// What kind said.
        said: String,
    },
    /// `kind create cluster` ended with an error.
    #[error("kind could not create the cluster `{name}` ({how}): {said}")]
    CreateFailed {
        /// The cluster.
        name: String,
        /// How the program ended.
        how: String,
        /// The end of what it said.
        said: String,
    },
    /// `kind create cluster` did not end.
    #[error(
        "kind did not create the cluster `{name}` within {} s and was ended{}; see whether this machine has the memory \
         and the network for it",
        after.as_secs(),
        quoted(said)
    )]
    CreateHung {
        /// The cluster.
        name: String,
        /// How long it was given.
        after: Duration,
        /// The end of what it said until then.
        said: String,
    },
    /// A cluster was made and does not work.
    #[error("kind created the cluster `{name}`, but it does not become ready: {why}")]
    NotReady {
        /// The cluster.
        name: String,
        /// What is wrong with it.
        why: Box<ProvisionError>,
    },
    /// `kind delete cluster` ended with an error.
    #[error(
        "the kind cluster `{name}` could not be deleted: {said}; the next run and `harness-cli recover` try again; by \
         hand: kind delete cluster --name {name}"
    )]
    DeleteFailed {
        /// The cluster.
        name: String,
        /// The end of what the program said.
        said: String,
    },
    /// `kind delete cluster` did not end.
    #[error(
        "the kind cluster `{name}` was not deleted within {} s{}; the next run and `harness-cli recover` try again; by \
         hand: kind delete cluster --name {name}",
        after.as_secs(),
        quoted(said)
    )]
    DeleteHung {
        /// The cluster.
        name: String,
        /// How long it was given.
        after: Duration,
        /// The end of what the program said until then.
        said: String,
    },
    /// There is no cluster, and what was made of it could not be removed.
    #[error("{error}; and {left}")]
    Left {
        /// Why there is no cluster.
        error: Box<ProvisionError>,
        /// Why something is left of it.
        left: Box<ProvisionError>,
    },
    /// It cannot be written down what is made, so nothing is: a kill would leave it for ever.
    #[error("clusters that outlive the harness are noted in {}, and that cannot be done: {why}", path.display())]
    Claim {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What a program said, where it said anything.
fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {said}") }
}

impl ProvisionError {
    /// Whether a file that somebody wrote is at fault; otherwise it is the infrastructure.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Template { .. } | Self::Kubeconfig { .. } | Self::Moved { .. })
    }
}
