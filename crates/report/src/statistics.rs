//! Statistics of verdicts: short, exact where that is possible, and tested against published tables.

/// The quantile of the normal distribution that leaves 2.5 % above it.
const Z: f64 = 1.959_963_984_540_054;

/// Where a value lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    #[allow(missing_docs)]
    pub low: f64,
    #[allow(missing_docs)]
    pub high: f64,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that passed.
    pub passed: u64,
    /// All that were judged; never fewer.
    pub judged: u64,
}

impl Share {
    /// 0 to 1; none of none.
    pub fn rate(self) -> Option<f64> {
        (self.judged > 0).then(|| self.passed as f64 / self.judged as f64)
    }

    /// Wilson's score interval of the rate (1927), without a correction for continuity; none of none.
    pub fn wilson(self) -> Option<Interval> {
        let (p, n) = (self.rate()?, self.judged as f64);
        let center = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + Z * Z / n;
        Some(Interval { low: ((center - half) / whole).max(0.0), high: ((center + half) / whole).min(1.0) })
    }

    /// The interval of this rate less the other's, for independent samples: Newcombe's hybrid of two score intervals (1998,
    /// method 10). None where one has none.
    pub fn less(self, other: Self) -> Option<Interval> {
        let (p, q) = (self.rate()?, other.rate()?);
        let (of_p, of_q) = (self.wilson()?, other.wilson()?);
        let below = ((p - of_p.low).powi(2) + (of_q.high - q).powi(2)).sqrt();
        let above = ((of_p.high - p).powi(2) + (q - of_q.low).powi(2)).sqrt();
        Some(Interval { low: p - q - below, high: p - q + above })
    }
}

/// McNemar's exact test, two-sided: how likely pairs are to differ at least so unevenly, if both directions are equally
/// likely. 1 where no pair differs.
pub fn mcnemar(lost: u64, gained: u64) -> f64 {
    let n = (lost + gained) as f64;
    // In logarithms: 2^-n is no number any more from n = 1075 on.
    let (mut log_choose, mut tail) = (0.0_f64, 0.0_f64);
    for k in 0..=lost.min(gained) {
        let k = k as f64;
        if k > 0.0 {
            log_choose += ((n - k + 1.0) / k).ln();
        }
        tail += (log_choose - n * std::f64::consts::LN_2).exp();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(passed: u64, judged: u64) -> Share {
        Share { passed, judged }
    }

    #[track_caller]
    fn near(found: Option<Interval>, low: f64, high: f64) {
        let found = found.expect("an interval");
        assert!(
            (found.low - low).abs() < 5.1e-5 && (found.high - high).abs() < 5.1e-5,
            "{found:?}, not {low} to {high}"
        );
    }

    /// R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statist. Med. 17 (1998), table I, method 3.
    #[test]
    fn wilson_is_as_published() {
        near(share(81, 263).wilson(), 0.2553, 0.3662);
        near(share(15, 148).wilson(), 0.0624, 0.1605);
        near(share(0, 20).wilson(), 0.0, 0.1611);
        near(share(1, 29).wilson(), 0.0061, 0.1718);
        assert_eq!(share(0, 0).wilson(), None);
        assert_eq!(share(7, 7).wilson().map(|interval| interval.high), Some(1.0));
    }

    /// R. G. Newcombe, Interval estimation for the difference between independent proportions, Statist. Med. 17 (1998),
    /// table II, method 10.
    #[test]
    fn differences_are_as_published() {
        near(share(56, 70).less(share(48, 80)), 0.0524, 0.3339);
        near(share(9, 10).less(share(3, 10)), 0.1705, 0.8090);
        near(share(6, 7).less(share(2, 7)), 0.0582, 0.8062);
        near(share(5, 56).less(share(0, 29)), -0.0381, 0.1926);
        near(share(0, 10).less(share(0, 20)), -0.1611, 0.2775);
        near(share(0, 10).less(share(0, 10)), -0.2775, 0.2775);
        near(share(10, 10).less(share(0, 20)), 0.6791, 1.0);
        near(share(10, 10).less(share(0, 10)), 0.6075, 1.0);
        assert_eq!(share(1, 1).less(share(0, 0)), None);
    }

    /// M. W. Fagerland et al., The McNemar test for binary matched-pairs data, BMC Med. Res. Methodol. 13 (2013): the
    /// exact conditional test of both examples.
    #[test]
    fn mcnemar_is_as_published() {
        assert!((mcnemar(1, 7) - 0.0703).abs() < 5.1e-5, "{}", mcnemar(1, 7));
        assert!((mcnemar(6, 16) - 0.0525).abs() < 5.1e-5, "{}", mcnemar(6, 16));
        assert_eq!((mcnemar(0, 0), mcnemar(3, 3)), (1.0, 1.0));
        assert_eq!(mcnemar(16, 6), mcnemar(6, 16));
        assert!(mcnemar(0, 5000) < 1e-300 && mcnemar(2400, 2600) > 0.0);
    }

    /// The sign test's table of critical values, two-sided, 5 %: so many of n in the rarer direction are significant.
    #[test]
    fn critical_values_are_those_of_the_sign_test() {
        for (n, most) in
            [(6, 0), (9, 1), (12, 2), (15, 3), (17, 4), (20, 5), (23, 6), (25, 7), (30, 9), (50, 17), (100, 39)]
        {
            assert!(mcnemar(most, n - most) <= 0.05, "{most} of {n}");
            assert!(mcnemar(most + 1, n - most - 1) > 0.05, "{} of {n}", most + 1);
        }
    }
}
