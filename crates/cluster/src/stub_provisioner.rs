//! An existing cluster, by kubeconfig and context. Nothing is made and nothing is removed: what a case leaves is put back
//! by undoing it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use model::ClusterKind;

use crate::{Cluster, ClusterRef, ProvisionError, ProvisionRequest, Provisioner, connect, kubeconfig};

/// Hands out one existing cluster.
#[derive(Clone, Debug)]
pub struct StubProvisioner {
    reference: ClusterRef,
}

impl StubProvisioner {
    /// Finds kubeconfig and context; asks no cluster. See [`crate::Source`] for what is left out.
    ///
    /// # Errors
    /// [`ProvisionError::Kubeconfig`].
    pub fn find(file: Option<&str>, context: Option<&str>) -> Result<Self, ProvisionError> {
        let path = kubeconfig::locate(file)?;
        let (config, reference) = kubeconfig::read(&path, context)?;
        match kubeconfig::program(&config) {
            Some(program) if !kubeconfig::is_the_operators(&path) => {
                let why = format!(
                    "context `{}` runs the program `{program}` for its credentials; that is done only for kubeconfigs \
                     below ~/.kube or named by $KUBECONFIG, because a matrix may name any file",
                    reference.context
                );
                Err(ProvisionError::Kubeconfig { path, why })
            }
            _ => Ok(Self { reference }),
        }
    }
}

impl Provisioner for StubProvisioner {
    fn kind(&self) -> ClusterKind {
        ClusterKind::Stub
    }

    fn existing(&self) -> Option<&ClusterRef> {
        Some(&self.reference)
    }

    fn reusable(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        connect::PATIENCE
    }

    fn provision(&self, _request: ProvisionRequest) -> BoxFuture<'_, Result<Cluster, ProvisionError>> {
        connect::connect(&self.reference).boxed()
    }
}
