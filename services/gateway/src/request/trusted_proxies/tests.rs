use super::*;
use crate::fields::Fields;
use proptest::prelude::*;

fn trust() -> TrustedProxies {
    TrustedProxies { proxies: Networks::parse("10.0.0.0/8, fd00::/8").unwrap(), host: true }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn client_info(peer: &str, fields: &[(&str, &str)]) -> ClientInfo {
    trust().client_info(ip(peer), Scheme::Http, &Fields::of(fields))
}

fn client(peer: &str, fields: &[(&str, &str)]) -> Client {
    client_info(peer, fields).client
}

fn known(text: &str) -> Client {
    Client::Known(ip(text))
}

fn behind(text: &str) -> Client {
    Client::Behind(ip(text))
}

#[test]
fn fields_of_untrusted_peers_are_ignored() {
    let fields = [
        ("host", "example.org"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=10.0.0.1;proto=https;host=evil"),
        ("x-request-id", "mine"),
    ];
    let client_info = client_info("::ffff:192.0.2.1", &fields);
    assert_eq!(client_info.peer, ip("192.0.2.1"));
    assert_eq!(client_info.client, known("192.0.2.1"));
    assert_eq!(client_info.proxy_chain, [] as [IpAddr; 0]);
    assert_eq!(client_info.scheme, Scheme::Http);
    assert_eq!(client_info.host.unwrap(), "example.org");
    assert_eq!(client_info.request_id.len(), 32);
}

#[test]
fn the_rightmost_address_that_is_not_trusted_is_the_client() {
    for (chain, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        ("1.1.1.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.9,192.0.2.1 , 10.0.0.2,\t10.0.0.3", "192.0.2.1"),
        ("2001:db8::1, 10.0.0.2", "2001:db8::1"),
        ("[2001:db8::1]:4711, fd00::2", "2001:db8::1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
        // A request from inside the trusted networks.
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
    ] {
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", chain)]), known(expected), "{chain}");
    }
}

#[test]
fn several_fields_are_one_list() {
    let fields = [("x-forwarded-for", "1.1.1.1, 192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
    let client_info = client_info("10.0.0.1", &fields);
    assert_eq!(client_info.client, known("192.0.2.1"));
    assert_eq!(client_info.proxy_chain, [ip("192.0.2.1"), ip("10.0.0.2")]);
}

#[test]
fn a_proxy_that_sends_its_own_request_is_the_client() {
    assert_eq!(client("10.0.0.1", &[]), known("10.0.0.1"));
}

#[test]
fn an_invalid_address_ends_the_walk_and_the_client_is_unknown() {
    for garbage in [
        "",
        " ",
        "unknown",
        "_hidden",
        "example.org",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:123456",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]80",
        "[::1]:",
        "::1%eth0",
        "1.2.3.4 5.6.7.8",
        "\"1.2.3.4\"",
        "for=1.2.3.4",
        "é",
        "-",
    ] {
        let last = format!("192.0.2.1, {garbage}");
        let hidden = client("10.0.0.1", &[("x-forwarded-for", &last)]);
        assert_eq!(hidden, behind("10.0.0.1"), "{garbage}");
        let inner = format!("192.0.2.1, {garbage}, 10.0.0.2");
        let client = client("10.0.0.1", &[("x-forwarded-for", &inner)]);
        assert_eq!(client, behind("10.0.0.2"), "{garbage}");
    }
}

#[test]
fn addresses_before_the_client_do_not_matter() {
    for made_up in ["é", "\"", ",,,", "10.0.0.1", "a\\\""] {
        let fields = [("x-forwarded-for", made_up), ("x-forwarded-for", "192.0.2.1, 10.0.0.2")];
        assert_eq!(client("10.0.0.1", &fields), known("192.0.2.1"), "{made_up}");
        let appended = format!("{made_up}, 192.0.2.1, 10.0.0.2");
        let fields = [("x-forwarded-for", appended.as_str())];
        assert_eq!(client("10.0.0.1", &fields), known("192.0.2.1"), "{made_up}");
    }
}

#[test]
fn the_walk_has_a_limit() {
    let long = |hops| ["10.0.0.2"].repeat(hops).join(",");
    let walk = |hops| client("10.0.0.1", &[("x-forwarded-for", &long(hops))]);
    assert_eq!(walk(MAX_HOPS), known("10.0.0.2"));
    assert_eq!(walk(MAX_HOPS + 1), behind("10.0.0.2"));
    assert_eq!(walk(3000), behind("10.0.0.2"));
}

#[test]
fn forwarded_is_used_without_x_forwarded_for() {
    for (value, expected) in [
        ("for=192.0.2.1", known("192.0.2.1")),
        ("For=\"192.0.2.1:80\";Proto=https", known("192.0.2.1")),
        ("for=\"[2001:db8::1]\"", known("2001:db8::1")),
        ("for=\"[2001:db8::1]:_x\";by=_me", known("2001:db8::1")),
        ("for=192.0.2.1, for=10.0.0.2", known("192.0.2.1")),
        ("proto=http; for=192.0.2.1 ; by=\"a;b,c\\\"=\" , for=10.0.0.2", known("192.0.2.1")),
        ("for=unknown", behind("10.0.0.1")),
        ("for=_hidden, for=10.0.0.2", behind("10.0.0.2")),
        ("by=10.0.0.2", behind("10.0.0.1")),
        ("", behind("10.0.0.1")),
        ("for=\"[2001:db8::1]", behind("10.0.0.1")),
        ("for=192.0.2.1;for=192.0.2.2", behind("10.0.0.1")),
        ("for=192.0.2.1 proto=http", behind("10.0.0.1")),
        ("for=\"192.0.2.1\"x", behind("10.0.0.1")),
        ("for = 192.0.2.1", behind("10.0.0.1")),
        ("192.0.2.1", behind("10.0.0.1")),
        ("é", behind("10.0.0.1")),
    ] {
        assert_eq!(client("10.0.0.1", &[("forwarded", value)]), expected, "{value}");
    }
    let fields = [("forwarded", "for=1.1.1.1,for=192.0.2.1"), ("forwarded", "for=10.0.0.2")];
    assert_eq!(client("10.0.0.1", &fields), known("192.0.2.1"));
    let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")];
    assert_eq!(client("10.0.0.1", &both), known("192.0.2.1"));
}

#[test]
fn an_open_quote_of_a_client_does_not_hide_the_element_of_the_proxy() {
    for made_up in ["for=\"", "for=\"x", "for=\"\\", "\"\"\"", "for=\"a\\\"", "\\", "é"] {
        let value = format!("{made_up}, for=192.0.2.1;host=\"example.org\"");
        assert_eq!(client("10.0.0.1", &[("forwarded", &value)]), known("192.0.2.1"), "{value}");
    }
}

#[test]
fn the_scheme_comes_from_the_nearest_proxy() {
    let scheme = |fields: &[(&str, &str)]| client_info("10.0.0.1", fields).scheme;
    let proto = |value| scheme(&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", value)]);
    assert_eq!(proto("https"), Scheme::Https);
    assert_eq!(proto("HTTPS"), Scheme::Https);
    assert_eq!(proto("http, https"), Scheme::Https);
    // The handshake of a WebSocket through Traefik.
    assert_eq!(proto("wss"), Scheme::Https);
    for other in ["http", "https, http", "https:", "https,", "", "ws", "wsss", "é"] {
        assert_eq!(proto(other), Scheme::Http, "{other}");
    }
    let element = "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http";
    assert_eq!(scheme(&[("forwarded", element)]), Scheme::Https);
    // A field that the client may have sent does not override the proxy's.
    let mixed = [("forwarded", "for=192.0.2.1;proto=http"), ("x-forwarded-proto", "https")];
    assert_eq!(scheme(&mixed), Scheme::Http);
    let unread = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=1.1.1.1;proto=https")];
    assert_eq!(scheme(&unread), Scheme::Http);
    let encrypted = trust().client_info(ip("10.0.0.1"), Scheme::Https, &Fields::new());
    assert_eq!(encrypted.scheme, Scheme::Https);
}

#[test]
fn the_host_is_accepted_only_from_proxies_configured_to_set_it() {
    let fields = [("host", "inner"), ("x-forwarded-host", "example.org:8443")];
    assert_eq!(client_info("10.0.0.1", &fields).host.unwrap(), "example.org:8443");
    let careful = TrustedProxies { host: false, ..trust() };
    let client_info = careful.client_info(ip("10.0.0.1"), Scheme::Http, &Fields::of(&fields));
    assert_eq!(client_info.host.unwrap(), "inner");
}

#[test]
fn an_invalid_host_is_ignored() {
    for odd in [
        "", "a b", "a, b", "user@a", "a/b", "é", "a\"", "http://a", "a'b", "a;b", "(a)", "a:99999",
        "[v1.a]",
    ] {
        let fields = [("host", "inner"), ("x-forwarded-host", odd)];
        assert_eq!(client_info("10.0.0.1", &fields).host.unwrap(), "inner", "{odd}");
    }
    let twice = [("host", "inner"), ("x-forwarded-host", "a"), ("x-forwarded-host", "b")];
    assert_eq!(client_info("10.0.0.1", &twice).host.unwrap(), "inner");
    let element = [("host", "inner"), ("forwarded", "for=192.0.2.1;host=\"example.org:1\"")];
    assert_eq!(client_info("10.0.0.1", &element).host.unwrap(), "example.org:1");
}

#[test]
fn a_valid_request_id_of_a_proxy_is_kept() {
    let id = |value: &str| client_info("10.0.0.1", &[("x-request-id", value)]).request_id;
    let longest = "x".repeat(LONGEST_REQUEST_ID);
    for good in ["1", "a-B_c.9", "Root=1".trim_start_matches("Root="), &longest] {
        assert_eq!(id(good), good);
    }
    let too_long = "x".repeat(LONGEST_REQUEST_ID + 1);
    for bad in ["", "a b", "a\"b", "é", "a/b", "<b>", "a,b", &too_long] {
        assert_ne!(id(bad), bad);
        assert_eq!(id(bad).len(), 32, "{bad}");
    }
    let twice = [("x-request-id", "a"), ("x-request-id", "a")];
    assert_eq!(client_info("10.0.0.1", &twice).request_id.len(), 32);
}

/// Text composed of the parsers' syntax.
const PARTS: &str = "(for=|proto=|host=|by=|https|[\"\\\\;,:= _\\[\\]]|192\\.0\\.2\\.1|10\\.0\\.0\\.2|::1|x|é){0,20}";

proptest! {
    #[test]
    fn no_text_causes_a_panic_and_the_chain_ends_at_the_client(
        chain in PARTS,
        forwarded in PARTS,
        has_chain in any::<bool>(),
    ) {
        let mut fields = vec![("forwarded", forwarded.as_str())];
        if has_chain {
            fields.push(("x-forwarded-for", &chain));
        }
        let client_info = client_info("10.0.0.1", &fields);
        let farthest = client_info.proxy_chain.first().copied().unwrap_or(client_info.peer);
        prop_assert_eq!(client_info.client.address(), farthest);
        for proxy in client_info.proxy_chain.iter().skip(1) {
            prop_assert!(trust().proxies.contains(*proxy));
        }
    }

    #[test]
    fn text_of_a_client_before_the_element_of_a_proxy_changes_nothing(
        made_up in PARTS,
        client_bits in any::<u128>(),
    ) {
        let address = Ipv6Addr::from_bits(client_bits | 0x2 << 124);
        prop_assume!(!trust().proxies.contains(address.into()));
        let chain = format!("{made_up}, {address}, 10.0.0.2");
        let element = format!("{made_up},for=\"[{address}]:1\";host=\"a,\\\"b\" , for=10.0.0.2");
        for (name, value) in [("x-forwarded-for", &chain), ("forwarded", &element)] {
            let proxy_chain = [IpAddr::from(address).to_canonical(), ip("10.0.0.2")];
            prop_assert_eq!(&client_info("10.0.0.1", &[(name, value)]).proxy_chain, &proxy_chain);
        }
    }

    #[test]
    fn quoting_is_reversible(plain in "[ -~]{0,30}", after in "[;, ]?") {
        let quoted = plain.replace('\\', "\\\\").replace('"', "\\\"");
        let text = format!("\"{quoted}\"{after}");
        prop_assert_eq!(unquoted(&text), Some((plain.into(), after.as_str())));
    }
}
