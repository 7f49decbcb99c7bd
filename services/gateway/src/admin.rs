//! The operator's door, by default open to the same machine alone: metrics and readiness.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::BUILD;
use crate::config::Admin;
use crate::gate;
use crate::gateway::Gateway;
use crate::metrics::exposition;

/// For a request and its answer. A scraper takes milliseconds.
const BOUND: Duration = Duration::from_secs(10);

/// Scrapers at once.
const CONNECTIONS: usize = 16;

/// Answers until the process ends.
pub(crate) async fn run(listener: TcpListener, gateway: Arc<Gateway>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Without descriptors the same error would come back at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let gateway = gateway.clone();
        tokio::spawn(async move {
            // A scraper that is too slow asks again.
            let _ = timeout(BOUND, answer(stream, &gateway)).await;
            drop(place);
        });
    }
}

/// Binds the port.
///
/// # Errors
/// When one that was asked for cannot be had.
pub(crate) fn listen(admin: Admin) -> Result<Option<TcpListener>, runtime::ListenError> {
    match admin {
        Admin::At(address) => runtime::listen(address).map(Some),
        Admin::Unless(address) => Ok(runtime::listen(address)
            .inspect_err(|error| tracing::warn!(%error, "metrics are told nowhere"))
            .ok()),
        Admin::Off => Ok(None),
    }
}

async fn answer(mut stream: TcpStream, gateway: &Gateway) -> std::io::Result<()> {
    let mut bytes = bytes::BytesMut::new();
    let head = loop {
        if let Ok(Some(end)) = gate::end_of_head(&bytes, 0) {
            break gate::read(&bytes.split_to(end).freeze());
        }
        if stream.read_buf(&mut bytes).await? == 0 || bytes.len() > gate::HEAD_BYTES {
            return Ok(());
        }
    };
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match head.as_ref().map(|head| &head.target[..]) {
        Ok(b"/metrics") => {
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8", exposition(gateway))
        }
        Ok(b"/healthz") => ("200 OK", "application/json", BUILD.health()),
        Ok(b"/readyz") => match gateway.not_ready() {
            None => ("200 OK", plain, "ok\n".to_owned()),
            Some(why) => ("503 Service Unavailable", plain, why + "\n"),
        },
        Ok(_) => ("404 Not Found", plain, "there are /metrics, /healthz and /readyz\n".to_owned()),
        Err(problem) => ("400 Bad Request", plain, problem.detail.clone() + "\n"),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
