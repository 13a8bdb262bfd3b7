//! `cluster up`

use std::path::PathBuf;

use api::Cancel;

use super::runtime;
use crate::interrupt;
use crate::problem::Problem;
use crate::terminal::{Terminal, print};

pub(crate) fn up(kubeconfig: Option<PathBuf>, terminal: Terminal) -> Result<u8, Problem> {
    runtime()?.block_on(async {
        let (canceller, cancel) = Cancel::new();
        interrupt::listen(canceller, interrupt::Words::plain("Interrupted: the cluster ends."))?;
        let cluster = api::cluster_up(kubeconfig).await?;
        print(&format!("KUBECONFIG={}\n", cluster.kubeconfig().display()))?;
        terminal.say("The cluster is up until it is interrupted (Ctrl-C).");
        cancel.raised().await;
        cluster.shutdown().await;
        // Being interrupted is how this command is meant to end.
        Ok(0)
    })
}
