//! Medians: on a machine with neighbours single runs differ by a third, so every figure is the middle of several.

/// The middle value; the mean of the two middle ones for an even count. 0 for no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Half the distance between the largest and the smallest value, as a share of the median: how far runs differ.
pub fn half_spread(values: &[f64]) -> f64 {
    let middle = median(values);
    if values.is_empty() || middle == 0.0 {
        return 0.0;
    }
    let largest = values.iter().copied().fold(f64::MIN, f64::max);
    let smallest = values.iter().copied().fold(f64::MAX, f64::min);
    (largest - smallest) / 2.0 / middle
}

#[cfg(test)]
mod tests {
    use super::{half_spread, median};

    #[test]
    fn the_middle_is_found() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(half_spread(&[90.0, 100.0, 110.0]), 0.1);
    }
}
