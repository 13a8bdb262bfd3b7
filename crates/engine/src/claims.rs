//! Whether a component says the same of itself as the file says that it came in. Grants and the blast radius that people
//! are shown follow from the file, of which no code is run; a component that says otherwise is not what was shown.

use catalog::{Failure, Implementation, Metadata};

use crate::Plugins;
use crate::record::End;

/// Asks the component. Ours, which run steps and scripts, serve any metadata.
pub(crate) async fn check(plugins: &Plugins, failure: &Failure) -> Result<(), End> {
    if !matches!(failure.implementation, Implementation::Component(_)) {
        return Ok(());
    }
    let id = failure.id();
    let plugin = plugins.load(failure).map_err(|error| End::test(error.to_string()))?;
    let own = plugin.metadata().await;
    let own = own.map_err(|error| End::test(format!("failure `{id}` does not tell its metadata: {error}")))?;
    let Some(own) = own else { return Ok(()) };
    match Metadata::from_json("the component's metadata", &own) {
        Ok(own) if own == failure.metadata => Ok(()),
        _ => Err(End::test(format!(
            "the component of failure `{id}` tells other metadata of itself than its file: build it again with \
             `harness-cli failures build`, or do not trust it"
        ))),
    }
}
