//! Client identity: the peer, or the address that trusted proxies in front of the gateway report.
//! Only fields of trusted proxies are used, and only the parts that proxies write themselves.
//!
//! A trusted proxy must append its peer to `X-Forwarded-For` or replace the field, and must replace
//! `X-Forwarded-Proto`, as AWS's load balancer and the usual nginx configuration do. If
//! `X-Forwarded-For` is present, `Forwarded` (RFC 7239) is ignored: most proxies write only the
//! former, and pass the client's `Forwarded` through.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderValue;
use http::header::{FORWARDED, HOST, HeaderName};

use super::cidr::Networks;
use super::client_info::{Client, ClientInfo, Scheme};
use crate::fields::Fields;
use crate::request::forwarded::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REQUEST_ID};
use crate::request::identifier::new_request_id;
use crate::request::parse;

/// Maximum proxies in a chain. A longer one is a loop or forged.
const MAX_HOPS: usize = 16;

/// Maximum characters of an accepted request id; a UUID has 36.
const LONGEST_REQUEST_ID: usize = 128;

/// Trusted proxies, and the fields that they set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TrustedProxies {
    /// Networks of the proxies. Keep them as narrow as possible: a client inside these networks can
    /// forge its address.
    pub(crate) proxies: Networks,
    /// Whether they set `X-Forwarded-Host` (or `host` in `Forwarded`). AWS's load balancer does
    /// not, and passes the client's field through.
    pub(crate) host: bool,
}

impl TrustedProxies {
    /// Identifies the client of a request with these fields from `peer`, on a connection with this
    /// scheme.
    pub(crate) fn client_info(
        &self,
        peer: IpAddr,
        connection_scheme: Scheme,
        headers: &Fields,
    ) -> ClientInfo {
        let peer = peer.to_canonical();
        let host = headers.get(HOST).cloned();
        if !self.proxies.contains(peer) {
            return ClientInfo {
                peer,
                is_trusted: false,
                client: Client::Known(peer),
                proxy_chain: Vec::new(),
                scheme: connection_scheme,
                host,
                request_id: new_request_id(),
            };
        }
        let (walk, element) = if headers.contains_key(FORWARDED_FOR) {
            (self.walk(peer, members(headers, &FORWARDED_FOR).map(|hop| address(hop?))), None)
        } else {
            let walk = self.walk(peer, elements(headers).map(|element| address(&element?.node?)));
            // All parameters come from one element: that of the proxy next to the client.
            let element = walk.hops.checked_sub(1).and_then(|index| elements(headers).nth(index));
            (walk, element.flatten())
        };
        let element = element.unwrap_or_default();
        let scheme = match (&element.scheme, members(headers, &FORWARDED_PROTO).next()) {
            // An invalid scheme must not count as encrypted.
            (Some(text), _) => Scheme::parse(text).unwrap_or(Scheme::Http),
            (None, Some(text)) => text.and_then(Scheme::parse).unwrap_or(Scheme::Http),
            (None, None) => connection_scheme,
        };
        let forwarded_host = if self.host {
            let element = element.host.and_then(|host| HeaderValue::from_str(&host).ok());
            element.or_else(|| headers.only(&FORWARDED_HOST).cloned()).filter(is_host)
        } else {
            None
        };
        let request_id = headers.only(&REQUEST_ID).and_then(|id| id.to_str().ok());
        ClientInfo {
            peer,
            is_trusted: true,
            client: walk.client,
            proxy_chain: walk.proxy_chain,
            scheme,
            host: forwarded_host.or(host),
            request_id: request_id
                .filter(|id| is_request_id(id))
                .map_or_else(new_request_id, str::to_owned),
        }
    }

    /// Follows the chain from the peer to the client, as long as a trusted proxy names the next
    /// address. An invalid address ends the walk, because everything beyond it might be forged.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> Walk {
        let mut walk = Walk { client: Client::Known(peer), proxy_chain: Vec::new(), hops: 0 };
        for hop in hops {
            walk.hops += 1;
            let Some(address) = hop.filter(|_| walk.proxy_chain.len() < MAX_HOPS) else {
                walk.client = Client::Behind(walk.client.address());
                break;
            };
            walk.proxy_chain.push(address);
            walk.client = Client::Known(address);
            if !self.proxies.contains(address) {
                break;
            }
        }
        walk.proxy_chain.reverse();
        walk
    }
}

struct Walk {
    client: Client,
    proxy_chain: Vec<IpAddr>,
    /// Number of list members that the walk visited.
    hops: usize,
}

/// Members of a list that may span several fields, in reverse order. `None` is a member that is not
/// text; it does not invalidate the later ones, which a proxy has appended.
fn members<'a>(headers: &'a Fields, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    headers.members(name).rev().map(text_of)
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.trim_ascii()).ok()
}

/// Parses an address with an optional port, as proxies write it: `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port): (IpAddr, _) = if let Some(text) = text.strip_prefix('[') {
        let (address, rest) = text.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else {
        let (address, port) = text.split_once(':')?;
        (address.parse::<Ipv4Addr>().ok()?.into(), Some(port))
    };
    port.is_none_or(is_port).then(|| address.to_canonical())
}

/// Whether the text is a port number, or an obfuscated port (RFC 7239, section 6.2).
fn is_port(text: &str) -> bool {
    let hidden = text.strip_prefix('_').is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    let number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    hidden || number
}

/// One element of `Forwarded`.
#[derive(Debug, Default)]
struct Element<'a> {
    node: Option<Cow<'a, str>>,
    scheme: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
}

/// Elements of `Forwarded`, in reverse order.
fn elements(headers: &Fields) -> impl Iterator<Item = Option<Element<'_>>> {
    headers.get_all(FORWARDED).rev().flat_map(|value| {
        let mut rest = Some(value.as_bytes());
        std::iter::from_fn(move || {
            let (before, last) = split_last(rest?);
            rest = before;
            Some(text_of(last).and_then(Element::parse))
        })
    })
}

/// Splits at the last comma outside quotes. The search starts at the right, where the text comes
/// from the trusted proxy; an open quote sent by a client cannot extend into it.
fn split_last(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    for (index, byte) in text.iter().enumerate().rev() {
        match byte {
            b'"' if quoted => quoted = is_escaped(text, index),
            b'"' => quoted = true,
            b',' if !quoted => {
                return (text.get(..index), text.get(index + 1..).unwrap_or_default());
            }
            _ => {}
        }
    }
    (None, text)
}

/// Whether an odd number of backslashes precedes.
fn is_escaped(text: &[u8], index: usize) -> bool {
    let before = text.get(..index).unwrap_or_default();
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

impl<'a> Element<'a> {
    /// Parses `for="[2001:db8::1]:80";proto=https;host=example.org`. A malformed element, or one
    /// with duplicate parameters, is ignored.
    fn parse(text: &'a str) -> Option<Self> {
        let mut element = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (name, value) = rest.split_once('=')?;
            let (value, after) = unquoted(value)?;
            let after = after.trim_start();
            rest = match after.strip_prefix(';') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return None,
            };
            let known = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            let twice = if known("for") {
                element.node.replace(value).is_some()
            } else if known("proto") {
                element.scheme.replace(value).is_some()
            } else if known("host") {
                element.host.replace(value).is_some()
            } else {
                name.is_empty()
                    || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            };
            if twice {
                return None;
            }
        }
        Some(element)
    }
}

/// Parses the value at the beginning of the text, and returns the remaining text.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', '"', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at_checked(end)?;
        return Some((value.into(), after));
    };
    let end = quoted
        .bytes()
        .enumerate()
        .position(|(index, byte)| byte == b'"' && !is_escaped(quoted.as_bytes(), index))?;
    let (value, after) = quoted.split_at_checked(end)?;
    let after = after.strip_prefix('"')?;
    if !value.contains('\\') {
        return Some((value.into(), after));
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next()? } else { character });
    }
    Some((plain.into(), after))
}

/// Whether the value would be accepted in `Host`. Many proxies pass on what their client sent there.
fn is_host(value: &HeaderValue) -> bool {
    parse::is_authority(value.as_bytes())
}

fn is_request_id(text: &str) -> bool {
    (1..=LONGEST_REQUEST_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests;
