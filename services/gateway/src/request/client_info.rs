//! Client identity of a request.

use std::net::IpAddr;

use http::HeaderValue;

/// Identity of the client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Client {
    /// Known address.
    Known(IpAddr),
    /// A client that the trusted proxy at this address does not identify in a valid form.
    Behind(IpAddr),
}

impl Client {
    /// The client's address, or that of the closest known proxy.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Known(address) | Self::Behind(address) => address,
        }
    }
}

/// Scheme between the client and the first trusted proxy, or the gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scheme {
    /// Plaintext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// Scheme name in a URL.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        // Traefik reports `ws` and `wss` for WebSocket handshakes.
        let names = [
            ("http", Self::Http),
            ("https", Self::Https),
            ("ws", Self::Http),
            ("wss", Self::Https),
        ];
        let known = names.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        known.map(|(_, scheme)| scheme)
    }
}

/// Client, scheme, host and id of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientInfo {
    /// Address of the peer.
    pub(crate) peer: IpAddr,
    /// Whether the peer is a trusted proxy.
    pub(crate) is_trusted: bool,
    /// The client.
    pub(crate) client: Client,
    /// Addresses from the client to the last proxy before the peer.
    pub(crate) proxy_chain: Vec<IpAddr>,
    /// Scheme that the client used.
    pub(crate) scheme: Scheme,
    /// Host that the client requested.
    pub(crate) host: Option<HeaderValue>,
    /// Request id.
    pub(crate) request_id: String,
}
