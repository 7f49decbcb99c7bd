//! Incremental parser of one HTTP/1 response (RFC 9112). Pure.

use std::str;

/// Maximum length of a response head; that of the metadata endpoint has about 150 bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Maximum length of a body; the metrics of a container have about 6 kB.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Maximum length of a chunk header, including extensions.
const MAX_CHUNK_LINE_BYTES: usize = 256;

/// Fault in a response.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ResponseError {
    /// It is not an HTTP/1 response.
    #[error("the answer is not HTTP: {0}")]
    Invalid(&'static str),
    /// Its status is not a success.
    #[error("the status is {0}")]
    Status(u16),
    /// It is longer than any expected response.
    #[error("the answer is too long")]
    TooLong,
    /// The connection closed before the end of the response.
    #[error("the answer is cut off")]
    Truncated,
}

/// Parser of a response, with the bytes received so far.
#[derive(Default)]
pub(crate) struct ResponseParser {
    /// Unparsed bytes: the head, then the body or the remainder of a chunk.
    received: Vec<u8>,
    state: State,
}

enum State {
    /// Reading the head; the first `searched` bytes do not contain its end.
    Head {
        searched: usize,
    },
    Length(usize),
    UntilClose,
    Chunks(Chunks),
}

impl Default for State {
    fn default() -> Self {
        Self::Head { searched: 0 }
    }
}

/// A chunked body; unparsed bytes start at `at`.
#[derive(Default)]
struct Chunks {
    at: usize,
    body: Vec<u8>,
}

impl ResponseParser {
    /// Adds received bytes; returns the body when it is complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, ResponseError> {
        self.received.extend_from_slice(bytes);
        while let State::Head { searched } = self.state {
            let Some(end) = end_of_head(&self.received, searched) else {
                if self.received.len() > MAX_HEAD_BYTES {
                    return Err(ResponseError::TooLong);
                }
                self.state = State::Head { searched: self.received.len().saturating_sub(3) };
                return Ok(None);
            };
            let head = str::from_utf8(&self.received[..end])
                .map_err(|_| ResponseError::Invalid("its head is not text"))?;
            self.state = framing(head)?;
            self.received.drain(..end);
        }
        match &mut self.state {
            State::Chunks(chunks) => {
                let ended = chunks.decode(&self.received)?;
                // Decoded bytes are dropped, so that they are not decoded again.
                self.received.drain(..chunks.at);
                chunks.at = 0;
                Ok(ended.then(|| std::mem::take(&mut chunks.body)))
            }
            State::Length(length) if self.received.len() >= *length => {
                self.received.truncate(*length);
                Ok(Some(std::mem::take(&mut self.received)))
            }
            _ if self.received.len() > MAX_BODY_BYTES => Err(ResponseError::TooLong),
            _ => Ok(None),
        }
    }

    /// Returns a body that ends with the connection.
    pub(crate) fn finish(self) -> Result<Vec<u8>, ResponseError> {
        match self.state {
            State::UntilClose => Ok(self.received),
            _ => Err(ResponseError::Truncated),
        }
    }
}

/// Length of the head; the search starts at `from`.
fn end_of_head(received: &[u8], from: usize) -> Option<usize> {
    let found = received.get(from..)?.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(from + found + 4).filter(|&end| end <= MAX_HEAD_BYTES)
}

/// Determines the framing of the body.
fn framing(head: &str) -> Result<State, ResponseError> {
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    // This response has no content (RFC 9110, section 15.3.5).
    let mut length = (status == Some("204")).then_some(0);
    match status.and_then(|status| status.parse().ok()) {
        Some(200..=299) => {}
        // The final response follows (RFC 9110, section 15.2).
        Some(100 | 102..=199) => return Ok(State::default()),
        Some(other) => return Err(ResponseError::Status(other)),
        None => return Err(ResponseError::Invalid("there is no status")),
    }
    let mut chunked = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) =
            line.split_once(':').ok_or(ResponseError::Invalid("a header is odd"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case("chunked") {
                return Err(ResponseError::Invalid("its transfer encoding is unknown"));
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case("content-length") {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let value = value.parse::<usize>().ok().filter(|_| digits);
            if value.is_none() || (length.is_some() && length != value) {
                return Err(ResponseError::Invalid("its length is odd"));
            }
            length = value;
        }
    }
    match length {
        // Chunked encoding takes precedence over a length (RFC 9112, section 6.3).
        _ if chunked => Ok(State::Chunks(Chunks::default())),
        Some(length) if length > MAX_BODY_BYTES => Err(ResponseError::TooLong),
        Some(length) => Ok(State::Length(length)),
        None => Ok(State::UntilClose),
    }
}

impl Chunks {
    /// Decodes all complete chunks; returns whether the last one was among them.
    fn decode(&mut self, received: &[u8]) -> Result<bool, ResponseError> {
        loop {
            let rest = &received[self.at..];
            let line = rest.iter().take(MAX_CHUNK_LINE_BYTES).position(|&byte| byte == b'\n');
            let Some(line) = line else {
                return match rest.len() {
                    0..MAX_CHUNK_LINE_BYTES => Ok(false),
                    _ => Err(ResponseError::Invalid("the start of a chunk is too long")),
                };
            };
            let length = chunk_length(&rest[..line])?;
            if length == 0 {
                // Trailers may follow, and are ignored.
                return Ok(true);
            }
            if self.body.len() + length > MAX_BODY_BYTES {
                return Err(ResponseError::TooLong);
            }
            let Some(chunk) = rest.get(line + 1..line + 1 + length + 2) else { return Ok(false) };
            let (data, end) = chunk.split_at(length);
            if end != b"\r\n" {
                return Err(ResponseError::Invalid("a chunk has another length than it says"));
            }
            self.body.extend_from_slice(data);
            self.at += line + 1 + length + 2;
        }
    }
}

/// Parses a chunk header: the length in hexadecimal, and an optional extension.
fn chunk_length(line: &[u8]) -> Result<usize, ResponseError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let ends = matches!(line.get(digits), Some(b'\r' | b';' | b' ' | b'\t'));
    str::from_utf8(&line[..digits])
        .ok()
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        // The limit also keeps sums with the length small.
        .filter(|&length| ends && length <= MAX_BODY_BYTES)
        .ok_or(ResponseError::Invalid("the length of a chunk is odd"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Body of a response that arrives in pieces of this size before the connection closes.
    fn body(answer: &[u8], piece: usize) -> Result<Vec<u8>, ResponseError> {
        let mut state = ResponseParser::default();
        for bytes in answer.chunks(piece) {
            if let Some(body) = state.push(bytes)? {
                return Ok(body);
            }
        }
        state.finish()
    }

    #[test]
    fn a_body_ends_with_its_length_its_last_chunk_or_its_connection() {
        let answers: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}and more",
            b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n{\"a\":1}",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n4\r\n{\"a\"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n",
            b"HTTP/1.1 200 \r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\nA: b\r\n\r\n",
        ];
        for answer in answers {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(body(answer, piece).as_deref(), Ok(b"{\"a\":1}".as_slice()), "{piece}");
            }
        }
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1000), Ok(Vec::new()));
    }

    #[test]
    fn every_success_is_one() {
        for answer in [
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ] {
            assert_eq!(body(answer.as_bytes(), 1000), Ok(Vec::new()), "{answer}");
        }
        // The connection may stay open.
        let mut state = ResponseParser::default();
        assert_eq!(state.push(b"HTTP/1.1 204 No Content\r\n\r\n"), Ok(Some(Vec::new())));
        for status in [101, 300, 304] {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(body(answer.as_bytes(), 1000), Err(ResponseError::Status(status)));
        }
    }

    #[test]
    fn informational_responses_are_skipped() {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        for piece in [1, 7, 1000] {
            assert_eq!(body(answer, piece).as_deref(), Ok(b"{}".as_slice()), "{piece}");
        }
        assert_eq!(body(b"HTTP/1.1 100 Continue\r\n\r\n", 1000), Err(ResponseError::Truncated));
    }

    #[test]
    fn an_unexpected_response_is_an_error() {
        let error = |answer: &str| body(answer.as_bytes(), 5).unwrap_err();
        assert_eq!(error("HTTP/1.1 404 Not Found\r\n\r\n"), ResponseError::Status(404));
        assert_eq!(
            error("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"),
            ResponseError::Truncated
        );
        assert_eq!(error("HTTP/1.1 200 OK\r\nContent-"), ResponseError::Truncated);
        assert_eq!(error(""), ResponseError::Truncated);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(error(&format!("{chunked}7\r\n{{")), ResponseError::Truncated);
        assert_eq!(
            error(&format!("{chunked}100001\r\n")).to_string(),
            "the answer is not HTTP: the length of a chunk is odd"
        );
        for odd in ["g\r\n", "1\r\nab\r\n", "\r\n", "ffffffffffffffffff\r\n", "1x\r\na\r\n"] {
            assert!(
                matches!(error(&format!("{chunked}{odd}")), ResponseError::Invalid(_)),
                "{odd}"
            );
        }
        for odd in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +7\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ] {
            assert!(matches!(error(odd), ResponseError::Invalid(_)), "{odd}");
        }
    }

    #[test]
    fn a_response_without_an_end_is_limited() {
        let endless = |start: &str| {
            let mut state = ResponseParser::default();
            let mut result = state.push(start.as_bytes());
            for _ in 0..2 * MAX_BODY_BYTES / 1024 {
                if result.is_err() {
                    break;
                }
                result = state.push(&[b'1'; 1024]);
            }
            result.unwrap_err()
        };
        assert_eq!(endless("HTTP/1.1 200 OK\r\n"), ResponseError::TooLong);
        assert_eq!(endless("HTTP/1.1 200 OK\r\n\r\n"), ResponseError::TooLong);
        assert_eq!(
            endless("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"),
            ResponseError::TooLong
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(endless(chunked), ResponseError::Invalid(_)));
        let chunks =
            format!("{chunked}{}", format!("80000\r\n{}\r\n", "x".repeat(0x8_0000)).repeat(3));
        assert_eq!(body(chunks.as_bytes(), 4096), Err(ResponseError::TooLong));
    }

    proptest! {
        #[test]
        fn no_response_makes_the_parser_panic(
            bytes in any::<Vec<u8>>(),
            text in "[0-9a-fA-F;: \r\n]{0,40}",
            piece in 1_usize..9,
        ) {
            let _ = body(&bytes, piece);
            let _ = body(format!("HTTP/1.1 200 OK\r\n{text}\r\n\r\n").as_bytes(), piece);
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = body(format!("{chunked}{text}").as_bytes(), piece);
        }

        #[test]
        fn any_body_is_parsed_exactly_for_every_split(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            piece in 1_usize..50,
        ) {
            let whole = chunks.concat();
            let head = |header: &str| format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n").into_bytes();
            let mut plain = head(&format!("Content-Length: {}", whole.len()));
            plain.extend(&whole);
            let mut chunked = head("Transfer-Encoding: chunked");
            for chunk in &chunks {
                chunked.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
                chunked.extend(chunk);
                chunked.extend(b"\r\n");
            }
            chunked.extend(b"0\r\n\r\n");
            prop_assert_eq!(body(&plain, piece), Ok(whole.clone()));
            prop_assert_eq!(body(&chunked, piece), Ok(whole));
        }
    }
}
