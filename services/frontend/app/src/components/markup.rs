//! Markup with placeholders for values, rendered as nodes of Yew. `html!` generates 300 bytes of
//! code for each element, and every viewer downloads all of them. Here, the markup is a text, a
//! value is one call, and the parser exists once.
//!
//! Values are pushed on a stack in the order of the placeholders in the markup, and [`Page::fill`]
//! takes them from there:
//!
//! ```text
//! page.add("small");
//! page.put(text);
//! page.fill(r#"<p class=?>{}</p>"#);
//! ```

use std::cell::RefCell;
use std::vec::IntoIter;

use yew::AttrValue;
use yew::virtual_dom::{AttributeOrProperty, Attributes, VList, VNode, VTag, VText};

use crate::number::plain;

/// Value or node that waits for the markup around it.
enum Slot {
    /// Value of an attribute, or a text. An attribute without a value is omitted.
    Value(Option<AttrValue>),
    Node(VNode),
}

/// Step of parsed markup. Its texts are parts of the markup.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Element with the names and values of its attributes; `None` is a placeholder.
    Open(&'static str, &'static [&'static str], &'static [Option<&'static str>]),
    Close,
    Text(&'static str),
    Placeholder,
}

/// Parsed markup: its steps, and the number of its placeholders.
#[derive(Clone, Copy)]
struct ParsedMarkup {
    markup: &'static str,
    steps: &'static [Step],
    placeholders: usize,
}

thread_local! {
    /// There are about forty markups; each one is parsed once.
    static PARSED: RefCell<Vec<ParsedMarkup>> = const { RefCell::new(Vec::new()) };
}

/// Page under construction.
#[derive(Default)]
pub(super) struct Page(Vec<Slot>);

impl Page {
    /// Pushes a static value.
    #[inline(never)]
    pub(super) fn add(&mut self, text: &'static str) {
        self.maybe(Some(text));
    }

    #[inline(never)]
    pub(super) fn put(&mut self, text: String) {
        self.maybe_put(Some(text));
    }

    #[inline(never)]
    pub(super) fn join(&mut self, parts: &[&str]) {
        self.put(parts.concat());
    }

    #[inline(never)]
    pub(super) fn number(&mut self, number: f64) {
        self.put(plain(number));
    }

    /// Pushes a number as a percentage for an attribute of SVG.
    #[inline(never)]
    pub(super) fn percent(&mut self, number: f64) {
        self.put(plain(number) + "%");
    }

    /// Pushes a text that has two places, such as a title and its content.
    #[inline(never)]
    pub(super) fn twice(&mut self, text: String) {
        self.put(text.clone());
        self.put(text);
    }

    /// Pushes nothing: an attribute is omitted, or a child does not exist.
    #[inline(never)]
    pub(super) fn skip(&mut self) {
        self.maybe(None);
    }

    #[inline(never)]
    pub(super) fn maybe(&mut self, text: Option<&'static str>) {
        self.0.push(Slot::Value(text.map(AttrValue::Static)));
    }

    #[inline(never)]
    pub(super) fn maybe_put(&mut self, text: Option<String>) {
        self.0.push(Slot::Value(text.map(AttrValue::from)));
    }

    /// Pushes a boolean attribute.
    #[inline(never)]
    pub(super) fn flag(&mut self, is_set: bool) {
        self.maybe(is_set.then_some(""));
    }

    /// Start of a list, for [`Self::list`].
    pub(super) fn begin(&self) -> usize {
        self.0.len()
    }

    /// Combines all values since the start into one node.
    #[inline(never)]
    pub(super) fn list(&mut self, begin: usize) {
        let nodes = self.0.drain(begin.min(self.0.len())..).map(node).collect();
        self.0.push(Slot::Node(VList::with_children(nodes, None).into()));
    }

    /// Puts the last values into the markup, and pushes the result.
    #[inline(never)]
    pub(super) fn fill(&mut self, markup: &'static str) {
        let parsed = parsed(markup);
        let begin = self.0.len().saturating_sub(parsed.placeholders);
        let mut slots = self.0.split_off(begin).into_iter();
        let mut nodes = nodes(&mut parsed.steps.iter(), &mut slots);
        let node = match nodes.pop() {
            Some(node) if nodes.is_empty() => node,
            last => {
                nodes.extend(last);
                VList::with_children(nodes, None).into()
            }
        };
        self.0.push(Slot::Node(node));
    }

    /// The page as a node of Yew.
    pub(super) fn finish(mut self) -> yew::Html {
        self.0.pop().map(node).unwrap_or_default()
    }
}

/// Converts a value to a child.
fn node(slot: Slot) -> VNode {
    match slot {
        Slot::Value(Some(text)) => VText::new(text).into(),
        Slot::Value(None) => VNode::default(),
        Slot::Node(node) => node,
    }
}

/// Nodes up to the end of the current element.
fn nodes(steps: &mut std::slice::Iter<Step>, slots: &mut IntoIter<Slot>) -> Vec<VNode> {
    let mut found = Vec::new();
    while let Some(step) = steps.next() {
        found.push(match *step {
            Step::Close => break,
            Step::Text(text) => VText::new(AttrValue::Static(text)).into(),
            Step::Placeholder => slots.next().map(node).unwrap_or_default(),
            Step::Open(name, keys, values) => {
                let mut value = |value: Option<&'static str>| match value {
                    Some(text) => Some(AttributeOrProperty::Static(text)),
                    None => match slots.next() {
                        Some(Slot::Value(value)) => value.map(AttributeOrProperty::Attribute),
                        _ => None,
                    },
                };
                let mut element = VTag::new(name);
                let values = values.iter().map(|&text| value(text)).collect();
                element.set_attributes(Attributes::Dynamic { keys, values });
                element.add_children(nodes(steps, slots));
                element.into()
            }
        });
    }
    found
}

/// Steps of a markup. They are kept as long as the page runs.
fn parsed(markup: &'static str) -> ParsedMarkup {
    PARSED.with_borrow_mut(|all| {
        if let Some(parsed) = all.iter().find(|parsed| std::ptr::eq(parsed.markup, markup)) {
            return *parsed;
        }
        let steps = steps(markup);
        let placeholders = steps.iter().map(|step| match step {
            Step::Placeholder => 1,
            Step::Open(_, _, values) => values.iter().filter(|value| value.is_none()).count(),
            _ => 0,
        });
        let parsed =
            ParsedMarkup { markup, placeholders: placeholders.sum(), steps: Vec::leak(steps) };
        all.push(parsed);
        parsed
    })
}

/// Parses markup: elements as in XML, with `?` as placeholder for the value of an attribute, and
/// `{}` for a child.
fn steps(markup: &'static str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = markup;
    while !rest.is_empty() {
        let text;
        (text, rest) = split(rest, *b"<{");
        if !text.is_empty() {
            steps.push(Step::Text(text));
            continue;
        }
        let is_placeholder = rest.starts_with('{');
        let (inside, after) = split(&rest[1..], *b">}");
        rest = after.get(1..).unwrap_or_default();
        if is_placeholder {
            steps.push(Step::Placeholder);
        } else if inside.starts_with('/') {
            steps.push(Step::Close);
        } else {
            let (name, attributes) = split(inside, *b" /");
            steps.push(open(name, attributes));
            if inside.ends_with('/') {
                steps.push(Step::Close);
            }
        }
    }
    steps
}

/// Parses the attributes of an element; a space precedes each.
fn open(name: &'static str, mut attributes: &'static str) -> Step {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    while attributes.starts_with(' ') {
        let (key, rest) = split(&attributes[1..], *b"==");
        keys.push(key);
        let value = rest.get(1..).unwrap_or_default();
        let (inside, rest) = split(value.get(1..).unwrap_or_default(), *b"\"\"");
        let is_placeholder = value.starts_with('?');
        values.push((!is_placeholder).then_some(inside));
        attributes = if is_placeholder { &value[1..] } else { rest.get(1..).unwrap_or_default() };
    }
    Step::Open(name, Vec::leak(keys), Vec::leak(values))
}

/// Splits a text before the first of the two bytes.
#[inline(never)]
fn split(text: &'static str, ends: [u8; 2]) -> (&'static str, &'static str) {
    let end = text.bytes().position(|byte| ends.contains(&byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// Renders a shape in a box of 12 by 12. A shape without a name repeats a text and is hidden from
/// screen readers.
pub(super) fn shape(page: &mut Page, class: &'static str, path: &'static str, name: &'static str) {
    let is_named = !name.is_empty();
    page.add(class);
    page.maybe(is_named.then_some("img"));
    page.maybe(is_named.then_some(name));
    page.maybe((!is_named).then_some("true"));
    page.add(path);
    page.fill(
        r#"<svg class=? viewBox="0 0 12 12" role=? aria-label=? aria-hidden=?><path d=?/></svg>"#,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_parsed_with_its_placeholders() {
        assert_eq!(
            steps(r#"<p class="a b" title=? hidden="">one {}<b/></p>{}"#),
            [
                Step::Open("p", &["class", "title", "hidden"], &[Some("a b"), None, Some("")]),
                Step::Text("one "),
                Step::Placeholder,
                Step::Open("b", &[], &[]),
                Step::Close,
                Step::Close,
                Step::Placeholder,
            ]
        );
    }

    #[test]
    fn values_fill_the_placeholders_in_order() {
        let mut page = Page::default();
        page.add("outer");
        let begin = page.begin();
        for name in ["x", "y"] {
            page.add(name);
            page.skip();
            page.put(name.to_uppercase());
            page.fill("<i class=? title=?>{}</i>");
        }
        page.list(begin);
        page.fill("<p id=?>{}</p>");
        assert_eq!(page.0.len(), 1, "a markup takes what it has places for");
        let VNode::VTag(outer) = page.finish() else { unreachable!() };
        let named = |tag: &VTag| {
            tag.attributes.iter().map(|(key, value)| [key, "=", value].concat()).collect::<Vec<_>>()
        };
        assert_eq!((outer.tag(), named(&outer)), ("p", vec!["id=outer".to_owned()]));
        let Some(VNode::VList(list)) = outer.children() else { unreachable!() };
        let Some(VNode::VList(inner)) = list.first() else { unreachable!() };
        let Some(VNode::VTag(last)) = inner.last() else { unreachable!() };
        // A skipped attribute is omitted.
        assert_eq!(named(last), ["class=y"]);
        let Some(VNode::VList(texts)) = last.children() else { unreachable!() };
        let Some(VNode::VText(text)) = texts.first() else { unreachable!() };
        assert_eq!(text.text.as_str(), "Y");
    }

    #[test]
    fn markup_of_several_elements_is_one_value() {
        let mut page = Page::default();
        page.fill("<i/>and<b/>");
        assert_eq!(page.0.len(), 1);
        let VNode::VList(list) = page.finish() else { unreachable!() };
        assert_eq!(list.len(), 3);
    }
}
