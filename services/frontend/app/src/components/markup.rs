//! Markup with places for values, as nodes of Yew. `html!` writes out three hundred bytes of code for
//! each element, and every viewer loads them all. Here the markup is a text, a value is one call, and
//! what reads the text exists once.
//!
//! Values are put on a stack in the order in which the markup has places for them, and
//! [`Page::fill`] takes them from there:
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

/// A value or a node that waits for the markup around it.
enum Slot {
    /// The value of an attribute, or a text; without it an attribute is left out.
    Value(Option<AttrValue>),
    Node(VNode),
}

/// A piece of markup. Texts are those of the markup itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// An element with the names of its attributes and their values, `None` for a place.
    Open(&'static str, &'static [&'static str], &'static [Option<&'static str>]),
    Close,
    Text(&'static str),
    Place,
}

/// What is known of a markup that was used before: its steps and the number of its places.
#[derive(Clone, Copy)]
struct Known {
    markup: &'static str,
    steps: &'static [Step],
    places: usize,
}

thread_local! {
    /// There are some forty markups, each of which is read once.
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// A page that is being put together.
#[derive(Default)]
pub(super) struct Page(Vec<Slot>);

impl Page {
    /// A value that is known to the compiler.
    #[inline(never)]
    pub(super) fn add(&mut self, text: &'static str) {
        self.maybe(Some(text));
    }

    #[inline(never)]
    pub(super) fn put(&mut self, text: String) {
        self.maybe_put(Some(text));
    }

    /// Nothing: an attribute that is left out, or a child that does not exist.
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

    /// An attribute without a value.
    #[inline(never)]
    pub(super) fn flag(&mut self, is_set: bool) {
        self.maybe(is_set.then_some(""));
    }

    /// The begin of a list, for [`Self::list`].
    pub(super) fn begin(&self) -> usize {
        self.0.len()
    }

    /// Makes one node of all since the begin.
    #[inline(never)]
    pub(super) fn list(&mut self, begin: usize) {
        let nodes = self.0.drain(begin.min(self.0.len())..).map(node).collect();
        self.0.push(Slot::Node(VList::with_children(nodes, None).into()));
    }

    /// Puts the last values into the markup, which becomes one of them.
    #[inline(never)]
    pub(super) fn fill(&mut self, markup: &'static str) {
        let known = known(markup);
        let begin = self.0.len().saturating_sub(known.places);
        let mut slots = self.0.split_off(begin).into_iter();
        let mut nodes = nodes(&mut known.steps.iter(), &mut slots);
        let node = match nodes.pop() {
            Some(node) if nodes.is_empty() => node,
            last => {
                nodes.extend(last);
                VList::with_children(nodes, None).into()
            }
        };
        self.0.push(Slot::Node(node));
    }

    /// The page for Yew.
    pub(super) fn finish(mut self) -> yew::Html {
        self.0.pop().map(node).unwrap_or_default()
    }
}

/// A value as a child.
fn node(slot: Slot) -> VNode {
    match slot {
        Slot::Value(Some(text)) => VText::new(text).into(),
        Slot::Value(None) => VNode::default(),
        Slot::Node(node) => node,
    }
}

/// The nodes up to the end of the element that they are in.
fn nodes(steps: &mut std::slice::Iter<Step>, slots: &mut IntoIter<Slot>) -> Vec<VNode> {
    let mut found = Vec::new();
    while let Some(step) = steps.next() {
        found.push(match *step {
            Step::Close => break,
            Step::Text(text) => VText::new(AttrValue::Static(text)).into(),
            Step::Place => slots.next().map(node).unwrap_or_default(),
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

/// The steps of a markup; they are kept for as long as the page runs.
fn known(markup: &'static str) -> Known {
    KNOWN.with_borrow_mut(|all| {
        if let Some(known) = all.iter().find(|known| std::ptr::eq(known.markup, markup)) {
            return *known;
        }
        let steps = steps(markup);
        let places = steps.iter().map(|step| match step {
            Step::Place => 1,
            Step::Open(_, _, values) => values.iter().filter(|value| value.is_none()).count(),
            _ => 0,
        });
        let known = Known { markup, places: places.sum(), steps: Vec::leak(steps) };
        all.push(known);
        known
    })
}

/// Reads a markup: elements as in XML, with `?` in the place of an attribute's value and `{}` in that
/// of a child.
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
        let is_place = rest.starts_with('{');
        let (inside, after) = split(&rest[1..], *b">}");
        rest = after.get(1..).unwrap_or_default();
        if is_place {
            steps.push(Step::Place);
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

/// Reads the attributes of an element, each behind a space.
fn open(name: &'static str, mut attributes: &'static str) -> Step {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    while attributes.starts_with(' ') {
        let (key, rest) = split(&attributes[1..], *b"==");
        keys.push(key);
        let value = rest.get(1..).unwrap_or_default();
        let (inside, rest) = split(value.get(1..).unwrap_or_default(), *b"\"\"");
        let is_place = value.starts_with('?');
        values.push((!is_place).then_some(inside));
        attributes = if is_place { &value[1..] } else { rest.get(1..).unwrap_or_default() };
    }
    Step::Open(name, Vec::leak(keys), Vec::leak(values))
}

/// What is before the first of the two bytes, and the rest from there.
#[inline(never)]
fn split(text: &'static str, ends: [u8; 2]) -> (&'static str, &'static str) {
    let end = text.bytes().position(|byte| ends.contains(&byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// A shape in a box of twelve; without a name it only repeats what a word says.
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
    fn a_markup_is_read_with_its_places() {
        assert_eq!(
            steps(r#"<p class="a b" title=? hidden="">one {}<b/></p>{}"#),
            [
                Step::Open("p", &["class", "title", "hidden"], &[Some("a b"), None, Some("")]),
                Step::Text("one "),
                Step::Place,
                Step::Open("b", &[], &[]),
                Step::Close,
                Step::Close,
                Step::Place,
            ]
        );
    }

    #[test]
    fn values_fill_the_places_in_their_order() {
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
        // What is skipped is left out.
        assert_eq!(named(last), ["class=y"]);
        let Some(VNode::VList(texts)) = last.children() else { unreachable!() };
        let Some(VNode::VText(text)) = texts.first() else { unreachable!() };
        assert_eq!(text.text.as_str(), "Y");
    }

    #[test]
    fn a_markup_of_several_elements_is_one_value() {
        let mut page = Page::default();
        page.fill("<i/>and<b/>");
        assert_eq!(page.0.len(), 1);
        let VNode::VList(list) = page.finish() else { unreachable!() };
        assert_eq!(list.len(), 3);
    }
}
