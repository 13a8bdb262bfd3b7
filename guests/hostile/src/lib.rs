//! A component that misbehaves in the way that its parameter `how` names: run by the host's tests in a call of its own, and
//! by the end-to-end tests as a failure in real runs. It is in no library.

mod deeds;

use std::time::Duration;

use failure_sdk::bindings::harness::failure::checkpoint;
use failure_sdk::{Case, Failure, Induced, Result, Selection, Target, clock, create, json, log};

struct Hostile;

failure_sdk::failure!(Hostile);

/// More than a component's memory.
const HUGE: usize = 1 << 30;

/// More than any limit of the host, and little enough that the component can make it and a copy of it.
const LARGE: usize = 20 << 20;

impl Failure for Hostile {
    fn induce(case: &Case) -> Result<Induced> {
        let target = Target::config_map("victim");
        let how = case.text("how")?;
        match how {
            "loop" => loop {
                std::hint::black_box(0);
            },
            "recursion" => std::mem::drop(std::hint::black_box(deep(1))),
            "memory" => loop {
                std::hint::black_box(vec![1_u8; 1 << 20].leak());
            },
            "huge-string" => log::info("x".repeat(HUGE)),
            "huge-state" => return Ok(Induced::default().state(json!("x".repeat(HUGE)))),
            "huge-checkpoint" => checkpoint::save(&"x".repeat(HUGE)).map_err(failure_sdk::Error::from)?,
            "huge-patch" => std::mem::drop(target.merge(&json!({"data": {"a": "x".repeat(HUGE)}}))?),
            "huge-error" => return Err(failure_sdk::Error::Other("x".repeat(HUGE))),
            "large-log" => log::info("x".repeat(LARGE)),
            "large-state" => return Ok(Induced::default().state(json!("x".repeat(LARGE)))),
            "large-error" => return Err(failure_sdk::Error::Other("x".repeat(LARGE))),
            "large-checkpoint" => case.checkpoint(&json!("x".repeat(LARGE)))?,
            "large-patch" => std::mem::drop(target.merge(&json!({"data": {"a": "x".repeat(LARGE)}}))?),
            // Each for itself would pass.
            "large-selection" => {
                let text = "x".repeat(LARGE);
                std::mem::drop(Selection::new(&text, &text).namespace(&text).list()?);
            }
            "says-unavailable" => return Err(failure_sdk::Error::Unavailable("so it says".to_owned())),
            "says-cancelled" => return Err(failure_sdk::Error::Cancelled("so it says".to_owned())),
            "trap" => panic!("on purpose"),
            "calls" => loop {
                std::hint::black_box(failure_sdk::clock::now());
            },
            "mutations" => loop {
                target.merge(&json!({"data": {"a": "b"}}))?;
            },
            "log" => loop {
                log::info("x".repeat(1000));
            },
            "sleep" => clock::sleep(Duration::from_secs(3600))?,
            "get" => std::mem::drop(target.get()?),
            "list" => std::mem::drop(Selection::new("v1", "ConfigMap").list()?),
            "patch" => std::mem::drop(target.merge(&json!({"data": {"a": "b"}}))?),
            "wait" => std::mem::drop(target.wait_for("object.data.a == 'b'", Duration::from_secs(60))?),
            "checkpoint-then-trap" => {
                case.checkpoint(&json!({"saved": true}))?;
                panic!("after the checkpoint");
            }
            "create-then-trap" => {
                create(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left"}}))?;
                create(&deeds::deployment("left", &json!({})))?;
                target.delete()?;
                panic!("after the changes");
            }
            "malformed-state" => {
                checkpoint::save("{\"half\": ").map_err(failure_sdk::Error::from)?;
                panic!("after the malformed state");
            }
            "foreign-state" => {
                case.checkpoint(&json!(["of", "another"]))?;
                target.merge(&json!({"data": {"state": "broken"}}))?;
                panic!("after a state that is not its own");
            }
            "good" | "trap-in-stop" => std::mem::drop(target.merge(&json!({"data": {"state": "broken"}}))?),
            "random" => return Ok(Induced::default().state(json!([failure_sdk::random::next().to_string()]))),
            "state" => {
                remember(1);
                return Ok(Induced::default().state(json!({"n": 7})).agent_time(Duration::from_secs(9)));
            }
            other => deeds::attempt(other)?,
        }
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        if case.text("how")? == "trap-in-stop" {
            panic!("in stop");
        }
        if remember(0) != 0 {
            return Err("this instance has run before".into());
        }
        match case.state() {
            Some(state) if state["n"] == 7 => Ok(()),
            Some(other) => Err(other.to_string().into()),
            None => Ok(()),
        }
    }
}

/// Never comes back; the addition keeps the compiler from making a loop of it.
fn deep(depth: u64) -> u64 {
    let below = std::hint::black_box([depth; 64]);
    deep(std::hint::black_box(below[0] + 1)).wrapping_add(below[1])
}

/// Whether this instance was told something before.
fn remember(add: u32) -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEEN: AtomicU32 = AtomicU32::new(0);
    SEEN.fetch_add(add, Ordering::Relaxed)
}
