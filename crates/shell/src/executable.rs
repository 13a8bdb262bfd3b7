//! Whether the first word of a command can be executed.

use crate::files::Files;
use crate::image::{Image, Program};
use crate::process::StartError;

/// What runc says when it cannot.
pub(crate) fn check(argv: &[String], image: &Image, files: &Files) -> Result<(), StartError> {
    let Some(program) = argv.first() else {
        return Err(StartError("no command specified".to_owned()));
    };
    match image.find(program, files) {
        Program::Known(_) | Program::Script(_) => Ok(()),
        Program::NotExecutable => Err(StartError(format!("exec: \"{program}\": permission denied"))),
        Program::Missing if program.contains('/') => {
            Err(StartError(format!("exec: \"{program}\": stat {program}: no such file or directory")))
        }
        Program::Missing => Err(StartError(format!("exec: \"{program}\": executable file not found in $PATH"))),
    }
}
