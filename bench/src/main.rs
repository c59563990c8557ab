//! The command `pigeon-bench`.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use clap::Parser as _;
use pigeon_bench::args::{ChurnArgs, Cli, Command};
use pigeon_bench::engine::Engine;
use pigeon_bench::splice::Splice;
use pigeon_bench::subscribers::{self, Churn};
use pigeon_bench::{compare, files, load};

fn main() -> anyhow::Result<()> {
    files::allow_many()?;
    match Cli::parse().command {
        Command::Engine(args) => {
            let mut engine = Engine::bind(args.listen, args.addresses, args.settings())?;
            announce(engine.address()?, args.until_stdin_ends)?;
            engine.run()
        }
        Command::Splice(args) => {
            let mut splice = Splice::bind(args.listen, args.engine)?;
            announce(splice.address()?, args.until_stdin_ends)?;
            splice.run()
        }
        Command::Compare(args) => compare::compare(&args.settings()),
        Command::Scale(args) => compare::scale::scale(&args.settings()),
        Command::Churn(args) => {
            let ChurnArgs { subscribers, routes, rate, seconds, admin } = args;
            let plan = Churn { subscribers, routes, rate, seconds };
            let churned = subscribers::churn(&admin, &plan)?;
            println!("{}", serde_json::to_string_pretty(&churned)?);
            Ok(())
        }
        Command::Load(args) => {
            let report = load::run(&args.plan())?;
            println!("{}", serde_json::to_string_pretty(&report)?);
            Ok(())
        }
    }
}

/// Says where it listens; and ends with whoever started it, if that is wanted.
fn announce(address: SocketAddr, until_stdin_ends: bool) -> anyhow::Result<()> {
    println!("{address}");
    std::io::stdout().flush()?;
    if until_stdin_ends {
        std::thread::spawn(|| {
            let mut rest = [0; 64];
            while std::io::stdin().read(&mut rest).is_ok_and(|n| n > 0) {}
            std::process::exit(0);
        });
    }
    Ok(())
}
