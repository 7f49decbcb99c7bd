//! The identity of the client of a request.

use std::net::IpAddr;

use http::HeaderValue;

/// Whom a request comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Client {
    /// This address.
    Known(IpAddr),
    /// A client that the trusted proxy at this address does not name, or not so that it could be
    /// understood.
    Behind(IpAddr),
}

impl Client {
    /// The nearest that is known of the client's address.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Known(address) | Self::Behind(address) => address,
        }
    }
}

/// How a client reached the first of the proxies that are trusted, or the gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scheme {
    /// In clear text.
    Http,
    /// Encrypted.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let is = |scheme: &Self| text.eq_ignore_ascii_case(scheme.name());
        [Self::Http, Self::Https].into_iter().find(is)
    }
}

/// Who asks, and what for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientInfo {
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// The peer is a trusted proxy.
    pub(crate) is_trusted: bool,
    /// The client.
    pub(crate) client: Client,
    /// The way from the client to the peer, without the peer.
    pub(crate) way: Vec<IpAddr>,
    /// How the client came.
    pub(crate) scheme: Scheme,
    /// The host that the client asked for.
    pub(crate) host: Option<HeaderValue>,
    /// The request's id.
    pub(crate) request_id: String,
}
