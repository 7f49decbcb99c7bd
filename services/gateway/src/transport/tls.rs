//! TLS in front of everything else: the certificate, and that it is read again when it changes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::transport::socket::Socket;

/// How often to look whether the files have changed. Certificates are renewed weeks before they
/// end, so it could be rarer; an operator who has just replaced them wants to see it.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The first byte of a TLS connection (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// The certificate in force.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    offers_http2: bool,
    config: RwLock<Arc<ServerConfig>>,
    /// The files when they were last read.
    seen: Mutex<Seen>,
}

/// When a file was changed, and its size; nothing where it is not there.
type Stamp = Option<(SystemTime, u64)>;

/// The certificate's file and the key's.
type Seen = [Stamp; 2];

impl Tls {
    /// Reads the pair. ALPN offers HTTP/2 where it is on.
    ///
    /// # Errors
    /// With a sentence that begins with the setting to look at.
    pub(crate) fn read(
        certificate: PathBuf,
        key: PathBuf,
        offers_http2: bool,
    ) -> Result<Self, String> {
        // Before the files are read: what changes in between is read again.
        let seen = [stamp(&certificate), stamp(&key)];
        let config = load(&certificate, &key, offers_http2)?;
        Ok(Self {
            certificate,
            key,
            offers_http2,
            config: RwLock::new(config),
            seen: Mutex::new(seen),
        })
    }

    /// Shakes hands with a client; one whose first byte begins no handshake speaks clear text. The
    /// caller bounds the time.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<Socket> {
        let mut first = [HANDSHAKE];
        stream.peek(&mut first).await?;
        if first != [HANDSHAKE] {
            return Ok(Socket::Plain(stream));
        }
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Socket::Tls(Box::new(stream)))
    }

    /// Looks at the files for as long as the gateway runs.
    pub(crate) async fn watch(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = [stamp(&self.certificate), stamp(&self.key)];
            if now != *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
                self.reload();
            }
        }
    }

    /// Reads the pair again. Connections that are there go on; a pair with a fault changes nothing.
    pub(crate) fn reload(&self) {
        let now = [stamp(&self.certificate), stamp(&self.key)];
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        match load(&self.certificate, &self.key, self.offers_http2) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!("certificate read again");
            }
            // Between the exchange of the one file and the other it is no pair; then the other
            // file changes as well, and it is read once more.
            Err(fault) => tracing::error!(%fault, "the certificate stays as it was"),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} with {}", self.certificate.display(), self.key.display())
    }
}

fn stamp(file: &Path) -> Stamp {
    let data = fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}

fn load(certificate: &Path, key: &Path, offers_http2: bool) -> Result<Arc<ServerConfig>, String> {
    let of_certificate =
        |what: &str| format!("GATEWAY_TLS_CERTIFICATE {}: {what}", certificate.display());
    let of_key = |what: &str| format!("GATEWAY_TLS_KEY {}: {what}", key.display());
    let text = fs::read(certificate).map_err(|error| of_certificate(&error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| of_certificate(&explain(&error, "certificate")))?;
    if chain.is_empty() {
        return Err(of_certificate("there is no certificate in it"));
    }
    let text = fs::read(key).map_err(|error| of_key(&error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| of_key(&explain(&error, "private key")))?;
    // TLS 1.2 and 1.3, with what rustls believes to be safe.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| of_certificate(&error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| of_key(&format!("it does not fit the certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if offers_http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(Arc::new(config))
}

/// What is wrong with a file, without anything of what is in it.
fn explain(error: &PemError, what: &str) -> String {
    match error {
        PemError::NoItemsFound => format!("there is no {what} in it"),
        _ => "it is no PEM file".to_owned(),
    }
}
