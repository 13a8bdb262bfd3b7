//! An embedded cluster by itself, for people, kubectl and tests.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use embedded::{Cluster, Options, Server};

use crate::ApiError;

/// A cluster that is up. Dropping it ends it; [`RunningCluster::shutdown`] also waits for its end.
#[derive(Debug)]
pub struct RunningCluster {
    cluster: Cluster,
    server: Server,
    kubeconfig: Kubeconfig,
}

/// Where the kubeconfig lies; it is removed at the end, because the cluster behind it is gone then.
#[derive(Debug)]
struct Kubeconfig(PathBuf);

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        // Nothing can be done about it, and without its cluster the file is harmless.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Starts a cluster on a free port of the loopback interface and writes its kubeconfig, readable by its owner only.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// No port can be bound, or the file cannot be written.
pub async fn cluster_up(kubeconfig: Option<PathBuf>) -> Result<RunningCluster, ApiError> {
    let cluster = Cluster::start(Options::default());
    let server = cluster
        .serve(([127, 0, 0, 1], 0).into())
        .await
        .map_err(|error| ApiError::input(format!("the cluster cannot be served: {error}")))?;
    let path = kubeconfig
        .unwrap_or_else(|| std::env::temp_dir().join(format!("harness-cluster-{}.kubeconfig", std::process::id())));
    write_private(&path, &server.kubeconfig())?;
    Ok(RunningCluster { cluster, server, kubeconfig: Kubeconfig(path) })
}

impl RunningCluster {
    /// Where its kubeconfig lies.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig.0
    }

    /// Ends it and everything that is connected to it, and removes its kubeconfig.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
        drop(self.cluster);
    }
}

/// Writes a file that holds a token.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), ApiError> {
    let io = |error| ApiError::io("write", path, error);
    // An old file keeps its mode when it is opened for writing, so it goes first.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)
}
