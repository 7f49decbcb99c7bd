//! Check of the listening addresses: the kernel can bind each one only once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use service::Settings;

use super::Admin;
use crate::INFO;

/// Rejects addresses of listeners that overlap.
pub(super) fn check(settings: &mut Settings, redirect: Option<SocketAddr>, admin: Admin) {
    let default = SocketAddr::from((Ipv4Addr::UNSPECIFIED, INFO.port));
    // The bootstrap reports an invalid address.
    let own = settings
        .get_with(INFO.listen_name, "", default, |text| Some(text.parse().unwrap_or(default)));
    let admin = match admin {
        Admin::At(address) => Some(address),
        Admin::AtIfFree(_) | Admin::Off => None,
    };
    let (redirect, admin) =
        (("GATEWAY_REDIRECT_LISTEN", redirect), ("GATEWAY_ADMIN_LISTEN", admin));
    let own = (INFO.listen_name, Some(own));
    for ((first, one), (second, other)) in [(own, redirect), (own, admin), (redirect, admin)] {
        if let Some((one, other)) = one.zip(other).filter(|(one, other)| overlap(*one, *other)) {
            settings.reject(format!("{first} ({one}) and {second} ({other}) use the same port"));
        }
    }
}

/// Whether one address includes the other. `[::]` includes IPv4 addresses.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let includes = |ip: IpAddr, other: IpAddr| {
        ip == other || (ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4()))
    };
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    // The kernel chooses another port each time for 0.
    let is_same_port = one.port() == other.port() && one.port() > 0;
    is_same_port && (includes(ip, other_ip) || includes(other_ip, ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_as_in_the_kernel() {
        let overlap = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(one, other), overlap(other, one));
            overlap(one, other)
        };
        for (one, other) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "0.0.0.0:80"),
            ("[::]:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("0.0.0.0:80", "[::1]:80"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }
}
