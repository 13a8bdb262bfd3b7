//! What the server makes of patches and selectors, without a server around it, for those who hold it against laws. It is
//! the code that serves them.

use std::sync::Arc;

use serde_json::Value;
use simulation::Refusal;

use crate::registry::{Info, Registry};
use crate::selectors::{FieldSelector, LabelSelector};
use crate::{apply, patch, typed};

/// A resource of the built-in table.
#[derive(Clone, Debug)]
pub struct Foreign {
    info: Arc<Info>,
}

impl Foreign {
    /// None where the server does not have it.
    pub fn resource(group: &str, version: &str, plural: &str) -> Option<Self> {
        Registry::default().find(group, version, plural).cloned().map(|info| Self { info })
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        self.info.resource.api_version()
    }

    /// `Deployment`.
    pub fn kind(&self) -> &'static str {
        self.info.resource.kind
    }

    /// An object as the server's types hold it; fields that they do not know are gone.
    ///
    /// # Errors
    /// A value does not fit its field.
    pub fn in_types(&self, object: Value) -> Result<Value, Refusal> {
        Ok(typed::convert(&self.info, object, &mut Vec::new())?)
    }

    /// What a patch of this media type makes of an object.
    ///
    /// # Errors
    /// The media type is none of a patch (server-side apply is [`Foreign::apply`]), or the patch cannot be applied.
    pub fn patch(&self, media_type: &str, object: &Value, patch: Value) -> Result<Value, Refusal> {
        Ok(patch::apply(patch::kind(media_type, false)?, &self.info, object, patch)?)
    }

    /// An object with a configuration of `manager` laid over it: server-side apply. Both are in the server's types.
    ///
    /// # Errors
    /// Another manager owns what the configuration would change, and `force` is not given.
    pub fn apply(&self, live: &Value, config: Value, manager: &str, force: bool) -> Result<Value, Refusal> {
        Ok(apply::laid_over(&self.info, live, config, manager, force)?)
    }

    /// A field selector in its canonical spelling, and whether it selects an object.
    ///
    /// # Errors
    /// It is none, or none of this resource.
    pub fn select_fields(&self, selector: &str, object: &Value) -> Result<(String, bool), Refusal> {
        let selector = FieldSelector::parse(&self.info, selector)?;
        Ok((selector.to_string(), selector.matches(object)))
    }
}

/// A label selector in its canonical spelling, and whether it selects each of these sets of labels.
///
/// # Errors
/// It is none.
pub fn select_labels(selector: &str, labels: &[Value]) -> Result<(String, Vec<bool>), Refusal> {
    let selector = LabelSelector::parse(selector)?;
    Ok((selector.to_string(), labels.iter().map(|labels| selector.matches_labels(labels)).collect()))
}
