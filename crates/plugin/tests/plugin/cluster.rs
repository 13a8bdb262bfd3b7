//! A function in place of an API server, and calls that use it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::WallClock;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use plugin::Call;
use serde_json::{Value, json};

/// One request as the API server would see it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// What happened during a call.
#[derive(Clone, Default)]
pub(crate) struct Record {
    pub(crate) requests: Arc<Mutex<Vec<Seen>>>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    pub(crate) saved: Arc<Mutex<Vec<String>>>,
}

impl Record {
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.requests.lock().expect("no test panics with it").clone()
    }

    pub(crate) fn saved(&self) -> Vec<String> {
        self.saved.lock().expect("no test panics with it").clone()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no test panics with it").clone()
    }
}

/// A client whose every request is answered by `answer`, after `delay`.
pub(crate) fn client(
    record: &Record,
    delay: Duration,
    answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
) -> kube::Client {
    let (record, answer) = (record.clone(), Arc::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (record, answer) = (record.clone(), Arc::clone(&answer));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|e| tower::BoxError::from(e.to_string()))?.to_bytes();
            let header = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
            let seen = Seen {
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                content_type: header("content-type"),
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            tokio::time::sleep(delay).await;
            let (status, text) = answer(&seen);
            record.requests.lock().expect("no test panics with it").push(seen);
            Response::builder().status(status).body(Full::new(bytes::Bytes::from(text))).map_err(tower::BoxError::from)
        }
    });
    kube::Client::new(service, "c-1")
}

/// A call with this client and these parameters.
pub(crate) fn call(client: kube::Client, record: &Record, params: Value) -> Call {
    let (log, saved) = (Arc::clone(&record.log), Arc::clone(&record.saved));
    Call {
        client,
        clock: Arc::new(WallClock),
        namespace: "c-1".to_owned(),
        params,
        metadata: json!({}),
        seed: 42,
        log: Arc::new(move |line| {
            log.lock().expect("no test panics with it").push(line.to_owned());
            None
        }),
        checkpoint: Arc::new(move |state| {
            saved.lock().expect("no test panics with it").push(state);
            Box::pin(std::future::ready(Ok(())))
        }),
        script: None,
        deadline: Duration::from_secs(20),
    }
}

/// A call that misbehaves in this way, on a cluster that answers everything with an empty object.
pub(crate) fn misbehave(how: &str) -> (Call, Record) {
    let record = Record::default();
    let client = client(&record, Duration::ZERO, |_| (200, "{}".to_owned()));
    (call(client, &record, json!({"how": how})), record)
}

/// A Status as the API server answers it.
pub(crate) fn status(code: u16, reason: &str, message: &str, cause: Option<&str>) -> (u16, String) {
    let causes: Vec<Value> = cause.into_iter().map(|cause| json!({"reason": cause})).collect();
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
        "details": {"causes": causes},
    });
    (code, status.to_string())
}
