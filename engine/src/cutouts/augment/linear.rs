//! Small systems of linear equations, solved on the host in double precision.

/// Solves A·X = B for square A; rows of `b` hold the right-hand sides. None when A is singular.
/// Gaussian elimination with partial pivoting.
pub fn solve<const R: usize>(mut a: Vec<Vec<f64>>, mut b: Vec<[f64; R]>) -> Option<Vec<[f64; R]>> {
    let n = a.len();
    for column in 0..n {
        let pivot =
            (column..n).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))?;
        a.swap(column, pivot);
        b.swap(column, pivot);
        let head = a[column][column];
        if head.abs() < 1e-12 || !head.is_finite() {
            return None;
        }
        let (pivot_row, pivot_side) = (a[column].clone(), b[column]);
        for row in (0..n).filter(|&row| row != column) {
            let factor = a[row][column] / head;
            for (x, p) in a[row].iter_mut().zip(&pivot_row).skip(column) {
                *x -= factor * p;
            }
            for (x, p) in b[row].iter_mut().zip(pivot_side) {
                *x -= factor * p;
            }
        }
    }
    Some(b.iter().zip(&a).enumerate().map(|(i, (b, a))| b.map(|x| x / a[i])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_what_needs_pivoting_and_refuses_the_singular() {
        let a = vec![vec![0.0, 2.0, 1.0], vec![1.0, 0.0, 0.0], vec![3.0, 1.0, -1.0]];
        // X = (1, 2, 3) and (−1, 0, 4).
        let b = vec![[7.0, 4.0], [1.0, -1.0], [2.0, -7.0]];
        let x = solve(a, b).unwrap();
        for (got, wanted) in x.iter().flatten().zip([1.0, -1.0, 2.0, 0.0, 3.0, 4.0]) {
            assert!((got - wanted).abs() < 1e-12, "{x:?}");
        }
        assert!(solve(vec![vec![1.0, 2.0], vec![2.0, 4.0]], vec![[1.0], [2.0]]).is_none());
    }
}
