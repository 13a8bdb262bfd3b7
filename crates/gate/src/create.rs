//! Creates: stamped, named before they are sent, found again by their nonce.

use http::StatusCode;
use serde_json::{Value, json};

use crate::Gate;
use crate::body::Decoded;
use crate::deliver::Sending;
use crate::forward::Outgoing;
use crate::journal::Intent;
use crate::patience::Answer;
use crate::record::Entry;
use crate::stamp;
use crate::status::Refusal;
use crate::subject::{Subject, name_prefix};
use crate::write::{Objection, Order, is_refused_as};

/// How many names are tried (Kubernetes tries as many).
const NAMES: u32 = 8;

impl Gate {
    /// Makes an object. No request but the create itself is needed.
    pub(crate) async fn create(
        &self,
        order: &Order<'_>,
        mut subject: Subject,
        entry: &mut Entry,
    ) -> Result<Answer, Objection> {
        let Some(body) = order.body else { return Err(Refusal::bad_request("a body is missing").into()) };
        self.judge(&order.caller.policy, &order.outgoing(), None).await?;
        let prefix = name_prefix(&body.value).filter(|_| subject.key.name.is_empty());
        let mut names = 1;
        loop {
            let mut body = body.clone();
            if let Some(prefix) = prefix {
                subject.key.name = stamp::name(prefix);
                entry.named(&subject.key.name);
                set_name(&mut body.value, &subject.key.name);
            }
            let answer = self.make(order, &subject, body).await?;
            if prefix.is_none() || names == NAMES || !is_refused_as(&answer, StatusCode::CONFLICT, "AlreadyExists") {
                return Ok(answer);
            }
            names += 1;
        }
    }

    /// Writes down, sends and settles what makes an object that has a name: a create, or an update or apply of what is
    /// not there.
    pub(crate) async fn make(
        &self,
        order: &Order<'_>,
        subject: &Subject,
        mut body: Decoded,
    ) -> Result<Answer, Objection> {
        let nonce = subject.is_stamped().then(stamp::nonce);
        if let Some(nonce) = &nonce {
            stamp::stamp(&mut body.value, &self.config.label, nonce);
        }
        let intent = Intent {
            party: order.caller.party,
            verb: "create".to_owned(),
            subresource: String::new(),
            key: subject.key.clone(),
            before: None,
            nonce: nonce.clone(),
            irreversible: false,
        };
        let outgoing = Outgoing { body: Some(&body), ..order.outgoing() };
        let sending = Sending { outgoing, subject, before: None, nonce: nonce.as_deref() };
        self.forward(&sending, intent).await
    }
}

fn set_name(object: &mut Value, name: &str) {
    if let Some(metadata) = stamp::metadata(object) {
        metadata.insert("name".to_owned(), json!(name));
    }
}
