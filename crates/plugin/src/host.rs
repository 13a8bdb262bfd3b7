//! The imports of the contract, one `impl` for each interface. Each counts as a host call, and stops the component's own clock.

use std::sync::Arc;
use std::time::Duration;

use expr::Expression;
use http::Method;
use serde_json::Value;

use crate::bindings::harness::failure::{
    checkpoint, clock as guest_clock, log, random, read, script, types, watch, write,
};
use crate::bindings::{Error, ObjectRef, Selection};
use crate::context::Context;
use crate::kubernetes::{Answer, answered, list_query, write_query};
use crate::watch::{Wanted, complete};

/// Counts a host call around an expression that may end early.
macro_rules! counted {
    ($context:ident, $body:expr) => {{
        $context.meter.enter_host()?;
        let answer = $body;
        $context.meter.leave_host();
        answer
    }};
}

impl types::Host for Context {}

impl read::Host for Context {
    async fn get(&mut self, target: ObjectRef) -> Answer<String> {
        counted!(self, self.get_object(&target).await)
    }

    async fn list(&mut self, what: Selection) -> Answer<Vec<String>> {
        counted!(self, self.list_objects(&what).await)
    }
}

impl write::Host for Context {
    async fn create(&mut self, object: String) -> Answer<String> {
        counted!(self, self.create_object(object).await)
    }

    async fn apply(&mut self, object: String) -> Answer<String> {
        counted!(self, self.apply_object(object).await)
    }

    async fn patch(&mut self, target: ObjectRef, how: write::PatchType, patch: String) -> Answer<String> {
        counted!(self, self.patch_object(&target, how, patch).await)
    }

    async fn delete(&mut self, target: ObjectRef) -> Answer<()> {
        counted!(self, self.delete_object(&target).await)
    }
}

impl watch::Host for Context {
    async fn wait_for(&mut self, target: ObjectRef, condition: String, time_out: u64) -> Answer<String> {
        let wanted = match Expression::compile(&condition) {
            Ok(expression) => Wanted::Holds(expression),
            Err(error) => return Ok(Err(Error::Invalid(format!("the condition `{condition}`: {error}")))),
        };
        let answer = counted!(self, self.wait(target, wanted, time_out).await);
        Ok(answer?.map(|object| object.unwrap_or_default().to_string()))
    }

    async fn wait_changed(&mut self, target: ObjectRef, version: String, time_out: u64) -> Answer<String> {
        let answer = counted!(self, self.wait(target, Wanted::ChangedSince(version), time_out).await);
        Ok(answer?.map(|object| object.unwrap_or_default().to_string()))
    }

    async fn wait_gone(&mut self, target: ObjectRef, time_out: u64) -> Answer<()> {
        let answer = counted!(self, self.wait(target, Wanted::Gone, time_out).await);
        Ok(answer?.map(|_| ()))
    }
}

impl log::Host for Context {
    async fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        counted!(self, {
            self.meter.log(message.len() as u64 + 1)?;
            let level = match level {
                log::Level::Debug => "debug: ",
                log::Level::Info => "",
                log::Level::Warn => "warning: ",
                log::Level::Error => "error: ",
            };
            let call = self.call()?;
            let log = Arc::clone(&call.log);
            for line in message.lines() {
                if let Some(taken) = log(&format!("{level}{line}")) {
                    taken.await;
                }
            }
            Ok(())
        })
    }
}

impl guest_clock::Host for Context {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        counted!(self, {
            let now = self.call()?.clock.now().as_millisecond();
            Ok(u64::try_from(now).unwrap_or(0))
        })
    }

    async fn sleep(&mut self, duration: u64) -> Answer<()> {
        counted!(self, {
            let clock = Arc::clone(&self.call()?.clock);
            let forever = std::future::pending::<()>();
            // The time-out is what is waited for.
            let _ = clock::run_until(&clock, Duration::from_millis(duration), forever).await;
            Ok(Ok(()))
        })
    }
}

impl checkpoint::Host for Context {
    async fn save(&mut self, state: String) -> Answer<()> {
        counted!(self, {
            match self.meter.state(state.len() as u64) {
                Ok(()) => {
                    let kept = (self.call()?.checkpoint)(state).await;
                    self.was_unavailable |= kept.is_err();
                    Ok(kept.map_err(Error::Unavailable))
                }
                Err(limit) => Ok(Err(Error::LimitExceeded(limit.to_string()))),
            }
        })
    }
}

impl random::Host for Context {
    async fn next(&mut self) -> wasmtime::Result<u64> {
        counted!(self, Ok(self.next_random()))
    }
}

impl script::Host for Context {
    async fn run(&mut self, arguments: Vec<String>) -> Answer<script::Output> {
        counted!(self, self.run_script(arguments).await)
    }
}

const JSON: &str = "application/json";

impl Context {
    async fn get_object(&mut self, target: &ObjectRef) -> Answer<String> {
        let place = answered!(self.place_of(target).await);
        self.read(&place.object(&target.name)).await
    }

    async fn list_objects(&mut self, what: &Selection) -> Answer<Vec<String>> {
        let place = answered!(self.place(&what.api_version, &what.kind, what.namespace.as_deref()).await);
        let path = format!("{}?{}", place.collection(), list_query(what, &[]));
        let text = answered!(self.read(&path).await);
        let list: Value = match serde_json::from_str(&text) {
            Ok(list) => list,
            Err(error) => return Ok(Err(Error::Other(format!("the list cannot be read: {error}")))),
        };
        let target = ObjectRef {
            api_version: what.api_version.clone(),
            kind: what.kind.clone(),
            namespace: None,
            name: String::new(),
        };
        let items = list["items"].as_array().into_iter().flatten();
        Ok(Ok(items.map(|item| complete(item, &target).to_string()).collect()))
    }

    /// Before anything else is made of a text that is to be sent.
    fn admit(&mut self, text: &str) -> Result<(), Error> {
        self.meter.request(text.len() as u64).map_err(|limit| Error::LimitExceeded(limit.to_string()))
    }

    async fn create_object(&mut self, object: String) -> Answer<String> {
        let (target, object) = match self.manifest(&object) {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let place = answered!(self.place(&target.api_version, &target.kind, target.namespace.as_deref()).await);
        let path = format!("{}?{}", place.collection(), write_query(false));
        self.change(Method::POST, &path, JSON, object.to_string()).await
    }

    async fn apply_object(&mut self, object: String) -> Answer<String> {
        let (target, object) = match self.manifest(&object) {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let place = answered!(self.place_of(&target).await);
        let path = format!("{}?{}", place.object(&target.name), write_query(true));
        // JSON is YAML, and this is the content type that every API server since 1.16 takes.
        self.change(Method::PATCH, &path, "application/apply-patch+yaml", object.to_string()).await
    }

    async fn patch_object(&mut self, target: &ObjectRef, how: write::PatchType, patch: String) -> Answer<String> {
        if let Err(error) = self.admit(&patch) {
            return Ok(Err(error));
        }
        if let Err(error) = serde_json::from_str::<Value>(&patch) {
            return Ok(Err(Error::Invalid(format!("the patch is not JSON: {error}"))));
        }
        let place = answered!(self.place_of(target).await);
        let path = format!("{}?{}", place.object(&target.name), write_query(false));
        let content_type = match how {
            write::PatchType::Strategic => "application/strategic-merge-patch+json",
            write::PatchType::Merge => "application/merge-patch+json",
            write::PatchType::Json => "application/json-patch+json",
        };
        self.change(Method::PATCH, &path, content_type, patch).await
    }

    async fn delete_object(&mut self, target: &ObjectRef) -> Answer<()> {
        let place = answered!(self.place_of(target).await);
        let options = r#"{"apiVersion":"v1","kind":"DeleteOptions","propagationPolicy":"Background"}"#;
        let answer = self.change(Method::DELETE, &place.object(&target.name), JSON, options.to_owned()).await?;
        Ok(answer.map(|_| ()))
    }

    async fn run_script(&mut self, arguments: Vec<String>) -> Answer<script::Output> {
        let Some(runner) = self.call()?.script.clone() else {
            return Ok(Err(Error::Denied("this failure has no script that it may run".to_owned())));
        };
        Ok(match runner.run(arguments).await {
            Ok(output) => Ok(script::Output { code: output.code, stdout: output.stdout, stderr: output.stderr }),
            Err(error) => Err(Error::Other(error.to_string())),
        })
    }

    /// An object that is to be written, and its address. Without a namespace it goes to the namespace of the case.
    fn manifest(&mut self, text: &str) -> Result<(ObjectRef, Value), Error> {
        self.admit(text)?;
        let object: Value =
            serde_json::from_str(text).map_err(|error| Error::Invalid(format!("the object is not JSON: {error}")))?;
        let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = Some(field("/metadata/namespace")).filter(|namespace| !namespace.is_empty());
        let target = ObjectRef {
            api_version: field("/apiVersion"),
            kind: field("/kind"),
            namespace,
            name: field("/metadata/name"),
        };
        if target.api_version.is_empty() || target.kind.is_empty() {
            return Err(Error::Invalid("the object needs `apiVersion` and `kind`".to_owned()));
        }
        Ok((target, object))
    }
}
