//! Announcements of fleet members: tests of the gateway binary, with signatures made here.

use std::time::{SystemTime, UNIX_EPOCH};

use http_semantics::signature::{Key, Signed};
use testing::{Answer, Service, eventually, fields, run};

use crate::fleet::Member;
use crate::{GATEWAY, free_address, metrics};

const SECRET: &str = "a-secret-of-the-fleet-0123";

fn start(more: &[(&str, &str)]) -> Service {
    let own = [("GATEWAY_ANNOUNCE_SECRET", SECRET)];
    crate::start(([127, 0, 0, 1], 1).into(), &[&own, more].concat())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(secret: &str, method: &str, path: &str, created: u64) -> Signed {
    Key::parse_all(secret).unwrap()[0].sign(method, path, created)
}

fn send(gateway: &Service, method: &str, path: &str, signed: &Signed) -> Answer {
    let fields = [("signature-input", &*signed.input), ("signature", &*signed.signature)];
    gateway.ask(method, path, &fields)
}

/// Signs an announcement and sends it.
fn announce(gateway: &Service, method: &str, address: &str, created: u64) -> Answer {
    let path = format!("/fleet/{address}");
    send(gateway, method, &path, &signed(SECRET, method, &path, created))
}

fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().unwrap().to_owned()
}

/// Starts a fake stats, which runs until the tests end, and returns its address.
fn member(instance: &str) -> String {
    let member = Member::start(instance);
    let address = member.address.to_string();
    std::mem::forget(member);
    address
}

/// The state of a member; `None` if it is not listed.
fn state(gateway: &Service, address: &str) -> Option<(String, String)> {
    let list = gateway.get("/fleet").json();
    let members = list["members"].as_array().unwrap();
    let member = members.iter().find(|member| member["member"] == address)?;
    let text = |name: &str| member[name].as_str().unwrap_or_default().to_owned();
    Some((text("instance"), text("state")))
}

#[test]
fn a_member_that_announces_itself_is_followed_and_reached() {
    let gateway = start(&[]);
    let address = member("announced");
    assert_eq!(state(&gateway, &address), None);
    let answer = announce(&gateway, "PUT", &address, now());
    assert_eq!((answer.status, answer.text()), (200, "{\"kept_seconds\":30}\n"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    eventually(|| state(&gateway, &address) == Some(("announced".into(), "up".into())));
    let path = "/fleet/announced/stats?x=1";
    let answer = gateway.ask("GET", path, &[("authorization", "Bearer viewer")]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().starts_with("GET /stats?x=1 HTTP/1.1\r\n"));
    assert!(!answer.text().contains("viewer"), "{}", answer.text());
    assert_eq!(announce(&gateway, "DELETE", &address, now() + 1).status, 200);
}

#[test]
fn an_announced_member_receives_no_credentials_of_the_stats_upstreams() {
    let own = member("own");
    let route = format!("/stats {own} host=internal request-header=X-Key:secret");
    let gateway = start(&[("GATEWAY_ROUTES", &route)]);
    let address = member("announced");
    assert_eq!(announce(&gateway, "PUT", &address, now()).status, 200);
    // An upstream that announces itself remains an upstream.
    assert_eq!(announce(&gateway, "PUT", &own, now()).status, 200);
    for (id, keys) in [("own", &["secret"][..]), ("announced", &[])] {
        let path = format!("/fleet/{id}/stats");
        eventually(|| gateway.get(&path).status == 200);
        let answer = gateway.get(&path);
        assert_eq!(fields(answer.text(), "x-key"), keys, "{id}: {}", answer.text());
    }
}

#[test]
fn the_secret_of_viewers_is_neither_required_nor_sufficient() {
    let viewers = "a-secret-of-viewers-0123";
    let route = format!("/stats {} auth=bearer", member("own"));
    let gateway = start(&[("GATEWAY_ROUTES", &route), ("GATEWAY_SECRET", viewers)]);
    assert_eq!(announce(&gateway, "PUT", "127.0.0.1:9", now()).status, 200);
    let bearer = format!("Bearer {viewers}");
    let fields = [("authorization", &*bearer)];
    assert_eq!(gateway.ask("PUT", "/fleet/127.0.0.1:8", &fields).status, 401);
    assert_eq!(gateway.get("/fleet").status, 401);
    assert_eq!(gateway.ask("GET", "/fleet", &fields).status, 200);
}

#[test]
fn without_a_secret_there_are_no_announcements() {
    let gateway = start(&[("GATEWAY_ANNOUNCE_SECRET", "")]);
    let answer = announce(&gateway, "PUT", "127.0.0.1:9", now());
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[test]
fn a_wrong_or_missing_signature_is_unauthorized() {
    let gateway = start(&[]);
    let path = "/fleet/127.0.0.1:9";
    let right = signed(SECRET, "PUT", path, now());
    let status = |method: &str, path: &str, signed: &Signed| {
        let answer = send(&gateway, method, path, signed);
        assert!(!answer.text().contains(SECRET), "{}", answer.text());
        answer.status
    };
    assert_eq!(status("PUT", path, &signed("another-secret-0123", "PUT", path, now())), 401);
    assert_eq!(status("DELETE", path, &right), 401);
    assert_eq!(status("PUT", "/fleet/127.0.0.1:10", &right), 401);
    assert_eq!(status("PUT", "/fleet/127.0.0.1%3A9", &right), 401, "what is sent is signed");
    let answer = gateway.ask("PUT", path, &[]);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert_eq!(answer.field("www-authenticate"), Some("Signature realm=\"fleet\""));
    assert!(answer.field("accept-signature").unwrap().contains("hmac-sha256"));
    let (input, code) = ("signature-input", "signature");
    let twice = [(input, &*right.input), (code, &right.signature), (code, "sig=:AAAA:")];
    assert_eq!(gateway.ask("PUT", path, &twice).status, 401);
    // All of the above were rejected.
    assert_eq!(status("PUT", path, &right), 200);
}

#[test]
fn a_replay_is_rejected_and_clocks_may_differ_by_a_minute() {
    let gateway = start(&[]);
    let (one, other) = ("127.0.0.1:9", "127.0.0.1:10");
    assert_eq!(announce(&gateway, "PUT", one, now()).status, 200);
    let path = format!("/fleet/{one}");
    let again = signed(SECRET, "PUT", &path, now() + 5);
    assert_eq!(send(&gateway, "PUT", &path, &again).status, 200);
    assert_eq!(send(&gateway, "PUT", &path, &again).status, 200, "the request of a second address");
    assert_eq!(announce(&gateway, "DELETE", one, now() + 6).status, 200);
    let replay = send(&gateway, "PUT", &path, &again);
    assert_eq!(replay.status, 401);
    assert!(detail(&replay).contains("not newer"), "{}", replay.text());
    let late = announce(&gateway, "PUT", other, now() - 65);
    assert_eq!(late.status, 401);
    assert!(detail(&late).contains(" seconds behind the clock"), "{}", late.text());
    let early = announce(&gateway, "PUT", other, now() + 65);
    assert!(detail(&early).contains(" seconds ahead of the clock"), "{}", early.text());
    assert_eq!(announce(&gateway, "PUT", other, now() - 55).status, 200);
    assert_eq!(announce(&gateway, "PUT", other, now() + 55).status, 200);
}

#[test]
fn only_the_address_of_the_client_and_allowed_networks_are_accepted() {
    let gateway = start(&[("GATEWAY_ANNOUNCE_ALLOW", "10.0.0.0/8,169.254.0.0/16,fd00::/8")]);
    for (address, expected) in [
        ("127.0.0.1:9", 200),
        ("[::ffff:127.0.0.1]:10", 200),
        ("10.1.2.3:8080", 200),
        ("[fd00::1]:8080", 200),
        ("127.0.0.2:9", 403),
        ("192.0.2.1:80", 403),
        ("[::1]:80", 403),
        ("169.254.169.254:80", 403),
        ("[::ffff:169.254.169.254]:80", 403),
        ("[fd00:ec2::254]:80", 403),
        ("0.0.0.0:80", 403),
        ("127.0.0.1:0", 403),
        ("127.0.0.1", 400),
        ("127.0.0.1:99999", 400),
        ("localhost:80", 400),
        ("2130706433:80", 400),
        ("0177.0.0.1:80", 400),
        ("stream", 405),
    ] {
        let escaped = address.replace('[', "%5B").replace(']', "%5D");
        let answer = announce(&gateway, "PUT", &escaped, now());
        assert_eq!(answer.status, expected, "{address}: {}", answer.text());
    }
    // The client is the one that the trusted proxy reports, not the proxy.
    let gateway = start(&[("GATEWAY_TRUSTED_PROXIES", "127.0.0.0/8")]);
    let path = "/fleet/192.0.2.1:80";
    let Signed { input, signature } = signed(SECRET, "PUT", path, now());
    let by = |client: &str| {
        let fields =
            [("x-forwarded-for", client), ("signature-input", &input), ("signature", &signature)];
        gateway.ask("PUT", path, &fields).status
    };
    assert_eq!((by("192.0.2.2"), by("unknown"), by("192.0.2.1")), (403, 403, 200));
}

#[test]
fn a_body_a_query_and_other_methods_are_rejected() {
    let gateway = start(&[]);
    let path = "/fleet/127.0.0.1:9";
    let Signed { input, signature } = signed(SECRET, "PUT", path, now());
    for (length, body) in [("1", "x"), ("1000000000000", "")] {
        let mut connection = gateway.begin(&format!(
            "PUT {path} HTTP/1.1\r\nhost: localhost\r\nsignature-input: {input}\r\n\
             signature: {signature}\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(connection.answer().status, 413);
    }
    let query = format!("{path}?a=b");
    assert_eq!(send(&gateway, "PUT", &query, &signed(SECRET, "PUT", path, now())).status, 400);
    for method in ["GET", "POST", "PATCH"] {
        let answer = send(&gateway, method, path, &signed(SECRET, method, path, now()));
        assert_eq!(answer.status, 404, "{method}");
    }
    let long = format!("/fleet/{}", "1".repeat(4_000));
    assert_eq!(send(&gateway, "PUT", &long, &signed(SECRET, "PUT", &long, now())).status, 400);
    assert_eq!(send(&gateway, "PUT", path, &signed(SECRET, "PUT", path, now())).status, 200);
}

#[test]
fn two_thousand_announcements_are_limited_to_a_thousand_members() {
    let admin = free_address();
    let gateway = start(&[
        ("GATEWAY_ADMIN_LISTEN", &admin.to_string()),
        ("GATEWAY_ANNOUNCE_ALLOW", "10.0.0.0/8"),
    ]);
    let mut connection = gateway.connect();
    let mut counts = [0, 0];
    for number in 0..2_000 {
        let path = format!("/fleet/10.0.{}.{}:8080", number / 250, number % 250);
        let Signed { input, signature } = signed(SECRET, "PUT", &path, now());
        connection.send(&format!(
            "PUT {path} HTTP/1.1\r\nhost: localhost\r\nsignature-input: {input}\r\n\
             signature: {signature}\r\ncontent-length: 0\r\n\r\n"
        ));
        let answer = connection.answer();
        match answer.status {
            200 => counts[0] += 1,
            503 => {
                assert_eq!(answer.field("retry-after"), Some("30"));
                counts[1] += 1;
            }
            other => assert_eq!(other, 200, "{}", answer.text()),
        }
    }
    assert_eq!(counts, [1_000, 1_000]);
    // Together with the upstream of stats, the limit is exceeded by one address.
    let list = gateway.get("/fleet").json();
    assert_eq!(list["not_shown"], 1, "{list}");
    let text = metrics(admin);
    assert!(text.contains("gateway_fleet_members_not_shown 1\n"), "{text}");
    for line in ["{result=\"accepted\"} 1000", "{result=\"rejected\"} 1000"] {
        assert!(text.contains(&format!("gateway_fleet_announcements_total{line}\n")), "{text}");
    }
}

#[test]
fn the_rate_limit_of_a_client_applies_to_its_announcements() {
    let gateway = start(&[("GATEWAY_CLIENT_RATE", "1 burst 3")]);
    let status = |port: u16| {
        let address = format!("127.0.0.1:{port}");
        announce(&gateway, "PUT", &address, now()).status
    };
    let all: Vec<_> = (1..=8).map(status).collect();
    assert_eq!(all[..3], [200; 3]);
    assert!(all.contains(&429), "{all:?}");
}

#[test]
fn a_changed_secret_is_loaded_on_sighup_and_errors_do_not_print_it() {
    let file = std::env::temp_dir().join(format!("announce-secret-{}", std::process::id()));
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let path = file.to_str().unwrap().to_owned();
    let mut gateway =
        start(&[("GATEWAY_ANNOUNCE_SECRET", ""), ("GATEWAY_ANNOUNCE_SECRET_FILE", &path)]);
    assert_eq!(announce(&gateway, "PUT", "127.0.0.1:9", now()).status, 200);
    std::fs::write(&file, "short\n").unwrap();
    gateway.signal("HUP");
    let line = gateway.log_line("cannot reload the announcement secrets; keeping the current ones");
    assert!(!line.to_string().contains("short"), "{line}");
    assert_eq!(announce(&gateway, "PUT", "127.0.0.1:10", now()).status, 200);
    std::fs::write(&file, format!("{SECRET}-new\n{SECRET}\n")).unwrap();
    gateway.signal("HUP");
    let target = "/fleet/127.0.0.1:11";
    let new = format!("{SECRET}-new");
    eventually(|| send(&gateway, "PUT", target, &signed(&new, "PUT", target, now())).status == 200);
    assert_eq!(announce(&gateway, "PUT", "127.0.0.1:12", now()).status, 200);
    let ended = gateway.stop();
    assert!(!ended.log.contains(SECRET), "{}", ended.log);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn check_reports_the_faults_and_prints_no_secret() {
    let check = |variables: &[(&str, &str)]| {
        let output = run(GATEWAY, &["check"], variables);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let secret = ("GATEWAY_ANNOUNCE_SECRET", SECRET);
    let (code, text) = check(&[secret, ("GATEWAY_ANNOUNCE_ALLOW", "10.0.0.0/8")]);
    assert_eq!(code, Some(0), "{text}");
    let expected = "announcements: 1 secrets, of the client's own address and of 10.0.0.0/8";
    assert!(text.contains(expected) && !text.contains(SECRET), "{text}");
    for wrong in [
        &[("GATEWAY_ANNOUNCE_SECRET", "short")][..],
        &[("GATEWAY_ANNOUNCE_ALLOW", "10.0.0.0/8")],
        &[secret, ("GATEWAY_ANNOUNCE_ALLOW", "everywhere")],
        &[secret, ("GATEWAY_FLEET", "off")],
        &[secret, ("GATEWAY_ANNOUNCE_SECRET_FILE", "/no/such/file")],
    ] {
        let (code, text) = check(wrong);
        assert_eq!(code, Some(64), "{text}");
        assert!(text.contains("ANNOUNCE") || text.contains("announcements"), "{text}");
    }
}
