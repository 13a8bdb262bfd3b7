//! SelfSubject reviews, answered from the policy of who asks: the cluster knows only the harness's own credentials.
//! Shapes follow authorization.k8s.io/v1 and authentication.k8s.io/v1.

use http::StatusCode;
use serde_json::{Value, json};

use crate::status::Refusal;
use crate::{Attributes, Policy};

/// A review that the gate answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    Access,
    Rules,
    Subject,
}

impl Review {
    /// The review that a request asks for.
    pub(crate) fn of(attributes: &Attributes) -> Option<Self> {
        if attributes.verb != "create" || !attributes.name.is_empty() {
            return None;
        }
        match (attributes.group.as_str(), attributes.resource.as_str()) {
            ("authorization.k8s.io", "selfsubjectaccessreviews") => Some(Self::Access),
            ("authorization.k8s.io", "selfsubjectrulesreviews") => Some(Self::Rules),
            ("authentication.k8s.io", "selfsubjectreviews") => Some(Self::Subject),
            _ => None,
        }
    }

    /// The answer's status code and body.
    pub(crate) fn answer(
        self,
        attributes: &Attributes,
        body: &Value,
        policy: &Policy,
        user: &str,
    ) -> Result<(StatusCode, Value), Refusal> {
        let spec = body.get("spec").cloned().unwrap_or_else(|| json!({}));
        let (kind, status) = match self {
            Self::Access => ("SelfSubjectAccessReview", access(&spec, policy)?),
            Self::Rules => ("SelfSubjectRulesReview", rules(&spec, policy)),
            Self::Subject => {
                let groups = json!(["system:authenticated"]);
                ("SelfSubjectReview", json!({"userInfo": {"username": user, "groups": groups}}))
            }
        };
        let api_version = format!("{}/{}", attributes.group, attributes.version);
        let mut answer = json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "status": status});
        if self != Self::Subject {
            answer["spec"] = spec;
        }
        Ok((StatusCode::CREATED, answer))
    }
}

fn access(spec: &Value, policy: &Policy) -> Result<Value, Refusal> {
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let asked = |key: &str| spec.get(key).filter(|v| v.is_object());
    let attributes = match (asked("resourceAttributes"), asked("nonResourceAttributes")) {
        (Some(of), None) => Attributes {
            verb: text(of, "verb"),
            group: text(of, "group"),
            version: text(of, "version"),
            resource: text(of, "resource"),
            subresource: text(of, "subresource"),
            namespace: text(of, "namespace"),
            name: text(of, "name"),
            is_resource: true,
            ..Attributes::default()
        },
        (None, Some(of)) => Attributes { verb: text(of, "verb"), path: text(of, "path"), ..Attributes::default() },
        _ => {
            return Err(Refusal {
                code: StatusCode::UNPROCESSABLE_ENTITY,
                reason: "Invalid",
                message: "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or \
                          resourceAttributes must be specified"
                    .to_owned(),
            });
        }
    };
    // `kubectl auth can-i get pods/log` may send the pair as one word.
    let attributes = split_resource(attributes);
    Ok(json!({"allowed": policy.decide(&attributes).is_ok()}))
}

fn split_resource(mut attributes: Attributes) -> Attributes {
    if attributes.subresource.is_empty()
        && let Some((resource, subresource)) = attributes.resource.clone().split_once('/')
    {
        resource.clone_into(&mut attributes.resource);
        subresource.clone_into(&mut attributes.subresource);
    }
    attributes
}

fn rules(spec: &Value, policy: &Policy) -> Value {
    let namespace = spec.get("namespace").and_then(Value::as_str).unwrap_or_default();
    let mut resource_rules = vec![
        json!({"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
               "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]}),
        json!({"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}),
    ];
    let discovery =
        ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"];
    let mut path_rules = vec![json!({"verbs": ["get"], "nonResourceURLs": discovery})];
    for rule in policy.rules() {
        if !rule.non_resource_urls.is_empty() {
            path_rules.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
        if !rule.resources.is_empty() && rule.holds_in(namespace) {
            let mut one = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                one["resourceNames"] = json!(rule.resource_names);
            }
            resource_rules.push(one);
        }
    }
    json!({"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": false})
}
