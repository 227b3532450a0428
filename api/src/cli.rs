//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use figment::Figment;
use figment::providers::Serialized;
use serde::Serialize;
use wharfinger_entity::Credits;

use crate::client::{self, ClientCommand};
use crate::commands::{serve, user_create, worker};
use crate::config::Config;
use crate::graphql;
use crate::observability::telemetry::{self, Role};
use crate::startup::{self, data_dir};

/// Pulls container images onto a fleet of shared Docker hosts, metered per user, through one GraphQL endpoint.
#[derive(Debug, Parser)]
#[command(name = "wharfinger", version, propagate_version = true)]
struct Program {
    #[command(flatten, next_help_heading = "Settings of the gateway and of workers")]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The settings file, and settings as flags.
#[derive(Debug, Args)]
struct Settings {
    /// A settings file, in the form of api/default.toml
    #[arg(long, global = true, env = "WHARFINGER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// Settings that may be given as flags. They win over the environment, which wins over the file.
#[derive(Debug, Args, Serialize)]
struct Flags {
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help = "Where the database file lives [env: WHARFINGER_DATA_DIR]"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        help = "What to log: error, warn, info, debug, trace, or directives [env: WHARFINGER_LOG]"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, for as long as it takes to look at it"
)]
enum Command {
    /// Run the gateway and a worker for the local engine (the default)
    Serve(ServeArgs),
    /// Run only a worker, for a Docker host of a fleet
    Worker(ProcessArgs),
    /// Bring the database up to date
    Migrate,
    /// Print the GraphQL schema
    Schema,
    /// Create users directly in the database
    #[command(subcommand)]
    User(UserCommand),
    #[command(flatten)]
    Client(ClientCommand),
}

#[derive(Debug, Default, Args, Serialize)]
struct ServeArgs {
    #[arg(
        long,
        help = "Address and port of the gateway [env: WHARFINGER_LISTEN]"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    #[serde(flatten)]
    process: ProcessArgs,
    /// Run no worker, because the Docker hosts run their own
    #[arg(long)]
    #[serde(skip)]
    no_worker: bool,
}

/// Arguments of gateways and workers.
#[derive(Debug, Default, Args, Serialize)]
struct ProcessArgs {
    #[arg(
        long,
        value_name = "NAME",
        help = "Name of this Docker host in the fleet [env: WHARFINGER_HOST_NAME]"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    host_name: Option<String>,
    /// Do not migrate the database (run `wharfinger migrate` for that)
    #[arg(long)]
    #[serde(skip)]
    no_migrate: bool,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Create a user, and print an API token alone on standard output
    Create {
        /// Unique, regardless of case
        name: String,
        /// Make the user an administrator
        #[arg(long)]
        admin: bool,
        /// First balance (default: `credits.initial`)
        #[arg(long, value_name = "N")]
        credits: Option<Credits>,
        /// Read a password from standard input, so that the user can sign in
        #[arg(long)]
        password_stdin: bool,
    },
}

/// How long blocking threads may run after the end of the program.
const LAST_THREADS: Duration = Duration::from_secs(2);

/// Runs the program, and returns its exit code. The runtime is started here rather than in `main.rs`, because a future is
/// compiled where it is polled: there the whole program would be compiled a second time.
pub fn run() -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let code = runtime.block_on(Box::pin(program()));
            // A thread that waits for a disk that does not answer must not keep the process.
            runtime.shutdown_timeout(LAST_THREADS);
            code
        }
        Err(error) => {
            eprintln!("wharfinger: cannot start its threads: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn program() -> ExitCode {
    let program = Program::parse();
    match program.command {
        // The client has settings and exit codes of its own.
        Some(Command::Client(command)) => client::run(command).await,
        command => match administer(program.settings, command).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("wharfinger: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

async fn administer(settings: Settings, command: Option<Command>) -> anyhow::Result<()> {
    if matches!(command, Some(Command::Schema)) {
        print!("{}", graphql::sdl());
        return Ok(());
    }
    let mut flags = Figment::from(Serialized::defaults(&settings.flags));
    let command = command.unwrap_or_else(|| Command::Serve(ServeArgs::default()));
    let role = match &command {
        Command::Serve(args) => {
            flags = flags.merge(Serialized::defaults(args));
            let worker = !args.no_worker;
            Some(Role::Gateway { worker })
        }
        Command::Worker(args) => {
            flags = flags.merge(Serialized::defaults(args));
            Some(Role::Worker)
        }
        _ => None,
    };
    let config = Config::load(settings.config.as_deref(), &flags)?;
    let warnings = data_dir::make_private(&config)?;
    let telemetry = role.map(|role| telemetry::start(config.telemetry(), role));
    let telemetry = telemetry.transpose()?;
    if telemetry.is_none() {
        telemetry::start_warnings();
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let done = run_command(config, command).await;
    if let Some(telemetry) = telemetry {
        telemetry.stop().await;
    }
    done
}

async fn run_command(config: Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => {
            let options = serve::ServeOptions {
                worker: !args.no_worker,
                migrate: !args.process.no_migrate,
            };
            serve::serve(config, options).await
        }
        Command::Worker(args) => worker::run(config, !args.no_migrate).await,
        Command::Migrate => {
            let migrated = startup::database(&config, true, Duration::ZERO).await;
            migrated.map(|_| ())
        }
        Command::User(UserCommand::Create {
            name,
            admin,
            credits,
            password_stdin,
        }) => user_create::run(&config, name, admin, credits, password_stdin).await,
        Command::Schema | Command::Client(_) => {
            unreachable!("handled before the settings are read")
        }
    }
}
