//! The merge with injected time: single rules, and a simulation of random schedules.

mod below;
mod simulation;
mod tree;

use super::*;
use crate::fleet::block::BLOCK_BYTES;

fn address(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 8080).into()
}

/// A merge with its own clock.
struct Bench {
    merge: Merge,
    lister: Lister,
    now: Now,
}

impl Bench {
    fn new(members: u8) -> Self {
        Self::of(members, Lister::Setting)
    }

    fn of(members: u8, lister: Lister) -> Self {
        let now = Now { instant: Instant::now(), unix_ms: 1_000_000 };
        let mut merge = Merge::default();
        assert!(merge.list((1..=members).map(address), lister, now));
        Self { merge, lister, now }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now.instant += Duration::from_millis(milliseconds);
        self.now.unix_ms += milliseconds;
    }

    /// The due attempt for this member.
    fn attempt(&mut self, number: u8) -> u64 {
        let commands = self.merge.step(self.now);
        let attempt = commands.iter().find_map(|command| match command {
            Command::Connect(to, attempt, lister) if *to == address(number) => {
                assert_eq!(*lister, self.lister);
                Some(*attempt)
            }
            _ => None,
        });
        attempt.expect("an attempt is due")
    }

    fn event(&mut self, number: u8, attempt: u64, event: Event) -> bool {
        self.merge.event(address(number), attempt, event, self.now)
    }

    fn connect(&mut self, number: u8, instance: &str) -> u64 {
        let attempt = self.attempt(number);
        assert!(self.event(number, attempt, Event::Connected(Some(instance.into()))));
        attempt
    }

    fn block(&mut self, number: u8, attempt: u64, data: &'static str) -> bool {
        self.event(number, attempt, Event::Block(Kind::Summary, data.into()))
    }

    fn flush(&mut self) -> String {
        self.merge.flush(self.now).map_or_else(String::new, |it| text(&it))
    }

    fn all(&self) -> String {
        text(&self.merge.catch_up(0, self.merge.sequence(), None, usize::MAX).bytes)
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_batch_is_one_event_with_a_line_for_each_block() {
    let mut bench = Bench::new(1);
    let attempt = bench.connect(1, "a");
    assert!(bench.event(1, attempt, Event::Block(Kind::Minute, "{\"m\":1}".into())));
    assert!(bench.block(1, attempt, "{\"n\":1}"));
    assert!(bench.block(1, attempt, "{\"n\":2}"));
    let batch = "event: merge\n\
         data: 10.0.0.1:8080 member {\"state\":\"up\",\"instance\":\"a\",\"since_unix_ms\":1000000}\n\
         data: 10.0.0.1:8080 minute {\"m\":1}\n\
         data: 10.0.0.1:8080 summary {\"n\":2}\n\n";
    assert_eq!(bench.flush(), batch);
    assert_eq!(bench.flush(), "", "nothing has changed");
    assert_eq!(bench.all(), batch, "a late viewer gets the same");
}

#[test]
fn a_refused_member_is_gone_and_a_stalled_one_is_silent_since_its_last_block() {
    let mut bench = Bench::new(2);
    let first = bench.attempt(1);
    let second = bench.event(1, first, Event::Connected(None));
    assert!(second);
    bench.wait(500);
    assert!(bench.block(1, first, "{}"));
    bench.flush();
    bench.wait(2_999);
    bench.merge.step(bench.now);
    assert_eq!(bench.flush(), "");
    bench.wait(1);
    bench.merge.step(bench.now);
    let silent = "{\"state\":\"silent\",\"since_unix_ms\":1000500,\"time_unix_ms\":1003500}";
    assert!(bench.flush().contains(silent));
    assert!(bench.all().contains(silent));
    assert!(bench.block(1, first, "{}"));
    assert!(bench.flush().contains("member {\"state\":\"up\",\"since_unix_ms\":1003500}"));
    assert!(!bench.event(1, first, Event::Ended(End::Closed)));
    assert_eq!(bench.flush(), "", "it may be back at once");
    let again = bench.attempt(1);
    assert!(!bench.event(1, again, Event::Ended(End::Unreachable)));
    let gone = "{\"state\":\"gone\",\"since_unix_ms\":1003500,\"time_unix_ms\":1003500}";
    assert!(bench.flush().contains(gone));
    assert_eq!(bench.merge.find("10.0.0.1:8080"), Some((&address(1).into(), State::Gone)));
}

#[test]
fn a_restart_at_the_same_address_shows_no_block_of_the_old_instance() {
    let mut bench = Bench::new(1);
    let old = bench.connect(1, "old");
    assert!(bench.block(1, old, "{\"old\":1}"));
    bench.flush();
    assert!(bench.block(1, old, "{\"old\":2}"));
    bench.wait(2_000);
    assert!(!bench.event(1, old, Event::Ended(End::Closed)));
    let new = bench.connect(1, "new");
    assert!(!bench.block(1, old, "{\"old\":3}"), "its attempt is over");
    let batch = bench.flush();
    assert!(batch.contains("\"instance\":\"new\"") && !batch.contains("old"), "{batch}");
    assert!(bench.block(1, new, "{\"new\":1}"));
    bench.flush();
    assert!(!bench.all().contains("old"), "{}", bench.all());
    assert_eq!(bench.merge.find("old"), None);
}

#[test]
fn an_instance_with_two_addresses_is_one_member() {
    let mut bench = Bench::new(2);
    let commands = bench.merge.step(bench.now);
    assert_eq!(commands.len(), 2);
    let connected = || Event::Connected(Some("a".into()));
    assert!(bench.event(1, 1, connected()));
    assert!(!bench.event(2, 2, connected()), "the second connection is of no use");
    assert_eq!(bench.merge.members().count(), 1);
    assert!(!bench.all().contains("10.0.0.2"));
    // After the first address fails, the second one is used.
    bench.wait(2_000);
    bench.event(1, 1, Event::Ended(End::Closed));
    let again = bench.attempt(1);
    bench.event(1, again, Event::Ended(End::Unreachable));
    let other = bench.attempt(2);
    assert!(bench.event(2, other, connected()));
    assert_eq!(bench.merge.find("a"), Some((&address(2).into(), State::Up)));
}

#[test]
fn a_late_viewer_gets_a_limited_history_and_a_slow_one_only_the_last_block() {
    let mut bench = Bench::new(1);
    let attempt = bench.connect(1, "a");
    let data: String = "x".repeat(BLOCK_BYTES);
    for _ in 0..10 {
        let data = Bytes::copy_from_slice(data.as_bytes());
        assert!(bench.event(1, attempt, Event::Block(Kind::Summary, data)));
        bench.flush();
        bench.wait(1_000);
    }
    assert!(bench.all().len() <= HISTORY_BYTES + 400, "{}", bench.all().len());
    for text in ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"] {
        assert!(bench.block(1, attempt, text));
        bench.flush();
        bench.wait(1_000);
    }
    let last = bench.merge.sequence();
    let behind = bench.merge.catch_up(last - 2, last, None, usize::MAX);
    let behind = text(&behind.bytes);
    assert!(behind.contains("{\"n\":3}") && !behind.contains("{\"n\":2}"), "{behind}");
    // The viewer also receives a minute that it has not seen.
    assert!(bench.event(1, attempt, Event::Block(Kind::Minute, "{\"m\":1}".into())));
    bench.flush();
    assert!(bench.block(1, attempt, "{\"n\":4}"));
    bench.flush();
    let behind = bench.merge.catch_up(last, last + 2, None, usize::MAX);
    let behind = text(&behind.bytes);
    assert!(behind.contains(" minute {\"m\":1}") && behind.contains("{\"n\":4}"), "{behind}");
    // Blocks older than a minute are not kept, except for the last one.
    bench.wait(120_000);
    assert!(bench.block(1, attempt, "{\"n\":5}"));
    bench.flush();
    assert_eq!(bench.all().matches(" summary ").count(), 1);
}

#[test]
fn the_state_is_sent_in_parts_with_each_member_once() {
    let mut bench = Bench::new(100);
    for command in bench.merge.step(bench.now) {
        let Command::Connect(to, attempt, _) = command else { panic!("{command:?}") };
        let data = Bytes::from(format!("{{\"of\":\"{to}\"}}"));
        bench.merge.event(to, attempt, Event::Connected(None), bench.now);
        bench.merge.event(to, attempt, Event::Block(Kind::Summary, data), bench.now);
    }
    bench.flush();
    let (mut after, mut whole, mut parts): (Option<Name>, _, _) = (None, String::new(), 0);
    loop {
        let part = bench.merge.catch_up(0, 1, after.as_ref(), 1_000);
        assert!(part.bytes.len() < 1_300, "{}", part.bytes.len());
        whole.push_str(&text(&part.bytes));
        parts += 1;
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert!(parts > 5, "{parts}");
    for number in 1..=100 {
        assert_eq!(whole.matches(&format!("{} summary", address(number))).count(), 1);
    }
}

#[test]
fn the_number_of_members_is_limited_and_gone_ones_are_removed() {
    let mut bench = Bench::new(1);
    let many = (0..=MAX_MEMBERS).map(|n| {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        SocketAddr::from(([10, 1, high, low], 80))
    });
    let many: Vec<_> = many.collect();
    assert!(!bench.merge.list(many.iter().copied(), Lister::Setting, bench.now), "it is said once");
    assert!(bench.merge.list(many, Lister::Setting, bench.now));
    assert_eq!((bench.merge.members.len(), bench.merge.not_shown()), (MAX_MEMBERS, 2));
    // They are counted while they are listed.
    bench.wait(60_000);
    bench.merge.step(bench.now);
    assert_eq!(bench.merge.not_shown(), 0);
    let mut bench = Bench::new(2);
    let commands = bench.merge.step(bench.now);
    assert_eq!(commands.len(), 2);
    bench.event(1, 1, Event::Ended(End::Unreachable));
    bench.event(2, 2, Event::Ended(End::Unreachable));
    for second in 0..599 {
        bench.wait(1_000);
        // Only the second one is still listed.
        bench.merge.list([address(2)], Lister::Setting, bench.now);
        for command in bench.merge.step(bench.now) {
            let Command::Connect(to, attempt, _) = command else { panic!("{command:?}") };
            bench.merge.event(to, attempt, Event::Ended(End::Unreachable), bench.now);
        }
        assert_eq!(bench.merge.members().count(), 2, "{second}");
    }
    bench.wait(1_000);
    bench.merge.list([address(2)], Lister::Setting, bench.now);
    bench.merge.step(bench.now);
    assert_eq!(bench.merge.members().map(|it| it.0).collect::<Vec<_>>(), [&address(2).into()]);
}

#[test]
fn the_rate_of_attempts_is_limited_for_any_number_of_gone_members() {
    let many = |count: u16| {
        let mut bench = Bench::new(0);
        let addresses = (0..count)
            .map(|n| SocketAddr::from(([10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]], 80)));
        bench.merge.list(addresses, Lister::Setting, bench.now);
        let mut attempts = 0;
        for _ in 0..240 {
            for command in bench.merge.step(bench.now) {
                let Command::Connect(to, attempt, _) = command else { continue };
                attempts += 1;
                bench.merge.event(to, attempt, Event::Ended(End::Unreachable), bench.now);
            }
            bench.wait(250);
        }
        attempts
    };
    assert!((100..=120).contains(&many(1)), "{}", many(1));
    assert!(many(1_000) <= 14_000, "{}", many(1_000));
}
