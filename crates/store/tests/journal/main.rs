//! The undo journal on disk: nothing acknowledged is lost, nothing of a closed case stays, several processes share it.

mod killed;
mod law;
mod shared;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gate::{Entry, Intent, Journal, ObjectKey};
use jiff::Timestamp;
use model::Party;
use serde_json::json;
use store::{CaseOpening, JournalDb, OpenCase};

/// What a journal says: every open case with its entries. Times are left out.
type Contents = BTreeMap<i64, (OpenCase, Vec<Entry>)>;

async fn contents(journal: &JournalDb) -> Contents {
    let mut contents = Contents::new();
    for mut case in journal.unfinished().await.expect("read") {
        let entries = journal.resume(case.id).entries().await.expect("read");
        case.opened_at = Timestamp::UNIX_EPOCH;
        contents.insert(case.id, (case, entries));
    }
    contents
}

fn opening(case: &str) -> CaseOpening {
    CaseOpening {
        run_id: "abcd1234".into(),
        run_dir: "/results/2026-11-21-m-abcd1234".into(),
        case_id: case.into(),
        cluster: "staging".into(),
        namespace: "c-00001".into(),
        label: "x7".into(),
        document: json!({"seed": 7, "failure": {"id": "oom-killed"}}),
        package: vec![0, 159, 146, 150],
    }
}

fn intent(name: &str, content: &str) -> Intent {
    Intent {
        party: Party::Agent,
        verb: "update".into(),
        subresource: String::new(),
        key: ObjectKey {
            group: String::new(),
            version: "v1".into(),
            resource: "secrets".into(),
            namespace: "shop".into(),
            name: name.into(),
        },
        before: Some(json!({"metadata": {"name": name, "resourceVersion": "7"}, "data": {"key": content}})),
        nonce: None,
        irreversible: false,
    }
}

/// Which files of a folder hold these bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    entries
        .filter(|entry| fs::read(entry.path()).expect("a file").windows(bytes.len()).any(|window| window == bytes))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
