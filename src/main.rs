//! The `cachefrom` binary: parses the command line, runs one command, ends in an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cachefrom::cli::main()
}
