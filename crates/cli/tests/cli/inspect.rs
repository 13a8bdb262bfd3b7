//! `failures inspect` on files of any origin: a clear error, no panic, no code run.

use crate::support::Folder;

#[test]
fn what_is_no_component_is_named_as_what_it_is() {
    let folder = Folder::new();
    folder.write("text.wasm", "kind: nothing of the sort\n");
    folder.write("zeros.wasm", vec![0_u8; 100 * 1024 * 1024]);
    folder.write("core.wasm", b"\0asm\x01\0\0\0");
    folder.write("cut.wasm", b"\0asm\x0d\0\x01\0\x01\xff\xff\x03");
    folder.write("empty.wasm", b"");
    for (name, word) in [
        ("text.wasm", "text file"),
        ("zeros.wasm", "not WebAssembly"),
        ("core.wasm", "core WebAssembly module"),
        ("cut.wasm", "cut off"),
        ("empty.wasm", "empty"),
        ("absent.wasm", "absent.wasm"),
        ("home", "home"),
    ] {
        for extra in [&[][..], &["--grants"], &["--format", "json"]] {
            let args = [&["failures", "inspect", name], extra].concat();
            let ended = folder.run(&args).expect(1).says(&[name, word]);
            assert_eq!(ended.stdout, "", "{name}: errors are talk");
        }
    }
}
