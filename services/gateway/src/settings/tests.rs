use super::*;

fn read(variables: &[(&str, &str)]) -> (Config, Vec<String>) {
    let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let mut settings = Settings::new("GATEWAY", variables);
    let config = Config::read(&mut settings);
    let faults = settings.finish().map_or_else(|e| e.faults, |()| Vec::new());
    (config, faults)
}

fn prefixes(config: &Config) -> Vec<String> {
    config.table.lines().unwrap().into_iter().map(|route| route.line.prefix).collect()
}

#[test]
fn the_default_upstreams_are_the_names_in_the_compose_file() {
    let (config, faults) = read(&[]);
    assert!(faults.is_empty(), "{faults:?}");
    let table = config.table.lines().unwrap();
    let told: Vec<_> = table
        .iter()
        .map(|route| format!("{} {}", route.line.prefix, route.line.origins[0]))
        .collect();
    assert_eq!(told, ["/stats stats:8080", "/ frontend:3000"]);
    assert!(config.threads >= 1);
}

#[test]
fn configured_routes_extend_or_replace_built_in_ones() {
    let (config, faults) = read(&[("GATEWAY_ROUTES", "/api api:1; / page:2")]);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(prefixes(&config), ["/stats", "/", "/api"]);
}

#[test]
fn a_route_with_authentication_requires_a_secret() {
    let routes = ("GATEWAY_ROUTES", "/api api:1 auth=bearer");
    let (_, faults) = read(&[routes]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("GATEWAY_SECRET"), "{faults:?}");
    let (config, faults) = read(&[routes, ("GATEWAY_SECRET", "0123456789abcdef")]);
    assert!(faults.is_empty(), "{faults:?}");
    assert!(!format!("{config:?}").contains("0123456789"), "it is told");
    let (_, faults) = read(&[routes, ("GATEWAY_SECRET_FILE", "/nonexistent")]);
    assert!(faults[0].contains("/nonexistent"), "{faults:?}");
}

#[test]
fn the_published_address_determines_the_accepted_hosts() {
    let hosts = |variables: &[(&str, &str)], listen: &str| {
        let (config, faults) = read(variables);
        assert!(faults.is_empty(), "{faults:?}");
        config.hosts(listen.parse().unwrap())
    };
    let foreign = |hosts: &Hosts| hosts.contains("evil.test");
    assert!(foreign(&hosts(&[], "0.0.0.0:3050")));
    assert!(!foreign(&hosts(&[], "127.0.0.1:3050")));
    for (published, answered) in
        [("127.0.0.1", false), ("[::1]", false), ("::1", false), ("0.0.0.0", true)]
    {
        let hosts = hosts(&[("GATEWAY_PUBLISHED_ADDRESS", published)], "0.0.0.0:3050");
        assert_eq!(foreign(&hosts), answered, "{published}");
        assert!(hosts.contains("localhost:3050"), "{published}");
    }
}

#[test]
fn the_default_connection_limit_is_half_and_excludes_shared_addresses() {
    let proxies = ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8");
    let counts = |config: &Config, peer: &str| config.limits_connections(peer.parse().unwrap());
    let (config, _) = read(&[proxies, ("GATEWAY_MAX_CONNECTIONS", "1001")]);
    assert_eq!(config.bounds.connections, 501);
    assert!(counts(&config, "192.0.2.1") && counts(&config, "::ffff:192.0.2.1"));
    assert!(!counts(&config, "10.0.0.1") && !counts(&config, "::1"));
    let (config, _) = read(&[proxies, ("GATEWAY_CLIENT_CONNECTIONS", "5")]);
    assert!(counts(&config, "10.0.0.1") && counts(&config, "127.0.0.1"));
    let (config, _) = read(&[("GATEWAY_CLIENT_CONNECTIONS", "0")]);
    assert!(!counts(&config, "192.0.2.1"));
}

#[test]
fn settings_that_exclude_or_need_each_other_are_rejected() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        (
            &[("GATEWAY_ADMIN_LISTEN", "127.0.0.1:3050")],
            &["GATEWAY_LISTEN (0.0.0.0:3050) and GATEWAY_ADMIN_LISTEN (127.0.0.1:3050) use"],
        ),
        (
            &[("GATEWAY_LISTEN", "127.0.0.1:80"), ("GATEWAY_REDIRECT_LISTEN", "[::]:80")],
            &["GATEWAY_REDIRECT_LISTEN needs", "GATEWAY_LISTEN (127.0.0.1:80) and GATEWAY_RED"],
        ),
        (&[("GATEWAY_LISTEN", "127.0.0.1:9350")], &[]),
        (&[("GATEWAY_LISTEN", "80"), ("GATEWAY_ADMIN_LISTEN", "127.0.0.1:80")], &[]),
        (&[("GATEWAY_REDIRECT_PORT", "443")], &["GATEWAY_REDIRECT_PORT needs"]),
        (&[("GATEWAY_TRUST_HOST", "on")], &["GATEWAY_TRUST_HOST needs"]),
    ];
    for (variables, expected) in cases {
        let (_, faults) = read(variables);
        assert_eq!(faults.len(), expected.len(), "{variables:?}: {faults:?}");
        for (fault, begin) in faults.iter().zip(expected) {
            assert!(fault.starts_with(begin), "{faults:?}");
        }
    }
    assert!(read(&[("GATEWAY_TRUST_HOST", "off")]).1.is_empty());
}

#[test]
fn every_invalid_setting_is_reported() {
    let wrong = [
        ("GATEWAY_STATS", "stats"),
        ("GATEWAY_FRONTEND", "http://frontend:3000"),
        ("GATEWAY_ROUTES", "/api"),
        ("GATEWAY_FLEET", "stats"),
        ("GATEWAY_RESOLVE_SECONDS", "0"),
        ("GATEWAY_CONNECT_TIMEOUT_SECONDS", "0"),
        ("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "never"),
        ("GATEWAY_TOTAL_TIMEOUT_SECONDS", "1h"),
        ("GATEWAY_MAX_CONNECTIONS", "-1"),
        ("GATEWAY_BODY_BYTES", "1 TiB"),
        ("GATEWAY_BODY_MEMORY_BYTES", "64 KiB"),
        ("GATEWAY_CLIENT_CONNECTIONS", "many"),
        ("GATEWAY_CLIENT_RATE", "fast"),
        ("GATEWAY_CLIENT_STREAMS", "-1"),
        ("GATEWAY_CLIENT_EXEMPT", "10.0.0.0/33"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("GATEWAY_TRUST_HOST", "maybe"),
        ("GATEWAY_FORWARDED", "yes"),
        ("GATEWAY_ALLOW", "lan"),
        ("GATEWAY_DENY", ","),
        ("GATEWAY_HOSTS", "example.org:80"),
        ("GATEWAY_PUBLISHED_ADDRESS", "localhost"),
        ("GATEWAY_CACHE_BYTES", "much"),
        ("GATEWAY_COMPRESS", "maybe"),
        ("GATEWAY_LOG_PERCENT", "101"),
        ("GATEWAY_ADMIN_LISTEN", "3051"),
        ("GATEWAY_HTTP2", "h2c"),
        ("GATEWAY_THREADS", "0"),
    ];
    let (_, faults) = read(&wrong);
    for (name, _) in wrong {
        assert!(faults.iter().any(|fault| fault.starts_with(name)), "{name}: {faults:#?}");
    }
}
