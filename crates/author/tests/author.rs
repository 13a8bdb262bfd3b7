//! What `new` writes, `build` builds, and what is built says what the folder says.

use std::path::Path;

use author::{AuthorError, Lang, build, new};
use catalog::{Failure, Implementation};
use plugin::{Host, HostConfig};

fn host() -> Host {
    Host::new(HostConfig::default()).expect("this machine can run components")
}

fn silent() -> impl FnMut(&str) {
    |_| ()
}

fn built(parent: &Path, id: &str, lang: Lang) -> author::Built {
    new(parent, id, lang).expect("the folder is new");
    let built = build(&parent.join(id), &host(), &mut silent()).unwrap_or_else(|error| panic!("{error}"));
    let inspected = catalog::inspect(&built.path).expect("it was just built");
    assert_eq!(inspected.digest, built.digest);
    assert_eq!(inspected.size, built.size);
    assert_eq!(inspected.problems, Vec::<String>::new());
    assert!(inspected.foreign_imports.is_empty(), "{:?}", inspected.foreign_imports);
    let packed = Failure::from_wasm(&built.path).unwrap_or_else(|problem| panic!("{problem}"));
    let folder = Failure::from_folder(&parent.join(id)).unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(packed.metadata, folder.metadata);
    assert_eq!(packed.files, folder.files, "the one file is whole");
    built
}

#[test]
fn steps_and_scripts_are_packed_with_what_runs_them() {
    let parent = tempfile::tempdir().expect("a folder");
    built(parent.path(), "by-steps", Lang::Yaml);
    let script = built(parent.path(), "by-script", Lang::Script);
    let packed = Failure::from_wasm(&script.path).expect("it was just read");
    assert_eq!(packed.implementation, Implementation::Script);
}

#[test]
fn a_rust_folder_stands_alone_and_builds_twice_to_the_same_bytes() {
    let parent = tempfile::tempdir().expect("a folder");
    let first = built(parent.path(), "in-rust", Lang::Rust);
    assert!(first.size < 150_000, "a component of {} bytes", first.size);
    let folder = parent.path().join("in-rust");
    assert_eq!(build(&folder, &host(), &mut silent()), Ok(first), "the same folder, the same file");

    // Mistakes are told with file and line, by the library or by the compiler.
    let metadata = folder.join("metadata.yaml");
    let text = std::fs::read_to_string(&metadata).expect("written by new");
    std::fs::write(&metadata, text.replace("symptoms:", "symptom:")).expect("writable");
    let error = build(&folder, &host(), &mut silent()).expect_err("an unknown key").to_string();
    assert!(error.contains("metadata.yaml:") && error.contains("symptoms"), "{error}");
    std::fs::write(&metadata, text).expect("writable");
    let source = folder.join("src/lib.rs");
    let code = std::fs::read_to_string(&source).expect("written by new");
    std::fs::write(&source, code.replace("Target::deployment", "Target::nothing")).expect("writable");
    let error = build(&folder, &host(), &mut silent()).expect_err("no such function");
    assert!(
        matches!(&error, AuthorError::Compile(component::CompileError::Code(said)) if said.contains("src/lib.rs:")),
        "{error}"
    );
    std::fs::write(&source, code.replace("failure!(Broken)", "failure!(Broken, r#\"{\"id\":\"x\"}\"#)"))
        .expect("writable");
    let error = build(&folder, &host(), &mut silent()).expect_err("metadata of its own");
    assert!(matches!(error, AuthorError::OtherMetadata | AuthorError::Metadata(_)), "{error:?}");
}

#[test]
fn what_is_there_is_not_overwritten() {
    let parent = tempfile::tempdir().expect("a folder");
    new(parent.path(), "demo", Lang::Yaml).expect("the folder is new");
    assert!(matches!(new(parent.path(), "demo", Lang::Rust), Err(AuthorError::Exists(_))));
    assert!(matches!(new(parent.path(), "No Id", Lang::Yaml), Err(AuthorError::Id(_))));
    assert!(matches!(build(parent.path(), &host(), &mut silent()), Err(AuthorError::NoMetadata(_))));
}
