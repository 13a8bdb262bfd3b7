//! `schemas/` is what `harness-cli schema` prints (`HARNESS_BLESS=1 cargo test -p harness-cli` writes it anew).

use crate::support::{Folder, repository};

#[test]
fn checked_in_schemas_are_current() {
    let folder = Folder::new();
    let names =
        ["matrix", "metadata", "agent", "grants", "task", "answer", "case", "run", "run-document", "event", "baseline"];
    for name in names {
        let printed = folder.run(&["schema", name]).expect(0);
        let schema = printed.json();
        assert!(schema.is_object() && schema.get("$schema").is_some(), "{name} is a JSON Schema");
        let path = repository().join("schemas").join(format!("{name}.schema.json"));
        if std::env::var_os("HARNESS_BLESS").is_some() {
            std::fs::write(&path, &printed.stdout).expect("written");
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(printed.stdout, checked_in, "{} is out of date", path.display());
    }
    let there = std::fs::read_dir(repository().join("schemas")).expect("a folder").count();
    assert_eq!(there, names.len(), "no schema without a format");
}
