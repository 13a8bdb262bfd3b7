//! The cluster as controllers see it: [`World`] on the state, through the same writes that clients' requests take.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use simulation::{ContainerRun, Deletion, Occurrence, Refusal, Resource, World};

use crate::delete::DeleteHow;
use crate::error::ApiError;
use crate::object;
use crate::state::State;
use crate::watchers::Topic;
use crate::write::Write;

/// Tokens of pods: the server lets them live for a year where they are renewed hourly.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;

impl State {
    fn row(&self, resource: &Resource) -> Result<Arc<crate::registry::Info>, ApiError> {
        self.info(resource).ok_or_else(ApiError::unknown_path)
    }

    /// What an object would replace.
    fn stored(&self, info: &crate::registry::Info, object: &Value) -> Option<&Value> {
        let namespace = if info.resource.namespaced { object::namespace(object) } else { "" };
        self.store.get(&info.resource, namespace, object::name(object)).map(Arc::as_ref)
    }
}

impl World for State {
    fn now(&self) -> Timestamp {
        self.time.now()
    }

    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store.get(resource, namespace, name).cloned()
    }

    fn list(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.store.list(resource, namespace)
    }

    fn resources(&self) -> Vec<Resource> {
        let stored = |info: &&Arc<crate::registry::Info>| info.storage == crate::registry::Storage::Stored;
        self.registry.iter().filter(stored).map(|info| info.resource).collect()
    }

    fn create(&mut self, resource: &Resource, object: Value, manager: &str) -> Result<Arc<Value>, Refusal> {
        let info = self.row(resource)?;
        let namespace = object::namespace(&object).to_owned();
        let object = crate::typed::of_controller(&info, object)?;
        Ok(self.create_object(&info, &namespace, object, &Write::by(manager))?)
    }

    fn update(&mut self, resource: &Resource, object: Value, manager: &str) -> Result<Arc<Value>, Refusal> {
        let info = self.row(resource)?;
        let object = crate::typed::in_place_of(self.stored(&info, &object), &info, object, |_| true)?;
        Ok(self.replace_object(&info, object, &Write::by(manager))?)
    }

    fn update_status(&mut self, resource: &Resource, object: Value, manager: &str) -> Result<Arc<Value>, Refusal> {
        let info = self.row(resource)?;
        // The rest of a status write is not looked at.
        let is_written = |key: &str| matches!(key, "metadata" | "status");
        let object = crate::typed::in_place_of(self.stored(&info, &object), &info, object, is_written)?;
        Ok(self.replace_object(&info, object, &Write::by(manager).of("status"))?)
    }

    fn delete(&mut self, resource: &Resource, namespace: &str, name: &str, how: Deletion) -> Result<(), Refusal> {
        let info = self.row(resource)?;
        let how = DeleteHow {
            grace_seconds: how.grace_seconds,
            propagation: how.propagation.map(str::to_owned),
            uid: how.uid,
            ..DeleteHow::default()
        };
        self.delete_object(&info, namespace, name, &how)?;
        Ok(())
    }

    fn bind(&mut self, namespace: &str, pod: &str, node: &str) -> Result<Arc<Value>, Refusal> {
        Ok(self.bind_pod(namespace, pod, node, &Write::by("kube-scheduler"))?)
    }

    fn account_token(&self, namespace: &str, account: &str) -> Option<String> {
        let account = self.store.get(&simulation::resources::SERVICE_ACCOUNTS, namespace, account)?;
        let audience = serde_json::json!(["https://kubernetes.default.svc.cluster.local"]);
        Some(self.token_for(account, TOKEN_SECONDS, &audience).text)
    }

    fn request(&self, authorization: &str, path: &str) -> (u16, String) {
        match crate::inside::answer(self, authorization, path) {
            Ok(body) => (200, body.to_string()),
            Err(error) => (error.code, error.to_json().to_string()),
        }
    }

    fn event(&mut self, occurrence: Occurrence<'_>) {
        self.record_event(&occurrence);
    }

    fn wake_at(&mut self, controller: &'static str, key: String, at: Timestamp) {
        self.timers.set(controller, key, at);
    }

    fn cancel_wake(&mut self, controller: &'static str, key: &str) {
        self.timers.cancel(controller, key);
    }

    fn log(&mut self, run: &ContainerRun, stderr: bool, line: &str) {
        let now = self.time.now();
        self.logs.push(run, now, stderr, line);
        self.watchers.wake(Topic::Logs);
    }

    fn drop_log(&mut self, run: &ContainerRun) {
        self.logs.drop_run(run);
        self.watchers.wake(Topic::Logs);
    }

    fn exec_output(&mut self, id: u64, stderr: bool, data: &[u8]) {
        self.execs.write(id, stderr, data);
    }

    fn exec_ended(&mut self, id: u64, code: i32) {
        self.execs.end(id, code);
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }
}
