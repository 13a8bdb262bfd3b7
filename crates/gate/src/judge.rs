//! Judges the object that a write would store: the body of a create or update, the dry run of a patch. It reads nothing
//! but that; what is there now it is told.

use serde_json::Value;

use crate::forward::Outgoing;
use crate::gate::Gate;
use crate::pin::Form;
use crate::status::Refusal;
use crate::write::Objection;
use crate::{Hazard, Policy, hazard, patch};

impl Gate {
    /// Whether `policy` allows what would be stored. A patch must be tied to `before` already, so that its dry run is of
    /// the very object that it will meet.
    pub(crate) async fn judge(
        &self,
        policy: &Policy,
        outgoing: &Outgoing<'_>,
        before: Option<&Value>,
    ) -> Result<(), Objection> {
        let (attributes, Some(body)) = (outgoing.attributes, outgoing.body) else { return Ok(()) };
        let object = &body.value;
        let makes = attributes.verb == "patch" && body.form() == Form::Apply && before.is_none();
        let of_object = |object: &Value| hazard::of_object(object, &attributes.namespace, self.case_namespace());
        let mut needs = match attributes.verb.as_str() {
            "create" | "update" => of_object(object),
            "patch" if patch::touches_pod_template(attributes, object) && !has_pod_hazards(policy) => {
                of_object(&self.result_of_patch(outgoing).await?)
            }
            _ => Default::default(),
        };
        if makes {
            needs.extend(of_object(object));
        }
        let finalizers = match attributes.verb.as_str() {
            _ if policy.hazards().contains(&Hazard::Finalizers) => false,
            "create" => !finalizers(object).is_empty(),
            // Of a part of an object, a Scale for one, the finalizers are not those of the object.
            "update" if is_part(object, before) => false,
            "update" => finalizers(object) != before.map(finalizers).unwrap_or_default(),
            "patch" => patch::touches_finalizers(object),
            _ => false,
        };
        if finalizers {
            needs.insert(Hazard::Finalizers);
        }
        policy.decide_hazards(&needs, attributes).map_err(Objection::Denied)
    }

    async fn result_of_patch(&self, outgoing: &Outgoing<'_>) -> Result<Value, Objection> {
        let attributes = outgoing.tried();
        let tried = Outgoing {
            method: outgoing.method.clone(),
            attributes: &attributes,
            headers: &crate::forward::plain_json(),
            body: outgoing.body,
        };
        let answer = self.ask(&tried, self.config.limits.body).await?;
        if !answer.status().is_success() {
            // It would fail for real just so.
            return Err(Objection::Answered(Box::new(answer)));
        }
        serde_json::from_slice(answer.body())
            .map_err(|_| Objection::Refused(Refusal::unreachable("the result of the patch could not be read")))
    }
}

fn has_pod_hazards(policy: &Policy) -> bool {
    hazard::OF_PODS.iter().all(|h| policy.hazards().contains(h))
}

fn is_part(object: &Value, before: Option<&Value>) -> bool {
    let kind = |object: &Value| object.get("kind").and_then(Value::as_str).map(str::to_owned);
    let (Some(kind), Some(whole)) = (kind(object), before.and_then(kind)) else { return false };
    kind != whole
}

/// Finalizers of an object, sorted.
fn finalizers(object: &Value) -> Vec<String> {
    let lists = [object.pointer("/metadata/finalizers"), object.pointer("/spec/finalizers")];
    let words = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let mut words: Vec<String> = words.filter_map(Value::as_str).map(str::to_owned).collect();
    words.sort();
    words
}
