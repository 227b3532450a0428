//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
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
    /// Address and port of the gateway [env: `WHARFINGER_LISTEN`]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Name of this Docker host in the fleet [env: `WHARFINGER_HOST_NAME`]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    host_name: Option<String>,
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
    Worker(WorkerArgs),
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

#[derive(Debug, Default, Args)]
struct ServeArgs {
    #[arg(
        long,
        help = "Address and port of the gateway [env: WHARFINGER_LISTEN]"
    )]
    listen: Option<SocketAddr>,
    #[arg(
        long,
        value_name = "NAME",
        help = "Name of this Docker host in the fleet [env: WHARFINGER_HOST_NAME]"
    )]
    host_name: Option<String>,
    /// Run no worker, because the Docker hosts run their own
    #[arg(long)]
    no_worker: bool,
    /// Do not migrate the database (run `wharfinger migrate` for that)
    #[arg(long)]
    no_migrate: bool,
}

#[derive(Debug, Args)]
struct WorkerArgs {
    #[arg(
        long,
        value_name = "NAME",
        help = "Name of this Docker host in the fleet [env: WHARFINGER_HOST_NAME]"
    )]
    host_name: Option<String>,
    /// Do not migrate the database (run `wharfinger migrate` for that)
    #[arg(long)]
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
    let Settings {
        config: file,
        mut flags,
    } = settings;
    let command = command.unwrap_or_else(|| Command::Serve(ServeArgs::default()));
    match &command {
        Command::Serve(args) => {
            flags.listen = args.listen;
            flags.host_name.clone_from(&args.host_name);
        }
        Command::Worker(args) => flags.host_name.clone_from(&args.host_name),
        _ => {}
    }
    let config = Config::load(file.as_deref(), &Serialized::defaults(&flags))?;
    let loose = data_dir::make_private(&config)?;
    match command {
        Command::Serve(args) => {
            let options = serve::ServeOptions {
                worker: !args.no_worker,
                migrate: !args.no_migrate,
            };
            let role = Role::Gateway {
                worker: options.worker,
            };
            let telemetry = telemetry::start(config.telemetry(), role)?;
            warn_of(&loose);
            let served = serve::serve(config, options).await;
            telemetry.stop().await;
            served
        }
        Command::Worker(args) => {
            let telemetry = telemetry::start(config.telemetry(), Role::Worker)?;
            warn_of(&loose);
            let worked = worker::run(config, !args.no_migrate).await;
            telemetry.stop().await;
            worked
        }
        Command::Migrate => {
            telemetry::start_warnings();
            warn_of(&loose);
            startup::database(&config, true).await.map(|_| ())
        }
        Command::User(UserCommand::Create {
            name,
            admin,
            credits,
            password_stdin,
        }) => {
            telemetry::start_warnings();
            warn_of(&loose);
            user_create::run(&config, name, admin, credits, password_stdin).await
        }
        Command::Schema | Command::Client(_) => {
            unreachable!("handled before the settings are read")
        }
    }
}

/// Logs warnings that arose before the log was set up.
fn warn_of(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
