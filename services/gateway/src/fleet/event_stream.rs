//! Parsers for event streams (HTML standard, section 9.2.6): that of a member, and the merged
//! stream of another gateway.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr2;

use super::block::{BLOCK_BYTES, Kind, State};
use super::name::is_name;

/// Maximum bytes of a line: a block after a name and a kind.
const LINE_BYTES: usize = BLOCK_BYTES + 512;

/// Maximum characters of an instance.
const INSTANCE_CHARS: usize = 64;

/// Whether the instance can be embedded in a message without escaping.
pub(super) fn is_instance(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=INSTANCE_CHARS).contains(&text.len()) && text.bytes().all(allowed)
}

/// Splits a stream into lines.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// The last line ended with CR; a following LF belongs to it.
    after_cr: bool,
    has_ended: bool,
}

impl Lines {
    /// Returns the next line of `input`, and removes the parsed bytes from it. A line that is too
    /// long is truncated to one byte more than its limit.
    #[inline(never)]
    fn next(&mut self, input: &mut &[u8]) -> Option<&[u8]> {
        if std::mem::take(&mut self.has_ended) {
            self.line.clear();
        }
        if !input.is_empty() && std::mem::take(&mut self.after_cr) && input.first() == Some(&b'\n')
        {
            *input = &input[1..];
        }
        let end = memchr2(b'\n', b'\r', input);
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        let room = (LINE_BYTES + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(part.get(..room).unwrap_or(part));
        *input = rest.get(1..).unwrap_or_default();
        self.has_ended = end.is_some();
        self.after_cr |= rest.first() == Some(&b'\r');
        self.has_ended.then_some(&self.line)
    }
}

/// Splits a line into field name and value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
    let (name, value) = line.split_at(colon);
    let value = value.strip_prefix(b":").unwrap_or(value);
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

/// Parser for blocks of known kinds with one line of data.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    lines: Lines,
    kind: Option<Kind>,
    data: Option<Bytes>,
    /// The block is unusable: too long, or more than one line.
    is_bad: bool,
}

impl Blocks {
    /// Returns the next block of `input`, and removes the parsed bytes from it.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<(Kind, Bytes)> {
        while let Some(line) = self.lines.next(input) {
            if line.is_empty() {
                let block = self.kind.take().zip(self.data.take());
                let is_bad = std::mem::take(&mut self.is_bad);
                let is_usable =
                    |(_, data): &(Kind, Bytes)| !is_bad && std::str::from_utf8(data).is_ok();
                if let Some(block) = block.filter(is_usable) {
                    return Some(block);
                }
                continue;
            }
            self.is_bad |= line.len() > LINE_BYTES;
            match field(line) {
                (b"event", value) => self.kind = Kind::parse(value),
                (b"data", value) => {
                    self.is_bad |= self.data.is_some() || value.len() > BLOCK_BYTES;
                    self.data = (!self.is_bad).then(|| Bytes::copy_from_slice(value));
                }
                _ => {}
            }
        }
        None
    }
}

/// A line of another gateway's merged stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// The member's name at that gateway.
    pub(super) name: Arc<str>,
    pub(super) update: Update,
}

impl Line {
    /// Approximate memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let data = if let Update::Block(_, data) = &self.update { data.len() } else { 0 };
        size_of::<Self>() + self.name.len() + data
    }
}

/// Content of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Update {
    /// State of a member, and its start by the clock of the gateway that observed it.
    State { state: State, instance: Option<Box<str>>, since_unix_ms: u64 },
    /// A block.
    Block(Kind, Bytes),
}

/// Next item of a merged stream.
#[derive(Debug, PartialEq)]
pub(super) enum Merged {
    /// A line.
    Line(Line),
    /// End of an event.
    End,
}

/// Parser for merged streams. It skips unknown lines.
#[derive(Debug, Default)]
pub(super) struct MergedLines {
    lines: Lines,
    is_merge: bool,
}

impl MergedLines {
    /// Returns the next item of `input`, and removes the parsed bytes from it.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<Merged> {
        while let Some(line) = self.lines.next(input) {
            if line.is_empty() {
                self.is_merge = false;
                return Some(Merged::End);
            }
            match field(line) {
                (b"event", value) => self.is_merge = value == b"merge",
                (b"data", value) if self.is_merge && line.len() <= LINE_BYTES => {
                    if let Some(line) = parse(value) {
                        return Some(Merged::Line(line));
                    }
                }
                _ => {}
            }
        }
        None
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut parts = std::str::from_utf8(line).ok()?.splitn(3, ' ');
    let (name, kind, data) = (parts.next()?, parts.next()?, parts.next()?);
    let update = if kind == "member" {
        // No check is necessary for blocks: an invalid name matches no member.
        if !is_name(name) {
            return None;
        }
        state(data)?
    } else {
        let kind = Kind::parse(kind.as_bytes()).filter(|_| data.len() <= BLOCK_BYTES)?;
        Update::Block(kind, Bytes::copy_from_slice(data.as_bytes()))
    };
    Some(Line { name: name.into(), update })
}

/// Parses the state as gateways write it, and ignores parts that a later version may append.
fn state(text: &str) -> Option<Update> {
    let (state, mut rest) = text.strip_prefix("{\"state\":\"")?.split_once('"')?;
    let mut instance = None;
    if let Some(named) = rest.strip_prefix(",\"instance\":\"") {
        let (name, behind) = named.split_once('"')?;
        (instance, rest) = (Some(name).filter(|name| is_instance(name)).map(Box::from), behind);
    }
    let since = rest.strip_prefix(",\"since_unix_ms\":")?;
    let end = since.find([',', '}'])?;
    Some(Update::State {
        state: State::parse(state)?,
        instance,
        since_unix_ms: since.get(..end)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(text: &[u8], piece: usize) -> Vec<(Kind, Vec<u8>)> {
        let (mut parser, mut found) = (Blocks::default(), Vec::new());
        for part in text.chunks(piece) {
            let mut rest = part;
            while let Some((kind, data)) = parser.next(&mut rest) {
                found.push((kind, data.to_vec()));
            }
        }
        found
    }

    #[test]
    fn blocks_do_not_depend_on_how_the_bytes_are_split() {
        let text = b": hello\n\nevent: minute\ndata: {\"a\":1}\n\nid: 7\r\nevent:summary\r\n\
                     data:{}\r\n\r\nevent: other\ndata: x\n\ndata: unnamed\n\nevent: summary\rdata: z\r\r";
        let expected =
            [(Kind::Minute, &b"{\"a\":1}"[..]), (Kind::Summary, b"{}"), (Kind::Summary, b"z")];
        for piece in 1..text.len() {
            let found = blocks(text, piece);
            let found: Vec<_> = found.iter().map(|(kind, data)| (*kind, &data[..])).collect();
            assert_eq!(found, expected, "{piece}");
        }
    }

    #[test]
    fn unusable_blocks_are_dropped_and_the_next_one_is_parsed() {
        let good = b"event: summary\ndata: good\n\n";
        for bad in [
            format!("event: summary\ndata: {}\n\n", "x".repeat(BLOCK_BYTES + 1)).into_bytes(),
            format!("event: summary\ndata: {}\n\n", "x".repeat(2 * LINE_BYTES)).into_bytes(),
            b"event: summary\ndata: one\ndata: two\n\n".to_vec(),
            b"event: summary\ndata: one\ndata: two\ndata: three\n\n".to_vec(),
            b"event: summary\ndata: \xff\n\n".to_vec(),
            b"event: summary\n\n".to_vec(),
        ] {
            for piece in [1, 7, 4096, 100_000] {
                let found = blocks(&[&bad[..], good].concat(), piece);
                assert_eq!(found, [(Kind::Summary, b"good".to_vec())], "{piece}");
            }
        }
        let longest = format!("event: summary\ndata: {}\n\n", "x".repeat(BLOCK_BYTES));
        assert_eq!(blocks(longest.as_bytes(), 999).len(), 1);
    }

    fn merged(text: &[u8], piece: usize) -> Vec<Merged> {
        let (mut parser, mut found) = (MergedLines::default(), Vec::new());
        for part in text.chunks(piece) {
            let mut rest = part;
            while let Some(next) = parser.next(&mut rest) {
                found.push(next);
            }
        }
        found
    }

    #[test]
    fn lines_of_a_gateway_are_parsed_and_unknown_ones_skipped() {
        let state = |name: &str, state, instance: Option<&str>, since_unix_ms| {
            let update = Update::State { state, instance: instance.map(Box::from), since_unix_ms };
            Merged::Line(Line { name: name.into(), update })
        };
        let block = |name: &str, kind, data: &'static str| {
            Merged::Line(Line { name: name.into(), update: Update::Block(kind, data.into()) })
        };
        let text = "event: merge\n\
             data: 10.0.0.7:8080 member {\"state\":\"up\",\"instance\":\"a\",\"since_unix_ms\":5}\n\
             data: 10.0.0.7:8080 minute {\"m\": 1}\n\
             data: 10.0.0.7:8080 summary {}\n\
             data: 10.0.0.1:1_[::1]:2 member {\"state\":\"gone\",\"since_unix_ms\":0,\"new\":1}\n\
             data: 10.0.0.7:8080 other {}\ndata: evil member {\"state\":\"up\",\"since_unix_ms\":5}\n\
             data: 10.0.0.7:8080 member {\"state\":\"odd\",\"since_unix_ms\":5}\ndata: x\n\n\
             event: other\ndata: 10.0.0.7:8080 summary {}\n\n";
        let expected = [
            state("10.0.0.7:8080", State::Up, Some("a"), 5),
            block("10.0.0.7:8080", Kind::Minute, "{\"m\": 1}"),
            block("10.0.0.7:8080", Kind::Summary, "{}"),
            state("10.0.0.1:1_[::1]:2", State::Gone, None, 0),
            Merged::End,
            Merged::End,
        ];
        for piece in 1..text.len() {
            assert_eq!(merged(text.as_bytes(), piece), expected, "{piece}");
        }
    }

    proptest! {
        #[test]
        fn no_block_contains_a_line_end_and_memory_is_limited(
            text in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..300),
            piece in 1_usize..40,
        ) {
            let alone = [b"event: summary\ndata: ", &text[..], b"\n\n"].concat();
            for (_, data) in blocks(&alone, piece) {
                prop_assert!(!data.contains(&b'\n') && !data.contains(&b'\r'));
                prop_assert!(data.len() <= BLOCK_BYTES);
            }
            let below = [b"event: merge\ndata: 10.0.0.7:80 summary ", &text[..], b"\n\n"].concat();
            prop_assert_eq!(merged(&below, piece), merged(&below, usize::MAX));
        }
    }

    #[test]
    fn an_instance_contains_no_character_that_needs_an_escape() {
        assert!(is_instance("0a1b-2c.d_E"));
        for text in ["", "a b", "a\"b", "a\\b", "é", &"a".repeat(65)] {
            assert!(!is_instance(text), "{text}");
        }
    }
}
