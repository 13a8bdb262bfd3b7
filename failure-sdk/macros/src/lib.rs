//! `metadata!()`: the `metadata.yaml` beside a failure's Cargo.toml as JSON text, checked while the failure is compiled.
//! Checks what can be known here; `harness-cli failures build` checks the rest (expressions, parameters, capabilities).

mod check;

use std::path::{Path, PathBuf};

use proc_macro::{Literal, TokenStream, TokenTree};

/// Expands to the JSON text of `metadata.yaml`, a `&'static str`; a mistake in the file is a compile error that names its line.
#[proc_macro]
pub fn metadata(_: TokenStream) -> TokenStream {
    match read() {
        Ok((path, json)) => {
            // `include_bytes!` makes the compiler look at the file again when it changes.
            let path = TokenTree::Literal(Literal::string(&path.to_string_lossy()));
            let json = TokenTree::Literal(Literal::string(&json));
            parse(&format!("{{ const _: &[u8] = include_bytes!({path}); {json} }}"))
        }
        Err(message) => {
            parse(&format!("{{ compile_error!({}); \"\" }}", TokenTree::Literal(Literal::string(&message))))
        }
    }
}

fn parse(code: &str) -> TokenStream {
    code.parse().unwrap_or_default()
}

fn read() -> Result<(PathBuf, String), String> {
    let folder = std::env::var("CARGO_MANIFEST_DIR").map_err(|_| "failures are built by cargo".to_owned())?;
    let folder = Path::new(&folder);
    let path = folder.join("metadata.yaml");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; every failure has its metadata there", path.display()))?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match check::check(&text, &name) {
        Ok(value) => Ok((path, value.to_string())),
        Err(problems) => Err(problems.iter().map(|p| format!("metadata.yaml:{p}")).collect::<Vec<_>>().join("\n")),
    }
}
