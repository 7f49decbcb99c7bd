//! The cores as a picture: a line for each, a column for each moment, the busier the stronger.

use crate::decode::Row;

/// Columns of the picture: one for each second of ten minutes.
pub(crate) const COLUMNS: u32 = 600;

/// The picture's pixels (red, green, blue, opacity), line by line. Nothing is drawn where nothing
/// is known.
pub(crate) fn pixels(rows: &[Row], window: (f64, f64), cores: usize) -> Vec<u8> {
    let (begin, end) = window;
    let columns = COLUMNS as usize;
    let mut pixels = vec![0; columns * cores * 4];
    let mut rows = rows.iter().peekable();
    for column in 0..columns {
        let time = begin + (column as f64 + 0.5) * (end - begin) / columns as f64;
        while rows.next_if(|row| row.time_ms < time).is_some() {}
        let Some(row) = rows.peek().filter(|row| row.begun_ms <= time) else { continue };
        let lines = pixels.chunks_exact_mut(columns * 4);
        for (line, &busy) in lines.zip(&row.cores) {
            if let Some(pixel) = line.get_mut(column * 4..column * 4 + 4) {
                pixel.copy_from_slice(&colour(busy));
            }
        }
    }
    pixels
}

/// From nothing over green to red: what is hot is told by strength first, so that it is seen
/// without colours too.
fn colour(busy: u8) -> [u8; 4] {
    let hot = busy.saturating_sub(50).min(50);
    let opacity = 12 + busy.min(100) * 2;
    [20 + hot * 4, 160 - hot * 2, 140 - hot * 2, opacity]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::row;

    #[test]
    fn each_core_is_a_line_and_each_moment_a_column() {
        let mut last = row(600, 0.0);
        last.cores = vec![0, 100];
        let pixels = pixels(&[last], (0.0, 600_000.0), 2);
        assert_eq!(pixels.len(), 600 * 2 * 4);
        let at = |line: usize, column: usize| pixels[(line * 600 + column) * 4 + 3];
        assert_eq!((at(0, 599), at(1, 599), at(1, 598)), (12, 212, 0));
    }

    #[test]
    fn a_core_more_than_there_were_stays_empty() {
        let pixels = pixels(&[row(600, 0.0)], (0.0, 600_000.0), 3);
        assert!(pixels.iter().all(|&value| value == 0));
    }
}
