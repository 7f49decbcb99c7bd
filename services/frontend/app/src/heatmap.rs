//! Heat map of the cores: a line per core, a column per moment. A busier core has a stronger color.

use crate::decode::Row;

/// Columns of the image: one for each second of ten minutes.
pub(crate) const COLUMNS: u32 = 600;

/// Computes the pixels (red, green, blue, opacity), line by line. Unknown values are transparent.
pub(crate) fn pixels(
    rows: &[Row],
    window: (f64, f64),
    cores: usize,
    colors: [[u8; 3]; 2],
) -> Vec<u8> {
    let (begin, end) = window;
    let columns = COLUMNS as usize;
    let mut pixels = vec![0; columns * cores * 4];
    let mut rows = rows.iter().peekable();
    for column in 0..columns {
        let time = begin + (column as f64 + 0.5) * (end - begin) / columns as f64;
        while rows.next_if(|row| row.time_ms < time).is_some() {}
        let Some(row) = rows.peek().filter(|row| row.start_ms <= time) else { continue };
        let lines = pixels.chunks_exact_mut(columns * 4);
        for (line, &busy) in lines.zip(&row.cores) {
            if let Some(pixel) = line.get_mut(column * 4..column * 4 + 4) {
                pixel.copy_from_slice(&color(busy, colors));
            }
        }
    }
    pixels
}

/// Mixes the two colors and increases the opacity with the load. The opacity alone is readable
/// without colors.
fn color(busy: u8, [low, high]: [[u8; 3]; 2]) -> [u8; 4] {
    let hot = u16::from(busy.saturating_sub(50).min(50));
    let mix = |index: usize| {
        let (low, high) = (u16::from(low[index]), u16::from(high[index]));
        u8::try_from((low * (50 - hot) + high * hot) / 50).unwrap_or(u8::MAX)
    };
    [mix(0), mix(1), mix(2), 12 + busy.min(100) * 2]
}

/// Parses the components of a computed color, such as "rgb(11, 122, 107)".
pub(crate) fn parts(color: &str) -> [u8; 3] {
    let mut parts = [0; 3];
    let numbers = color.split(|letter: char| !letter.is_ascii_digit());
    for (part, number) in parts.iter_mut().zip(numbers.filter(|number| !number.is_empty())) {
        *part = number.parse().unwrap_or_default();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::row;

    const COLORS: [[u8; 3]; 2] = [[10, 100, 100], [200, 0, 0]];

    #[test]
    fn a_busier_core_has_a_stronger_color() {
        assert_eq!(color(0, COLORS), [10, 100, 100, 12]);
        assert_eq!(color(100, COLORS), [200, 0, 0, 212]);
        assert_eq!(parts("rgb(11, 122, 107)"), [11, 122, 107]);
        assert_eq!(parts(""), [0, 0, 0]);
    }

    #[test]
    fn each_core_is_a_line_and_each_moment_a_column() {
        let mut last = row(600, 0.0);
        last.cores = vec![0, 100];
        let pixels = pixels(&[last], (0.0, 600_000.0), 2, COLORS);
        assert_eq!(pixels.len(), 600 * 2 * 4);
        let at = |line: usize, column: usize| pixels[(line * 600 + column) * 4 + 3];
        assert_eq!((at(0, 599), at(1, 599), at(1, 598)), (12, 212, 0));
    }

    #[test]
    fn a_core_without_values_stays_empty() {
        let pixels = pixels(&[row(600, 0.0)], (0.0, 600_000.0), 3, COLORS);
        assert!(pixels.iter().all(|&value| value == 0));
    }
}
