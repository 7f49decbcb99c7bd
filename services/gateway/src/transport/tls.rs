//! TLS for client connections: certificate loading and reload.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::lock::{lock, read, write};
use crate::transport::socket::Socket;
use crate::transport::workers::read_files;

/// Interval at which the files are checked for changes. Certificates are renewed weeks before they
/// expire, so a longer interval would suffice; but an operator who replaces them wants to see the
/// effect.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// First byte of a TLS connection (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Active certificate.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    offers_http2: bool,
    config: RwLock<Arc<ServerConfig>>,
    /// State of the files at the last load.
    seen: Mutex<Seen>,
}

/// Time of the last change of a file, and its size; `None` if it does not exist. Unlike the
/// modification time, this time changes with the permissions too, and with a rename.
type Stamp = Option<(i64, i64, u64)>;

/// Stamps of certificate and key.
type Seen = [Stamp; 2];

impl Tls {
    /// Loads certificate and key. ALPN offers HTTP/2 if it is enabled.
    ///
    /// # Errors
    /// Returns a message that begins with the name of the setting.
    pub(crate) fn read(
        certificate: PathBuf,
        key: PathBuf,
        offers_http2: bool,
    ) -> Result<Self, String> {
        // Before the files are read: a change in between causes another load.
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

    /// Performs the handshake with a client; a client whose first byte is not a handshake is
    /// treated as plaintext. The caller limits the time.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<Socket> {
        let mut first = [HANDSHAKE];
        stream.peek(&mut first).await?;
        if first != [HANDSHAKE] {
            return Ok(Socket::Left(stream));
        }
        let config = read(&self.config).clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Socket::Right(Box::new(stream)))
    }

    /// Checks the files for changes until the process ends.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut ticks = interval(RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let tls = self.clone();
            let check = move || {
                let now = [stamp(&tls.certificate), stamp(&tls.key)];
                if now != *lock(&tls.seen) {
                    tls.reload();
                }
            };
            let _ = read_files(check).await;
        }
    }

    /// Reloads certificate and key, and blocks meanwhile. Existing connections continue; an invalid
    /// pair changes nothing.
    pub(crate) fn reload(&self) {
        // Held until the end: a slow reload must not replace what a later one has loaded.
        let mut seen = lock(&self.seen);
        *seen = [stamp(&self.certificate), stamp(&self.key)];
        match load(&self.certificate, &self.key, self.offers_http2) {
            Ok(config) => {
                *write(&self.config) = config;
                tracing::info!("certificate reloaded");
            }
            // While only one of the two files is replaced, the pair is invalid. The change of the
            // other file causes another load.
            Err(fault) => {
                tracing::error!(%fault, "cannot reload the certificate; keeping the current one");
            }
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
    Some((data.ctime(), data.ctime_nsec(), data.len()))
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
    // TLS 1.2 and 1.3 with the safe defaults of rustls.
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

/// The error of a PEM file without any of its content.
fn explain(error: &PemError, what: &str) -> String {
    match error {
        PemError::NoItemsFound => format!("there is no {what} in it"),
        _ => "it is no PEM file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_change_of_permissions_causes_another_load() {
        let file = std::env::temp_dir().join(format!("gateway-stamp-{}", std::process::id()));
        fs::write(&file, "key").unwrap();
        let before = stamp(&file);
        assert!(before.is_some());
        let begun = Instant::now();
        // The clock of the kernel advances every few milliseconds.
        while stamp(&file) == before {
            assert!(begun.elapsed() < Duration::from_secs(10));
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(stamp(&file), None);
    }
}
