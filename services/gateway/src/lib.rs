//! The gateway: reverse proxy in front of the services. `/stats` and below goes to stats,
//! everything else to the frontend; the gateway itself serves `/fleet`, `/healthz` and `/readyz`.

mod admin;
mod cache;
mod compression;
mod context;
mod deadline;
mod digits;
mod fields;
mod fleet;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod identity_map;
mod listener;
mod lock;
mod memory_budget;
mod message;
mod pipeline;
mod request;
mod response;
mod routing;
mod settings;
mod state;
mod telemetry;
mod transport;
mod upstream;

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;

use service::{Build, Launch, Process, ServiceInfo};
use tokio::signal::unix::{SignalKind, signal};

use crate::listener::redirect::Redirect;
use crate::request::Faults;
use crate::settings::Config;
use crate::state::Gateway;
use crate::telemetry::access_log;
use crate::transport::workers::{self, Workers};

/// Version and revision of this program.
const BUILD: Build = service::build!();

const INFO: ServiceInfo = ServiceInfo {
    name: "gateway",
    build: BUILD,
    prefix: "GATEWAY",
    listen_name: "GATEWAY_LISTEN",
    port: 3050,
};

/// Runs the gateway with the arguments and the environment of the process.
pub fn run() -> ExitCode {
    let (process, config) = match service::launch_or_explain(&INFO, Config::read, Config::explain) {
        Launch::Serve(process, config) => (process, config),
        Launch::Exit(code) => return code,
    };
    let workers = match Workers::start(config.threads) {
        Ok(workers) => workers,
        Err(error) => return workers::cannot_start(&error),
    };
    let serving = |shutdown| serve(process, config, workers, shutdown);
    workers::run(service::serve_until_terminated(&INFO, serving))
}

async fn serve(
    process: Process,
    config: Config,
    workers: Workers,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    // Before the lookups, which take a while: without a handler, SIGHUP ends the process.
    let hangup = signal(SignalKind::hangup());
    let listener = service::listen(process.listen)?;
    let _log = access_log::open(process.json_logs, config.log_percent);
    let redirect = match config.redirect {
        Some(address) => {
            let own = listener.local_addr().map_or(process.listen.port(), |own| own.port());
            let port = config.redirect_port.unwrap_or(own);
            let redirect = Redirect::new(config.hosts(process.listen), port);
            Some((service::listen(address)?, redirect))
        }
        None => None,
    };
    // The last one, because its default address gives way to the others.
    let admin = admin::listen(config.admin)?;
    let hosts = config.hosts(process.listen);
    // The files of the routes were valid during the check before, but may have changed.
    let gateway = Gateway::start(config, hosts).map_err(Faults)?;
    gateway.wait_for_lookups().await;
    if let Some(admin) = admin {
        tokio::spawn(admin::run(admin, gateway.clone()));
    }
    if let Some((listener, redirect)) = redirect {
        tokio::spawn(redirect.run(listener, gateway.clone()));
    }
    if let Ok(mut hangup) = hangup {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                gateway.reload().await;
            }
        });
    }
    listener::http1::run(listener, gateway, workers, process.drain, shutdown).await;
    Ok(())
}
