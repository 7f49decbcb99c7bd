//! hello: an HTTP service with one route that returns JSON.

mod config;
mod routes;

use std::process::ExitCode;
use std::sync::Arc;

use config::Config;
use server::Limits;
use service::{Build, Launch, ListenError, Process, ServiceInfo};

/// Version and commit of this program.
const BUILD: Build = service::build!();

const INFO: ServiceInfo = ServiceInfo {
    name: "hello",
    build: BUILD,
    prefix: "HELLO",
    listen_name: "HELLO_LISTEN",
    // Unless HELLO_LISTEN is set.
    port: 8081,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (process, config) = match service::launch(&INFO, Config::read) {
        Launch::Serve(process, config) => (process, config),
        Launch::Exit(code) => return code,
    };
    service::serve_until_terminated(&INFO, |signal| run(process, config, signal)).await
}

async fn run(
    process: Process,
    config: Config,
    signal: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let listener = service::listen(process.listen)?;
    let limits = Limits { drain: process.drain, ..Limits::default() };
    let config = Arc::new(config);
    let handler = move |request: hyper::Request<_>| {
        let response = routes::respond(request.method(), request.uri().path(), &config);
        async { response }
    };
    server::run(listener, handler, limits, signal).await;
    Ok(())
}
