//! Declarative changes: what `induce:`, reference fixes and wrong fixes are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ObjectRef;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
pub enum Step {
    /// Patches an object.
    Patch {
        /// Which.
        target: ObjectRef,
        /// With what.
        with: Value,
        /// By which rules.
        patch_type: PatchType,
    },
    /// Server-side apply of a whole object.
    Apply(Value),
    /// Creates an object.
    Create(Value),
    /// Deletes an object.
    Delete(ObjectRef),
}

/// The rules of a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatchType {
    /// Kubernetes' own: lists are merged by key.
    #[default]
    Strategic,
    /// RFC 7386.
    Merge,
    /// RFC 6902: a list of operations.
    Json,
}

/// A step as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patch: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with: Option<Value>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    patch_type: Option<PatchType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    apply: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    create: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete: Option<ObjectRef>,
}

impl TryFrom<Written> for Step {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written { patch: Some(target), with: Some(with), patch_type, apply: None, create: None, delete: None } => {
                Ok(Self::Patch { target, with, patch_type: patch_type.unwrap_or_default() })
            }
            Written { apply: Some(object), patch: None, with: None, patch_type: None, create: None, delete: None } => {
                Ok(Self::Apply(object))
            }
            Written { create: Some(object), patch: None, with: None, patch_type: None, apply: None, delete: None } => {
                Ok(Self::Create(object))
            }
            Written { delete: Some(target), patch: None, with: None, patch_type: None, apply: None, create: None } => {
                Ok(Self::Delete(target))
            }
            _ => Err("a step is one of `patch` + `with`, `apply`, `create`, `delete`".to_owned()),
        }
    }
}

impl From<Step> for Written {
    fn from(step: Step) -> Self {
        match step {
            Step::Patch { target, with, patch_type } => {
                let patch_type = (patch_type != PatchType::Strategic).then_some(patch_type);
                Self { patch: Some(target), with: Some(with), patch_type, ..Self::default() }
            }
            Step::Apply(object) => Self { apply: Some(object), ..Self::default() },
            Step::Create(object) => Self { create: Some(object), ..Self::default() },
            Step::Delete(target) => Self { delete: Some(target), ..Self::default() },
        }
    }
}
