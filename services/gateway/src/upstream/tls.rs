//! TLS to upstreams: trusted certificate authorities, and verified connections.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::fs;
use std::future::Future;
use std::hash::Hasher;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

use super::Failure;
use crate::lock::lock;

/// Minimum time between two log lines about failed handshakes of a route: each request may cause
/// one, and the access log has all of them.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Bundles of certificate authorities on Debian and Alpine, on Fedora, and on other systems.
const CA_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Certificate authorities that the gateway trusts for upstreams.
pub(crate) struct Roots {
    pub(crate) file: PathBuf,
    /// Digest of the file: pools are reused while it stays the same.
    digest: u64,
    config: Arc<ClientConfig>,
}

impl Roots {
    /// Loads this file, or the system's bundle.
    ///
    /// # Errors
    /// Returns a message that names the setting.
    pub(crate) fn read(file: Option<&Path>) -> Result<Arc<Self>, String> {
        let Some(file) = file else {
            let bundle = CA_BUNDLES.iter().map(Path::new).find(|bundle| bundle.exists());
            return Self::load(bundle.ok_or(
                "a route has an https:// address, but GATEWAY_UPSTREAM_CA is not set and this \
                 system has no certificate authorities",
            )?);
        };
        Self::load(file)
    }

    fn load(file: &Path) -> Result<Arc<Self>, String> {
        let fault = |what: &str| format!("GATEWAY_UPSTREAM_CA {}: {what}", file.display());
        let text = fs::read(file).map_err(|error| fault(&error.to_string()))?;
        let mut roots = RootCertStore::empty();
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = certificates.map_err(|_| fault("it is not a PEM file"))?;
        // Bundles contain certificates that verifiers no longer accept.
        let (added, ignored) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(fault("there is no certificate in it"));
        }
        if ignored > 0 {
            tracing::debug!(file = %file.display(), added, ignored, "certificate authorities");
        }
        let mut digest = DefaultHasher::new();
        digest.write(&text);
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| fault(&error.to_string()))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (file, digest) = (file.to_owned(), digest.finish());
        Ok(Arc::new(Self { file, digest, config: Arc::new(config) }))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())
    }
}

/// TLS to the upstreams of one route.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamTls {
    /// Host with an optional port.
    host: Arc<str>,
    /// Name that the certificate must match; also sent as SNI, unless it is an address.
    name: ServerName<'static>,
    /// Trusted certificate authorities.
    pub(crate) roots: Arc<Roots>,
    /// Time of the last logged failure.
    last_logged: Arc<Mutex<Option<Instant>>>,
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.host == other.host && self.roots.digest == other.roots.digest
    }
}

impl UpstreamTls {
    /// TLS settings for upstreams with this host.
    pub(crate) fn new(host: &str, roots: &Arc<Roots>) -> Option<Self> {
        let name = server_name(host)?;
        Some(Self { host: host.into(), name, roots: roots.clone(), last_logged: Arc::default() })
    }

    /// Performs the handshake on a new connection. The caller limits the time.
    async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        address: SocketAddr,
        stream: S,
    ) -> Result<TlsStream<S>, Failure> {
        let connector = TlsConnector::from(self.roots.config.clone());
        connector.connect(self.name.clone(), stream).await.map_err(|error| {
            self.log(address, &error);
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
            match inner {
                Some(TlsError::InvalidCertificate(_)) => Failure::Certificate,
                Some(_) => Failure::Tls,
                None => Failure::of(&error),
            }
        })
    }

    fn log(&self, address: SocketAddr, error: &io::Error) {
        let mut last_logged = lock(&self.last_logged);
        if last_logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            tracing::warn!(%address, name = %self.host, %error, "TLS handshake with an upstream failed");
            *last_logged = Some(Instant::now());
        }
    }

    /// Performs the handshake on a connection for requests.
    pub(super) async fn secure(
        &self,
        address: SocketAddr,
        stream: Stream,
    ) -> Result<Stream, Failure> {
        let id = stream.id();
        let stream = self.connect(address, stream).await?;
        Ok(Box::new(TlsConnection { stream, id, needs_flush: false }))
    }
}

/// Name that the certificate must match, from a host with an optional port.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => host.split(':').next()?,
    };
    ServerName::try_from(name.to_owned()).ok()
}

/// Connection for a request that the gateway itself originates.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Opens a connection, with or without TLS. The caller limits the time.
pub(super) async fn open(
    address: SocketAddr,
    tls: Option<&UpstreamTls>,
) -> Result<Box<dyn Io>, Failure> {
    let stream = TcpStream::connect(address).await.map_err(|error| Failure::of(&error))?;
    Ok(match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.connect(address, stream).await?),
    })
}

/// A TLS connection in the type that Pingora uses for all upstream connections.
#[derive(Debug)]
struct TlsConnection {
    stream: TlsStream<Stream>,
    id: UniqueIDType,
    /// Written data is not flushed completely.
    needs_flush: bool,
}

impl TlsConnection {
    fn poll_pending_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.needs_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A caller that waits for the response has written the request, and plain connections need
        // no flush. An error shows up in the following read.
        let _ = self.poll_pending_flush(context);
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.needs_flush = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.needs_flush = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Shutdown for TlsConnection {
    fn shutdown<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            // The connection ends in any case.
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await;
        })
    }
}

impl UniqueID for TlsConnection {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl Ssl for TlsConnection {}

impl Peek for TlsConnection {}

impl GetTimingDigest for TlsConnection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for TlsConnection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for TlsConnection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_name_is_the_host_without_its_port() {
        let name = |host: &str| server_name(host).map(|name| name.to_str().into_owned());
        for (host, expected) in [
            ("api.internal", Some("api.internal")),
            ("api.internal:8443", Some("api.internal")),
            ("10.0.0.1:443", Some("10.0.0.1")),
            ("[::1]:443", Some("::1")),
            ("[::1]", Some("::1")),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(name(host).as_deref(), expected, "{host}");
        }
    }
}
