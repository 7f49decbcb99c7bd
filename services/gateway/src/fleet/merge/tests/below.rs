//! Members of merged gateways: single rules.

use super::*;
use crate::fleet::event_stream::{Merged, MergedLines};
use crate::fleet::name::MAX_LEVELS;

/// A gateway that merges gateways.
impl Bench {
    fn of_gateways(gateways: u8) -> Self {
        Self::of(gateways, Lister::Gateway)
    }

    /// Runs in steps like the hub.
    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 250 {
            self.wait(250);
            let commands = self.merge.step(self.now);
            assert!(commands.len() < 10);
        }
    }

    fn connect_gateway(&mut self, number: u8) -> u64 {
        self.merge.reopen(address(number), self.now);
        let attempt = self.attempt(number);
        let instance = Some(format!("fleet-{number}").into());
        assert!(self.event(number, attempt, Event::Connected(instance)));
        attempt
    }

    /// Lines of an event of a gateway.
    fn lines(&mut self, number: u8, attempt: u64, lines: &[&str]) {
        let text = lines.iter().map(|line| format!("data: {line}\n")).collect::<Vec<_>>().concat();
        assert!(self.event(
            number,
            attempt,
            Event::Lines(parsed(&format!("event: merge\n{text}\n")))
        ));
    }

    fn states(&self) -> Vec<String> {
        let members = self.merge.members();
        members.map(|(name, _, state, since)| format!("{name} {} {since}", state.name())).collect()
    }
}

fn parsed(text: &str) -> Vec<crate::fleet::event_stream::Line> {
    let (mut parser, mut rest, mut lines) = (MergedLines::default(), text.as_bytes(), Vec::new());
    while let Some(next) = parser.next(&mut rest) {
        if let Merged::Line(line) = next {
            lines.push(line);
        }
    }
    lines
}

const A_UP: &str = "10.9.0.7:80 member {\"state\":\"up\",\"instance\":\"a\",\"since_unix_ms\":500}";

#[test]
fn members_with_one_address_behind_two_gateways_are_two() {
    let mut tree = Bench::of_gateways(2);
    for (number, instance) in [(1, "a"), (2, "b")] {
        let attempt = tree.connect_gateway(number);
        let up = A_UP.replace("\"a\"", &format!("\"{instance}\""));
        tree.lines(
            number,
            attempt,
            &[&up, &format!("10.9.0.7:80 summary {{\"of\":\"{instance}\"}}")],
        );
    }
    assert_eq!(
        tree.flush(),
        "event: merge\n\
         data: 10.0.0.1:8080_10.9.0.7:80 member {\"state\":\"up\",\"instance\":\"a\",\"since_unix_ms\":500}\n\
         data: 10.0.0.1:8080_10.9.0.7:80 summary {\"of\":\"a\"}\n\
         data: 10.0.0.2:8080_10.9.0.7:80 member {\"state\":\"up\",\"instance\":\"b\",\"since_unix_ms\":500}\n\
         data: 10.0.0.2:8080_10.9.0.7:80 summary {\"of\":\"b\"}\n\n"
    );
    let found = |id: &str| tree.merge.find(id).map(|(name, _)| name.to_string());
    assert_eq!(found("b").as_deref(), Some("10.0.0.2:8080_10.9.0.7:80"));
    assert_eq!(found("10.0.0.1:8080_10.9.0.7:80"), found("a"));
    assert_eq!(found("10.9.0.7:80"), None, "it is no member of this gateway");
    assert_eq!(found("10.0.0.1:8080"), None, "a gateway is no member while it is up");
}

#[test]
fn states_of_a_gateway_pass_through_and_its_loss_sets_the_time() {
    let mut tree = Bench::of_gateways(1);
    let attempt = tree.connect_gateway(1);
    let silent =
        "10.9.0.8:80 member {\"state\":\"silent\",\"instance\":\"b\",\"since_unix_ms\":600}";
    let gone = "10.9.0.9:80 member {\"state\":\"gone\",\"instance\":\"c\",\"since_unix_ms\":700}";
    tree.lines(
        1,
        attempt,
        &[A_UP, "10.9.0.7:80 summary {}", silent, "10.9.0.8:80 summary {}", gone],
    );
    let [up, silent, gone] = ["7:80 up 500", "8:80 silent 600", "9:80 gone 700"]
        .map(|state| format!("10.0.0.1:8080_10.9.0.{state}"));
    // Old blocks do not count as activity.
    assert_eq!(tree.states(), [up.clone(), silent.clone(), gone.clone()]);
    tree.run(2_750);
    assert_eq!(tree.states()[0], up, "a gateway's word holds");
    tree.run(250);
    let away = "10.0.0.1:8080 silent 1000000".to_owned();
    let lost = up.replace("up 500", "silent 1000000");
    assert_eq!(tree.states(), [away, lost, silent.clone(), gone.clone()]);
    tree.flush();
    // The gateway reconnects: it is no longer shown as a member, and each of its members is up with
    // its block.
    assert!(tree.event(1, attempt, Event::Alive));
    assert!(tree.flush().starts_with(
        "event: merge\ndata: 10.0.0.1:8080 member {\"state\":\"gone\",\"since_unix_ms\":0}\n"
    ));
    tree.lines(1, attempt, &["10.9.0.7:80 summary {\"n\":2}"]);
    assert_eq!(tree.states()[0], up.replace("500", "1003000"));
    assert!(!tree.event(1, attempt, Event::Ended(End::Unreachable)));
    tree.run(250);
    let all: Vec<_> =
        tree.states().iter().map(|it| it.rsplit_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(all, ["1003000", "1003000", "1003000", "700"]);
    assert_eq!(tree.merge.find("a").map(|it| it.1), Some(State::Gone));
    // The state persists as long as the gateway is listed, for any time.
    for _ in 0..800 {
        tree.now.instant += Duration::from_secs(1);
        tree.merge.list([address(1)], Lister::Gateway, tree.now);
        for command in tree.merge.step(tree.now) {
            let Command::Connect(to, attempt, _) = command else { panic!("{command:?}") };
            tree.merge.event(to, attempt, Event::Ended(End::Unreachable), tree.now);
        }
    }
    assert_eq!(tree.states().len(), 4);
}

#[test]
fn members_that_a_gateway_no_longer_lists_are_gone_and_removed() {
    let mut tree = Bench::of_gateways(1);
    let attempt = tree.connect_gateway(1);
    let other = A_UP.replace("0.7", "0.8").replace("\"a\"", "\"b\"");
    tree.lines(1, attempt, &[A_UP, &other, "10.9.0.7:80 summary {\"n\":1}"]);
    tree.flush();
    let again = tree.connect_gateway(1);
    assert!(!tree.event(1, attempt, Event::Alive), "its attempt is over");
    tree.lines(1, again, &["10.9.0.7:80 summary {\"n\":2}"]);
    assert_eq!(tree.flush(), "", "whose it is has not been said");
    tree.lines(1, again, &[A_UP, "10.9.0.7:80 summary {\"n\":0}", "10.9.0.7:80 summary {\"n\":1}"]);
    assert_eq!(tree.flush(), "", "all of it is known");
    for _ in 0..12 {
        tree.run(1_000);
        tree.lines(1, again, &["10.9.0.7:80 summary {\"n\":3}"]);
    }
    assert_eq!(tree.states()[0], "10.0.0.1:8080_10.9.0.7:80 up 500");
    assert_eq!(tree.states()[1], "10.0.0.1:8080_10.9.0.8:80 gone 1010000");
    for _ in 0..700 {
        tree.merge.list([address(1)], Lister::Gateway, tree.now);
        tree.run(1_000);
        assert!(tree.event(1, again, Event::Alive));
    }
    assert_eq!(tree.states().len(), 1);
    // The gateway can remove one immediately.
    tree.flush();
    tree.lines(1, again, &["10.9.0.7:80 member {\"state\":\"gone\",\"since_unix_ms\":0}"]);
    assert_eq!(tree.states(), [""; 0]);
    assert!(tree.flush().contains("10.9.0.7:80 member {\"state\":\"gone\",\"since_unix_ms\":0}"));
}

#[test]
fn a_member_that_is_gone_is_repeated_for_gateways_above() {
    let mut bench = Bench::new(1);
    let attempt = bench.attempt(1);
    bench.event(1, attempt, Event::Ended(End::Unreachable));
    assert!(bench.flush().contains("gone"));
    let mut repeated = 0;
    for _ in 0..90 {
        bench.wait(1_000);
        repeated += usize::from(bench.flush().contains("gone"));
    }
    assert_eq!(repeated, 3);
}

#[test]
fn an_instance_is_shown_by_its_shortest_path_and_then_by_another() {
    let mut tree = Bench::of_gateways(2);
    let [one, two] = [tree.connect_gateway(1), tree.connect_gateway(2)];
    let deep = A_UP.replace("10.9.0.7:80", "10.5.0.1:1_10.9.0.7:80");
    tree.lines(1, one, &[&deep, "10.5.0.1:1_10.9.0.7:80 summary {\"n\":1}"]);
    assert!(tree.flush().contains("\"n\":1"));
    tree.lines(2, two, &[A_UP, "10.9.0.7:80 summary {\"n\":2}"]);
    tree.lines(1, one, &["10.5.0.1:1_10.9.0.7:80 summary {\"n\":2}"]);
    let batch = tree.flush();
    assert!(batch.contains(
        "10.0.0.1:8080_10.5.0.1:1_10.9.0.7:80 member {\"state\":\"gone\",\"since_unix_ms\":0}"
    ));
    assert_eq!(batch.matches("summary").count(), 1, "{batch}");
    assert_eq!(tree.states(), ["10.0.0.2:8080_10.9.0.7:80 up 500"]);
    // A direct connection is even shorter.
    tree.merge.list([address(9)], Lister::Setting, tree.now);
    let commands = tree.merge.step(tree.now);
    let [Command::Connect(to, attempt, Lister::Setting)] = commands[..] else {
        panic!("{commands:?}")
    };
    assert!(tree.merge.event(to, attempt, Event::Connected(Some("a".into())), tree.now));
    assert_eq!(tree.states(), ["10.0.0.9:8080 up 1000000"]);
    tree.merge.event(to, attempt, Event::Ended(End::Unreachable), tree.now);
    tree.run(250);
    let states = tree.states();
    assert_eq!(states.iter().filter(|state| state.contains(" up ")).count(), 1, "{states:?}");
    assert!(tree.flush().contains("\"instance\":\"a\""));
}

#[test]
fn a_gateway_with_two_addresses_and_its_members_are_shown_once() {
    let mut tree = Bench::of_gateways(2);
    let one = tree.connect_gateway(1);
    tree.lines(1, one, &[A_UP]);
    let [Command::Connect(to, two, _)] = tree.merge.step(tree.now)[..] else { return };
    assert!(!tree.merge.event(to, two, Event::Connected(Some("fleet-1".into())), tree.now));
    assert_eq!(tree.states().len(), 1);
}

#[test]
fn names_levels_and_members_are_limited_and_the_rest_is_counted() {
    let mut tree = Bench::of_gateways(1);
    let attempt = tree.connect_gateway(1);
    let deep = ["10.9.0.7:80"; MAX_LEVELS].join("_");
    let update = "member {\"state\":\"up\",\"since_unix_ms\":5}";
    tree.lines(1, attempt, &[&format!("{deep} {update}"), &format!("{} {update}", &deep[12..])]);
    assert_eq!((tree.merge.members().count(), tree.merge.not_shown()), (1, 1));
    let many: Vec<String> = (0..MAX_BELOW + 10)
        .map(|n| format!("data: 10.8.{}.{}:80 {update}\n", n / 200, n % 200))
        .collect();
    let lines = parsed(&format!("event: merge\n{}\n", many.concat()));
    assert_eq!(lines.len(), MAX_BELOW + 10);
    assert!(tree.event(1, attempt, Event::Lines(lines)));
    assert_eq!(tree.merge.members().count(), MAX_BELOW);
    assert_eq!(tree.merge.not_shown(), 12);
    // They do not replace members that are listed here.
    assert!(
        !tree.merge.list([address(5)], Lister::Setting, tree.now) || tree.merge.not_shown() > 0
    );
    assert!(tree.merge.members.contains_key(&address(5).into()));
    // Kept blocks are limited for all members together.
    let block = "x".repeat(BLOCK_BYTES - 10);
    for round in 0..3 {
        let many: Vec<String> = (0..2_000)
            .map(|n| format!("data: 10.8.{}.{}:80 summary {round}{block}\n", n / 200, n % 200))
            .collect();
        assert!(tree.event(
            1,
            attempt,
            Event::Lines(parsed(&format!("event: merge\n{}\n", many.concat())))
        ));
        tree.flush();
    }
    let kept = tree.merge.catch_up(0, tree.merge.sequence(), None, usize::MAX).bytes.len();
    assert!(kept < 2_000 * (BLOCK_BYTES + 200) + 11_000 * 120, "{kept}: the last block of each");
}
