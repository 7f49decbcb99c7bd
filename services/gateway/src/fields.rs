//! Header fields of a message, in their original order.
//!
//! A list instead of `http::HeaderMap`: a message has about a dozen fields, and comparing that many
//! names takes fewer instructions than hashing each of them once.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};

/// Header fields of a request or a response. The parsers limit their number.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    lines: Vec<(HeaderName, HeaderValue)>,
}

#[expect(clippy::needless_pass_by_value, reason = "names are taken as by http::HeaderMap")]
impl Fields {
    pub(crate) const fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// An empty list with capacity for this number of fields.
    pub(crate) fn with_capacity(lines: usize) -> Self {
        Self { lines: Vec::with_capacity(lines) }
    }

    /// Fields of a response that the gateway generates, and that no cache stores.
    pub(crate) fn generated(media_type: &'static str) -> Self {
        let mut fields = Self::with_capacity(8);
        fields.append(CONTENT_TYPE, HeaderValue::from_static(media_type));
        fields.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The first field with this name.
    pub(crate) fn get<N>(&self, name: N) -> Option<&HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        self.lines.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All fields with this name, in order.
    pub(crate) fn get_all<N>(
        &self,
        name: N,
    ) -> impl DoubleEndedIterator<Item = &HeaderValue> + Clone
    where
        HeaderName: PartialEq<N>,
        N: Clone,
    {
        self.lines.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The field with this name, if there is exactly one.
    pub(crate) fn only<N>(&self, name: N) -> Option<&HeaderValue>
    where
        HeaderName: PartialEq<N>,
        N: Clone,
    {
        let mut values = self.get_all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Members of the comma-separated list in all fields with this name, without blanks; some may
    /// be empty.
    pub(crate) fn members<N>(&self, name: N) -> impl DoubleEndedIterator<Item = &[u8]>
    where
        HeaderName: PartialEq<N>,
        N: Clone,
    {
        self.get_all(name)
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
    }

    /// Whether the list in all fields with this name has this member, in any case.
    pub(crate) fn lists<N>(&self, name: N, member: &str) -> bool
    where
        HeaderName: PartialEq<N>,
        N: Clone,
    {
        self.members(name).any(|other| other.eq_ignore_ascii_case(member.as_bytes()))
    }

    pub(crate) fn contains_key<N>(&self, name: N) -> bool
    where
        HeaderName: PartialEq<N>,
    {
        self.get(name).is_some()
    }

    /// Adds a field after those with the same name.
    pub(crate) fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.lines.push((name, value));
    }

    /// Replaces all fields with this name by one, at the position of the first.
    pub(crate) fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        let mut value = Some(value);
        self.lines.retain_mut(|(other, old)| {
            *other != name || value.take().map(|value| *old = value).is_some()
        });
        self.lines.extend(value.map(|value| (name, value)));
    }

    /// Removes all fields with this name, and returns the first.
    pub(crate) fn remove<N>(&mut self, name: N) -> Option<HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        let first = self.lines.iter().position(|(other, _)| *other == name)?;
        let (_, value) = self.lines.remove(first);
        self.lines.retain(|(other, _)| *other != name);
        Some(value)
    }

    /// Keeps the fields for which `keeps` returns true.
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&HeaderName) -> bool) {
        self.lines.retain(|(name, _)| keeps(name));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.lines.iter().map(|(name, value)| (name, value))
    }

    /// Name of each field; duplicates are included.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &HeaderName> {
        self.lines.iter().map(|(name, _)| name)
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Fields {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(lines: I) -> Self {
        Self { lines: lines.into_iter().collect() }
    }
}

impl Extend<(HeaderName, HeaderValue)> for Fields {
    fn extend<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, lines: I) {
        self.lines.extend(lines);
    }
}

impl From<Fields> for HeaderMap {
    fn from(fields: Fields) -> Self {
        let mut map = Self::with_capacity(fields.len());
        for (name, value) in fields.lines {
            map.append(name, value);
        }
        map
    }
}

#[cfg(test)]
impl Fields {
    /// Fields with these names and values.
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        let parse = |&(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        fields.iter().map(parse).collect()
    }

    /// Fields with this name and these values.
    pub(crate) fn of_values(name: &str, values: &[&str]) -> Self {
        let fields: Vec<_> = values.iter().map(|&value| (name, value)).collect();
        Self::of(&fields)
    }

    /// Fields from lines such as `name: value`.
    pub(crate) fn of_lines(lines: &[&str]) -> Self {
        let fields: Vec<_> = lines.iter().map(|line| line.split_once(": ").unwrap()).collect();
        Self::of(&fields)
    }
}

#[cfg(test)]
impl<N> std::ops::Index<N> for Fields
where
    HeaderName: PartialEq<N>,
{
    type Output = HeaderValue;

    fn index(&self, name: N) -> &HeaderValue {
        self.get(name).expect("the field is there")
    }
}
