//! A component that misbehaves in the way that its parameter `how` names. The host's tests run it; it is in no library.

use std::time::Duration;

use failure_sdk::{Case, Failure, Induced, Result, Selection, Target, clock, json, log};

struct Hostile;

failure_sdk::failure!(Hostile, r#"{"id":"hostile"}"#);

impl Failure for Hostile {
    fn induce(case: &Case) -> Result<Induced> {
        let target = Target::config_map("victim");
        match case.text("how")? {
            "loop" => loop {
                std::hint::black_box(0);
            },
            "memory" => loop {
                std::hint::black_box(vec![1_u8; 1 << 20].leak());
            },
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
            "random" => return Ok(Induced::default().state(json!([failure_sdk::random::next().to_string()]))),
            "state" => {
                remember(1);
                return Ok(Induced::default().state(json!({"n": 7})).agent_time(Duration::from_secs(9)));
            }
            other => return Err(other.into()),
        }
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
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

/// Whether this instance was told something before.
fn remember(add: u32) -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEEN: AtomicU32 = AtomicU32::new(0);
    SEEN.fetch_add(add, Ordering::Relaxed)
}
