//! What a client takes: `Accept` and `Accept-Encoding` (RFC 9110, sections 12.5.1 and 12.5.3).

/// How much a client likes something: the more, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quality {
    /// The weight that it gave, thousandths; never 0.
    thousandths: u16,
    /// How exactly it named it.
    exactness: u8,
}

/// How much the client likes a media type without parameters, such as `text/plain`; none when it
/// does not take it. The most exact range that matches decides, and parameters of ranges do not
/// matter. A client that says nothing takes everything.
pub(crate) fn media_type<'a>(
    accept: impl IntoIterator<Item = &'a str>,
    media_type: &str,
) -> Option<Quality> {
    let main_type = media_type.split_once('/').map_or(media_type, |(main_type, _)| main_type);
    best(accept, |range| {
        if range.eq_ignore_ascii_case(media_type) {
            Some(2)
        } else if range.strip_suffix("/*").is_some_and(|main| main.eq_ignore_ascii_case(main_type))
        {
            Some(1)
        } else {
            (range == "*/*").then_some(0)
        }
    })
    .unwrap_or_else(|Silence(silent)| silent.then_some(Quality { thousandths: 1000, exactness: 0 }))
}

/// Whether the client takes a content coding, such as `gzip`; one that says nothing wants none.
pub(crate) fn coding<'a>(accept: impl IntoIterator<Item = &'a str>, coding: &str) -> bool {
    let liking = best(accept, |range| {
        if range.eq_ignore_ascii_case(coding) { Some(1) } else { (range == "*").then_some(0) }
    });
    liking.ok().flatten().is_some()
}

/// That no range matched, and whether that is because there was none at all.
struct Silence(bool);

/// What the most exact range that matches says.
fn best<'a>(
    fields: impl IntoIterator<Item = &'a str>,
    exactness: impl Fn(&str) -> Option<u8>,
) -> Result<Option<Quality>, Silence> {
    let mut silent = true;
    let mut best: Option<(u8, u16)> = None;
    for member in fields.into_iter().flat_map(|field| field.split(',')) {
        let mut parts = member.split(';');
        let range = parts.next().unwrap_or_default().trim();
        if range.is_empty() {
            continue;
        }
        silent = false;
        let Some(exactness) = exactness(range) else { continue };
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
        });
        best = best.max(Some((exactness, weight.unwrap_or(1000))));
    }
    let (exactness, thousandths) = best.ok_or(Silence(silent))?;
    Ok((thousandths > 0).then_some(Quality { thousandths, exactness }))
}

/// A weight of 0 to 1; an odd one counts as 1, as if it were not there.
fn thousandths(weight: &str) -> u16 {
    match weight.parse::<f32>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 1000"
        )]
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(accept: &str) -> u16 {
        media_type([accept], "application/json").map_or(0, |liking| liking.thousandths)
    }

    #[test]
    fn a_client_that_says_nothing_takes_every_type_and_no_coding() {
        assert!(media_type([], "application/json").is_some());
        assert_eq!(json(" , "), 1000);
        assert!(!coding([], "gzip"));
    }

    #[test]
    fn ranges_match_in_any_case_and_the_most_exact_decides() {
        assert_eq!(json("*/*"), 1000);
        assert_eq!(json("Application/*;q=0.5"), 500);
        assert_eq!(json("APPLICATION/JSON"), 1000);
        assert_eq!(json("*/*, application/json;q=0"), 0);
        assert_eq!(json("application/json;q=0.2, */*;q=0.9"), 200);
        assert_eq!(json("text/html"), 0);
        assert_eq!(json("application/jsonx"), 0);
        assert!(media_type(["text/html", "text/plain"], "text/plain").is_some());
    }

    #[test]
    fn a_coding_can_be_refused() {
        assert!(coding(["br, gzip;q=0.8"], "gzip"));
        assert!(coding(["*"], "gzip"));
        assert!(!coding(["*, gzip;q=0"], "gzip"));
        assert!(!coding(["identity"], "gzip"));
    }

    #[test]
    fn an_odd_weight_counts_as_none() {
        for odd in ["NaN", "-1", "2", "", "much", "1e9"] {
            assert_eq!(json(&format!("application/json;q={odd}")), 1000, "{odd}");
        }
    }
}
