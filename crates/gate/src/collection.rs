//! deletecollection as single deletes, so that each object has its before-image and its pin.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Decoded};
use crate::forward::Outgoing;
use crate::patience::Answer;
use crate::pin;
use crate::status::Refusal;
use crate::subject::Subject;
use crate::write::{Objection, Order, content};
use crate::{Attributes, Gate, ObjectKey, crash_point};

/// Objects of one page.
const PAGE: &str = "100";
/// Bytes of one page that are read.
const PAGE_BYTES: usize = 64 * 1024 * 1024;
/// What selects objects, for a list as for a deletecollection.
const SELECTORS: [&str; 2] = ["labelSelector", "fieldSelector"];

impl Gate {
    /// Lists what the request selects and deletes it object by object. Objects that are made meanwhile stay, as they may
    /// with the server's own deletecollection; the first delete that fails ends it, and its answer is the answer.
    pub(crate) async fn delete_collection(&self, order: &Order<'_>, subject: &Subject) -> Result<Answer, Objection> {
        self.may_delete_collection(order).await?;
        let mut attributes = order.attributes.clone();
        let options = pin::options_body(pin::take_options(&mut attributes, order.body)?);
        let mut list = self.selected(order).await?;
        let kind = list["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).unwrap_or_default().to_owned();
        let api_version = list["apiVersion"].clone();
        for item in list["items"].as_array_mut().into_iter().flatten() {
            if let Some(members) = item.as_object_mut() {
                members.entry("kind").or_insert_with(|| json!(kind));
                members.entry("apiVersion").or_insert_with(|| api_version.clone());
            }
            crash_point("collection.between");
            let answer = self.delete_listed(order, subject, &options, item).await?;
            if !answer.status().is_success() && answer.status() != StatusCode::NOT_FOUND {
                return Ok(answer);
            }
        }
        let mut answer = Response::new(Bytes::from(list.to_string()));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(body::JSON));
        Ok(answer)
    }

    async fn delete_listed(
        &self,
        order: &Order<'_>,
        subject: &Subject,
        options: &Decoded,
        item: &Value,
    ) -> Result<Answer, Objection> {
        let text = |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let key = ObjectKey { namespace: namespace.clone(), name: name.clone(), ..subject.key.clone() };
        let attributes = Attributes {
            verb: "delete".to_owned(),
            path: key.path(),
            namespace,
            name,
            query: Vec::new(),
            ..order.attributes.clone()
        };
        let subject = Subject { key, ..subject.clone() };
        let order = Order { attributes: &attributes, body: Some(options), ..*order };
        match self.change(&order, &subject, Some(item.clone())).await {
            Err(Objection::Answered(answer)) => Ok(*answer),
            other => other,
        }
    }

    /// Not every collection can be deleted, and options may be wrong: the server says so before anything is done.
    async fn may_delete_collection(&self, order: &Order<'_>) -> Result<(), Objection> {
        let mut tried = order.body.cloned();
        if let Some(members) = tried.as_mut().and_then(|body| body.value.as_object_mut()) {
            members.insert("dryRun".to_owned(), json!(["All"]));
        }
        let mut attributes = order.outgoing().tried();
        if attributes.parameter("limit").is_none() {
            attributes.query.push(("limit".to_owned(), "1".to_owned()));
        }
        let outgoing = Outgoing { attributes: &attributes, body: tried.as_ref(), ..order.outgoing() };
        let answer = self.ask(&outgoing, PAGE_BYTES).await?;
        if answer.status().is_success() { Ok(()) } else { Err(Objection::Answered(Box::new(answer))) }
    }

    /// All that the request selects, as one list.
    async fn selected(&self, order: &Order<'_>) -> Result<Value, Objection> {
        let mut attributes = order.attributes.clone();
        attributes.query.retain(|(key, _)| SELECTORS.contains(&key.as_str()));
        attributes.query.push(("limit".to_owned(), PAGE.to_owned()));
        let mut all: Option<Value> = None;
        loop {
            let headers = crate::forward::plain_json();
            let outgoing = Outgoing { method: Method::GET, attributes: &attributes, headers: &headers, body: None };
            let answer = self.ask(&outgoing, PAGE_BYTES).await?;
            if !answer.status().is_success() {
                return Err(Objection::Answered(Box::new(answer)));
            }
            let mut page = content(&answer);
            if !page["items"].is_array() {
                return Err(Refusal::unreachable("the API server's list could not be read").into());
            }
            let next = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
            match (&mut all, page["items"].as_array_mut()) {
                (Some(all), Some(items)) => {
                    if let Some(sum) = all["items"].as_array_mut() {
                        sum.append(items);
                    }
                }
                _ => all = Some(page),
            }
            if next.is_empty() {
                break;
            }
            attributes.query.retain(|(key, _)| key != "continue");
            attributes.query.push(("continue".to_owned(), next));
        }
        let mut all = all.unwrap_or_default();
        if let Some(metadata) = all["metadata"].as_object_mut() {
            metadata.remove("continue");
            metadata.remove("remainingItemCount");
        }
        Ok(all)
    }
}
