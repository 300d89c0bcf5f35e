//! A budget for repeating requests: a fifth of the traffic at most, so that a sick upstream is not asked twice as often.

/// Tokens kept in tenths: a request puts two in, a repetition takes ten out.
#[derive(Debug, Clone, Copy)]
pub struct RetryBudget {
    tenths: u32,
}

const DEPOSIT: u32 = 2;
const PRICE: u32 = 10;
const TENTHS_MAX: u32 = 1_000;

impl Default for RetryBudget {
    /// Ten repetitions to start with.
    fn default() -> Self {
        Self { tenths: 10 * PRICE }
    }
}

impl RetryBudget {
    /// A request came.
    pub fn deposit(&mut self) {
        self.tenths = (self.tenths + DEPOSIT).min(TENTHS_MAX);
    }

    /// Takes the price of one repetition, if it is there.
    pub fn withdraw(&mut self) -> bool {
        let affordable = self.tenths >= PRICE;
        if affordable {
            self.tenths -= PRICE;
        }
        affordable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_traffic_may_be_repeated() {
        let mut budget = RetryBudget::default();
        while budget.withdraw() {}
        let repeated = (0..1_000)
            .filter(|_| {
                budget.deposit();
                budget.withdraw()
            })
            .count();
        assert_eq!(repeated, 200);
    }
}
