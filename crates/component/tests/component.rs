//! Bytes of any origin: what they are is said, and nothing ever panics. No code of any component is run here.

use std::collections::BTreeMap;

use component::{InspectError, World, embed_metadata, inspect, package, unpackage};
use proptest::prelude::*;
use serde_json::json;
use wasm_encoder::{
    CanonicalFunctionSection, CodeSection, Component, ComponentExportKind, ComponentExportSection,
    ComponentImportSection, ComponentTypeRef, ComponentTypeSection, ComponentValType, ExportKind, ExportSection,
    Function, FunctionSection, InstanceSection, InstanceType, Module, ModuleArg, ModuleSection, TypeSection,
};

/// A component that imports these interfaces and exports these functions, all without parameters.
fn with_externs(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let mut component = Component::new();
    let mut types = ComponentTypeSection::new();
    types.function().params::<[(&str, ComponentValType); 0], _>([]).result(None);
    types.instance(&InstanceType::new());
    component.section(&types);
    let mut section = ComponentImportSection::new();
    for import in imports {
        section.import(*import, ComponentTypeRef::Instance(1));
    }
    component.section(&section);
    component.section(&ModuleSection(&empty_function()));
    let mut instances = InstanceSection::new();
    instances.instantiate::<[(&str, ModuleArg); 0], &str>(0, []);
    component.section(&instances);
    let mut aliases = wasm_encoder::ComponentAliasSection::new();
    aliases.alias(wasm_encoder::Alias::CoreInstanceExport { instance: 0, kind: ExportKind::Func, name: "f" });
    component.section(&aliases);
    let mut lifts = CanonicalFunctionSection::new();
    lifts.lift(0, 0, []);
    component.section(&lifts);
    let mut section = ComponentExportSection::new();
    for export in exports {
        section.export(*export, ComponentExportKind::Func, 0, None);
    }
    component.section(&section);
    component.finish()
}

fn empty_function() -> Module {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, 0);
    let mut code = CodeSection::new();
    let mut body = Function::new([]);
    body.instructions().end();
    code.function(&body);
    module.section(&types).section(&functions).section(&exports).section(&code);
    module
}

const TYPES: &str = "harness:failure/types@0.1.0";
const LIFE: [&str; 3] = ["metadata", "induce", "stop"];

fn failure() -> Vec<u8> {
    with_externs(&[TYPES, "harness:failure/read@0.1.0"], &LIFE)
}

#[test]
fn a_failure_is_read() {
    let bytes = failure();
    let inspected = inspect(&bytes).expect("it is a failure");
    assert_eq!(inspected.world, World::Failure);
    assert_eq!(inspected.imports, [TYPES, "harness:failure/read@0.1.0"]);
    assert_eq!(inspected.exports, LIFE);
    assert_eq!((inspected.size, inspected.metadata, inspected.files.len()), (bytes.len(), None, 0));
    assert_eq!(inspected.digest.len(), "sha256:".len() + 64);
}

#[test]
fn the_import_of_scripts_makes_it_of_the_other_world() {
    let inspected = inspect(&with_externs(&[TYPES, "harness:failure/script@0.1.0"], &LIFE)).expect("a failure");
    assert_eq!(inspected.world, World::ScriptedFailure);
    assert!(inspected.foreign_imports().is_empty());
}

#[test]
fn extra_exports_are_no_fault_and_unknown_imports_are_named() {
    let wasi = "wasi:cli/environment@0.2.0";
    let newer = "harness:failure/teleport@0.1.0";
    let bytes = with_externs(&[TYPES, wasi, newer], &["init", "metadata", "induce", "stop"]);
    assert_eq!(inspect(&bytes).expect("a failure").foreign_imports(), [wasi, newer]);
}

#[test]
fn what_is_no_failure_says_what_it_is() {
    let error = |bytes: &[u8]| inspect(bytes).expect_err("no failure");
    assert_eq!(error(b""), InspectError::Empty);
    assert_eq!(error(b"name: a failure\n"), InspectError::Text);
    assert_eq!(error("(component) ; grün".as_bytes()), InspectError::Text);
    assert_eq!(error(&[0; 1000]), InspectError::NotWasm("00 00 00 00".to_owned()));
    assert_eq!(error(&empty_function().finish()), InspectError::CoreModule);
    assert!(matches!(error(b"\0asm\x01\0\x05\0"), InspectError::UnknownVersion(_)));
    assert!(matches!(error(b"\0as"), InspectError::NotWasm(_)));
    assert!(matches!(error(b"\0asm\x0d"), InspectError::Truncated { .. }));
    let nothing = error(&Component::new().finish());
    assert!(nothing.to_string().contains("this one exports nothing"), "{nothing}");
    let other = error(&with_externs(&["wasi:http/types@0.2.0"], &["handle"]));
    assert!(other.to_string().contains("`handle`"), "{other}");
    let newer = error(&with_externs(&["harness:failure/types@0.2.0"], &LIFE));
    assert!(newer.to_string().contains("version 0.2.0"), "{newer}");
    assert!(matches!(error(&with_externs(&[], &LIFE)), InspectError::OtherWorld { .. }), "the names alone do not do");
}

#[test]
fn a_hundred_megabytes_of_zeros_are_refused_at_once() {
    let zeros = vec![0_u8; 100 << 20];
    assert!(matches!(inspect(&zeros), Err(InspectError::NotWasm(_))));
    // Behind the right header they are a custom section of no length, over and over: refused at the first.
    let mut headed = b"\0asm\x0d\0\x01\0".to_vec();
    headed.extend_from_slice(&zeros);
    assert!(inspect(&headed).is_err());
}

#[test]
fn wherever_it_is_cut_off_it_is_refused() {
    let bytes = package(&failure(), &json!({"id": "demo"}), &BTreeMap::new()).expect("packed");
    let whole = failure().len();
    for length in 1..bytes.len() {
        // Cut exactly before the metadata it is whole again.
        if length != whole {
            assert!(inspect(&bytes[..length]).is_err(), "cut to {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn what_is_packed_comes_out_again_and_packing_twice_is_packing_once() {
    let files = BTreeMap::from([
        ("workload.yaml".to_owned(), b"kind: Pod\n".to_vec()),
        ("data/blob.bin".to_owned(), vec![0, 159, 146, 150]),
    ]);
    let metadata = json!({"id": "demo", "name": "Demo"});
    let packed = package(&failure(), &metadata, &files).expect("packed");
    let inspected = inspect(&packed).expect("a failure");
    assert_eq!(inspected.metadata, Some(metadata.clone()));
    assert_eq!(inspected.files, files);
    assert_eq!(package(&packed, &metadata, &files).expect("packed again"), packed);
    assert_eq!(unpackage(&packed).expect("unpacked"), failure());
    let other = embed_metadata(&packed, &json!({"id": "other"})).expect("replaced");
    assert_eq!(inspect(&other).expect("a failure").metadata, Some(json!({"id": "other"})));
    assert_eq!(inspect(&other).expect("a failure").files, files, "the files stay");
}

#[test]
fn paths_that_leave_the_folder_are_neither_packed_nor_read() {
    for path in ["../x", "/etc/passwd", "a//b", "a/./b", "", "a\\b", "c:x", "a\nb"] {
        let files = BTreeMap::from([(path.to_owned(), Vec::new())]);
        assert!(package(&failure(), &json!({}), &files).is_err(), "{path:?}");
    }
    let mut forged = failure();
    let data = br#"{"../evil": {"text": "x"}}"#;
    let section = wasm_encoder::CustomSection { name: component::FILES_SECTION.into(), data: data.as_slice().into() };
    wasm_encoder::ComponentSection::append_to_component(&section, &mut forged);
    assert!(matches!(inspect(&forged), Err(InspectError::Section { .. })));
}

#[test]
fn metadata_that_is_there_twice_or_no_object_is_refused() {
    let add = |mut bytes: Vec<u8>, data: &[u8]| {
        let section = wasm_encoder::CustomSection { name: component::METADATA_SECTION.into(), data: data.into() };
        wasm_encoder::ComponentSection::append_to_component(&section, &mut bytes);
        bytes
    };
    assert!(inspect(&add(failure(), b"{}")).is_ok());
    for wrong in
        [add(add(failure(), b"{}"), b"{}"), add(failure(), b"[]"), add(failure(), b"{"), add(failure(), b"\xff")]
    {
        assert!(matches!(inspect(&wrong), Err(InspectError::Section { .. })));
    }
    assert!(embed_metadata(&failure(), &json!([])).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), headed in any::<bool>()) {
        let bytes = if headed { [b"\0asm\x0d\0\x01\0".as_slice(), &bytes].concat() } else { bytes };
        let _ = inspect(&bytes);
        let _ = unpackage(&bytes);
        let _ = component::componentise(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = package(&failure(), &json!({"id": "demo"}), &BTreeMap::from([("a".to_owned(), vec![1])])).expect("packed");
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let _ = inspect(&bytes);
        let _ = unpackage(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = inspect(&bytes);
    }

    #[test]
    fn any_files_come_out_as_they_went_in(
        files in prop::collection::btree_map("[a-z]{1,8}(/[a-z.]{1,8}z)?", prop::collection::vec(any::<u8>(), 0..50), 0..5),
    ) {
        let packed = package(&failure(), &json!({"id": "demo"}), &files).expect("packed");
        prop_assert_eq!(inspect(&packed).expect("a failure").files, files);
    }
}
