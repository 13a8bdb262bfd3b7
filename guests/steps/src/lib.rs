//! The component of failures that are written as steps in metadata.yaml. Serves any metadata: the steps come with each call.
//! Remembers before each step how to take it back, so that `stop` can, whoever else undoes.

use failure_sdk::{Case, Error, Failure, Induced, Result, Target, Value, apply, create, json, log};

struct Steps;

failure_sdk::failure!(Steps, "null");

impl Failure for Steps {
    fn induce(case: &Case) -> Result<Induced> {
        let mut undo: Vec<Value> = Vec::new();
        let steps = match &case.metadata()["induce"] {
            Value::Array(steps) => steps.as_slice(),
            Value::Null => &[],
            _ => return Err(Error::Invalid("`induce` must be a list of steps".to_owned())),
        };
        for (index, step) in steps.iter().enumerate() {
            run(case, step, &mut undo).map_err(|error| at_step(index, error))?;
        }
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(Value::Array(undo)) = case.state() else { return Ok(()) };
        let mut first_error = None;
        // Last done, first undone; one that cannot be undone keeps none of the others from it.
        for entry in undo.iter().rev() {
            if let Err(error) = take_back(entry) {
                log::warn(["cannot take back a step: ", error.message()].concat());
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

fn at_step(index: usize, error: Error) -> Error {
    log::error(["step ", &(index + 1).to_string(), " failed: ", error.message()].concat());
    error
}

fn run(case: &Case, step: &Value, undo: &mut Vec<Value>) -> Result<()> {
    if let target @ Value::Object(_) = &step["patch"] {
        let (target, change) = (Target::of(target)?, &step["with"]);
        log::info(["patch ", &target.describe()].concat());
        remember(case, undo, &target, "restore")?;
        match step["type"].as_str() {
            None | Some("strategic") => target.patch(change)?,
            Some("merge") => target.merge(change)?,
            Some("json") => target.json_patch(change)?,
            Some(other) => {
                let message = ["`type: ", other, "` is none of strategic, merge and json"].concat();
                return Err(Error::Invalid(message));
            }
        };
    } else if let manifest @ Value::Object(_) = &step["apply"] {
        let target = Target::of(manifest)?;
        log::info(["apply ", &target.describe()].concat());
        remember(case, undo, &target, "restore")?;
        apply(manifest)?;
    } else if let manifest @ Value::Object(_) = &step["create"] {
        let target = Target::of(manifest)?;
        log::info(["create ", &target.describe()].concat());
        undo.push(json!({"do": "delete", "object": target.to_json()}));
        case.checkpoint(&Value::Array(undo.clone()))?;
        create(manifest)?;
    } else if let target @ Value::Object(_) = &step["delete"] {
        let target = Target::of(target)?;
        log::info(["delete ", &target.describe()].concat());
        remember(case, undo, &target, "recreate")?;
        target.delete()?;
    } else {
        return Err(Error::Invalid("a step is one of `patch` + `with`, `apply`, `create`, `delete`".to_owned()));
    }
    Ok(())
}

/// Saves the object as it is before a step. A failure that may not read it is not kept from changing it: then there is nothing
/// that `stop` could put back.
fn remember(case: &Case, undo: &mut Vec<Value>, target: &Target, how: &str) -> Result<()> {
    match target.get() {
        Ok(mut object) => {
            strip(&mut object);
            undo.push(json!({"do": how, "object": object}));
        }
        Err(Error::NotFound(_)) if how == "restore" => {
            undo.push(json!({"do": "delete", "object": target.to_json()}));
        }
        Err(Error::NotFound(_) | Error::Denied(_) | Error::Forbidden(_)) => return Ok(()),
        Err(error) => return Err(error),
    }
    case.checkpoint(&Value::Array(undo.clone()))
}

/// What the server keeps for itself, and what would make a second write fail.
fn strip(object: &mut Value) {
    if let Value::Object(map) = object {
        map.remove("status");
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            for key in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
                metadata.remove(key);
            }
        }
    }
}

fn take_back(entry: &Value) -> Result<()> {
    let object = &entry["object"];
    let target = Target::of(object)?;
    match entry["do"].as_str() {
        Some("delete") => target.delete(),
        Some("recreate") => match create(object) {
            Ok(_) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        },
        _ => restore(&target, object),
    }
}

/// Brings everything but metadata and status back to what it was. A JSON patch, since a merge could not remove what was added.
fn restore(target: &Target, before: &Value) -> Result<()> {
    let (before, now) = match (before, target.get()) {
        (Value::Object(before), Ok(Value::Object(now))) => (before, now),
        (_, Err(error)) if error.is_not_found() => return Ok(()),
        (_, Err(error)) => return Err(error),
        _ => return Ok(()),
    };
    let ours = |key: &&String| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status");
    let mut operations = Vec::new();
    for (key, value) in before.iter().filter(|(key, _)| ours(key)) {
        if now.get(key) != Some(value) {
            let path = ["/", key.as_str()].concat();
            operations.push(json!({"op": "add", "path": path, "value": value}));
        }
    }
    for key in now.keys().filter(ours).filter(|key| !before.contains_key(*key)) {
        let path = ["/", key.as_str()].concat();
        operations.push(json!({"op": "remove", "path": path}));
    }
    let (was, is) = (&before["metadata"], &now["metadata"]);
    for key in ["labels", "annotations"] {
        let path = ["/metadata/", key].concat();
        match (&was[key], &is[key]) {
            (was, is) if was == is => {}
            (Value::Null, _) => operations.push(json!({"op": "remove", "path": path})),
            (was, _) => operations.push(json!({"op": "add", "path": path, "value": was})),
        }
    }
    if !operations.is_empty() {
        target.json_patch(&Value::Array(operations))?;
    }
    Ok(())
}
