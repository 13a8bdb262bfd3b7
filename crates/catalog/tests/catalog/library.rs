use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use catalog::{Failure, Implementation, InspectError, Library, Origin, inspect};

const STEPS: &str =
    "name: n\ndescription: d\nexpected_duration: 1s\ninduce: [{delete: {apiVersion: v1, kind: Pod, name: x}}]\n";
const CODE: &str = "name: n\ndescription: d\nexpected_duration: 1s\n";

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
}

fn builtin(id: &str, metadata: &str, component: Option<&[u8]>) -> Failure {
    let files = BTreeMap::from([("metadata.yaml".to_owned(), Arc::from(metadata.as_bytes()))]);
    Failure::builtin(id, component.map(Arc::from), files).expect("a failure")
}

#[test]
fn folders_of_every_kind_are_found() {
    let dir = tempfile::tempdir().expect("a folder");
    write(
        dir.path(),
        &[
            ("steps/metadata.yaml", STEPS),
            ("steps/notes.md", "text"),
            ("script/metadata.yaml", CODE),
            ("script/induce.sh", "#!/bin/sh\n"),
            ("script/lib/more.sh", "x"),
            ("script/.hidden", "x"),
            ("script/target/x", "x"),
            ("code/metadata.yaml", CODE),
            ("code/Cargo.toml", ""),
            ("code/src/lib.rs", ""),
            ("nothing/metadata.yaml", CODE),
            ("broken/metadata.yaml", "name: [\n"),
            ("not-a-failure/readme.md", "x"),
        ],
    );
    let library = Library::load(&[dir.path().to_owned(), "/nowhere".into()], Vec::new());
    assert_eq!(library.ids(), ["script", "steps"]);
    let script = library.get("script").expect("there");
    assert_eq!(script.implementation, Implementation::Script);
    assert_eq!(script.files.keys().map(String::as_str).collect::<Vec<_>>(), ["induce.sh", "lib/more.sh"]);
    assert_eq!(library.get("steps").map(|failure| &failure.implementation), Some(&Implementation::Steps));
    let problem = |id: &str| library.problem(id).expect("a problem").to_string();
    assert!(problem("code").contains("run `harness-cli failures build "), "{}", problem("code"));
    assert!(problem("nothing").contains("nothing here induces the failure"));
    assert!(problem("broken").contains("metadata.yaml:1:7: this `[` is never closed"), "{}", problem("broken"));
    assert_eq!(library.problems().len(), 3);
}

#[test]
fn folders_shadow_what_is_built_in() {
    let dir = tempfile::tempdir().expect("a folder");
    write(
        dir.path(),
        &[
            ("a/metadata.yaml", STEPS),
            ("b/metadata.yaml", "nonsense"),
            ("c/metadata.yaml", CODE),
            ("c/Cargo.toml", ""),
            ("d/metadata.yaml", &CODE.replace("1s", "2s")),
            ("d/Cargo.toml", ""),
        ],
    );
    let inside = vec![
        builtin("a", STEPS, None),
        builtin("b", STEPS, None),
        builtin("c", CODE, Some(b"component")),
        builtin("d", CODE, Some(b"component")),
        builtin("e", STEPS, None),
    ];
    let library = Library::load(&[dir.path().to_owned()], inside);
    assert_eq!(library.ids(), ["a", "c", "e"], "a broken or changed folder hides the built-in failure");
    assert!(matches!(library.get("a").map(|f| &f.origin), Some(Origin::Folder(_))));
    assert_eq!(
        library.get("c").map(|f| &f.origin),
        Some(&Origin::Builtin),
        "the same metadata: what is built in serves"
    );
    assert!(library.problem("d").expect("a problem").to_string().contains("not built yet"));
}

#[test]
fn the_first_folder_wins() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write(one.path(), &[("a/metadata.yaml", STEPS)]);
    write(two.path(), &[("a/metadata.yaml", STEPS)]);
    let library = Library::load(&[one.path().to_owned(), two.path().to_owned()], Vec::new());
    assert_eq!(library.get("a").map(|f| &f.origin), Some(&Origin::Folder(one.path().join("a"))));
    assert!(library.problems()[0].to_string().contains("is there already"));
    let same = Library::load(&[one.path().to_owned(), one.path().join("a")], Vec::new());
    assert!(same.problems().is_empty(), "the same folder twice is no conflict: {:?}", same.problems());
    assert_eq!(same.ids(), ["a"]);
}

#[test]
fn files_that_are_no_components_say_what_they_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        inspect(&path).expect_err("no failure").to_string()
    };
    assert!(file("text.wasm", b"(module)").contains("text"));
    assert!(file("zeros.wasm", &vec![0; 1_000_000]).contains("not WebAssembly"));
    assert!(file("core.wasm", b"\0asm\x01\0\0\0").contains("core"));
    assert!(matches!(inspect(Path::new("/nowhere.wasm")), Err(InspectError::Io { .. })));
    let library = Library::load(&[dir.path().to_owned()], Vec::new());
    assert_eq!((library.ids().len(), library.problems().len()), (0, 3));
}
