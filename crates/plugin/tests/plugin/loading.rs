//! What is not a failure is not loaded, and the cache serves only what it wrote.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use component::InspectError;
use plugin::{Host, HostConfig, LoadError};
use serde_json::json;

use crate::guests::{hostile, load, steps};

fn host(cache_dir: Option<PathBuf>) -> Host {
    Host::new(HostConfig { cache_dir, ..HostConfig::default() }).expect("this machine can run components")
}

#[test]
fn what_is_no_component_says_what_it_is() {
    let host = host(None);
    let module = [0, b'a', b's', b'm', 1, 0, 0, 0];
    assert_eq!(host.load(&module).err(), Some(LoadError::NotAFailure(InspectError::CoreModule)));
    let empty_component = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    let error = host.load(&empty_component).expect_err("it exports nothing");
    assert!(matches!(error, LoadError::NotAFailure(InspectError::OtherWorld { .. })), "{error:?}");
    assert!(error.to_string().contains("`metadata`, `induce` and `stop`"), "{error}");
}

#[tokio::test]
async fn metadata_is_what_the_component_says() {
    let own = load(hostile()).metadata().await.expect("it answers").expect("it has some");
    assert_eq!((&own["id"], &own["params"]["properties"]["how"]["default"]), (&json!("hostile"), &json!("good")));
    assert_eq!(load(steps()).metadata().await, Ok(None), "a component that serves any metadata has none of its own");
}

#[tokio::test]
async fn a_damaged_cache_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("compiled");
    host(Some(dir.clone())).load(hostile()).expect("it compiles");
    let files: Vec<PathBuf> = std::fs::read_dir(&dir).expect("made").map(|entry| entry.expect("read").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(std::fs::metadata(&dir).expect("there").permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(&files[0]).expect("there").permissions().mode() & 0o777, 0o600);

    let good = std::fs::read(&files[0]).expect("readable");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0xff;
    for damaged in [bad, good[..good.len() / 2].to_vec(), Vec::new()] {
        std::fs::write(&files[0], &damaged).expect("writable");
        let plugin = host(Some(dir.clone())).load(hostile()).expect("it is compiled again");
        assert!(plugin.metadata().await.is_ok_and(|own| own.is_some_and(|own| own["id"] == "hostile")));
        assert_ne!(std::fs::read(&files[0]).expect("readable"), damaged, "the damaged file was replaced");
    }
    host(Some(dir)).load(hostile()).expect("from the cache");
}

#[test]
fn a_cache_that_others_may_write_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("compiled");
    std::fs::create_dir(&dir).expect("made");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).expect("ours");
    host(Some(dir.clone())).load(hostile()).expect("it compiles all the same");
    assert_eq!(std::fs::read_dir(&dir).expect("there").count(), 0);
}
