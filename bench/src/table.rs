//! Tables of costs, as plain text that is Markdown too.

use crate::measure::Cost;

/// One participant of a comparison and what it took in each round.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it took, a round each.
    pub rounds: Vec<Cost>,
}

impl Row {
    /// The median of what `of` takes from each round.
    pub fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        match values.len() {
            0 => 0.0,
            length => (values[(length - 1) / 2] + values[length / 2]) / 2.0,
        }
    }

    /// The least of what `of` takes from each round.
    pub fn least(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(f64::INFINITY, f64::min)
    }
}

/// A table with a line per participant; `records` is how many each of them moved.
pub fn table(rows: &[Row], records: u64) -> String {
    let mut text = String::from(
        "| what | wall s (best) | wall s (median) | client CPU µs/record | broker CPU µs/record | peak MiB |\n\
         |---|---|---|---|---|---|\n",
    );
    let per_record = |seconds: f64| seconds * 1e6 / records.max(1) as f64;
    for row in rows {
        let memory = row.rounds.iter().map(|cost| cost.memory).max().unwrap_or(0);
        text.push_str(&format!(
            "| {} | {:.2} | {:.2} | {:.3} | {:.3} | {} |\n",
            row.name,
            row.least(|cost| cost.wall),
            row.median(|cost| cost.wall),
            per_record(row.median(|cost| cost.cpu)),
            per_record(row.median(|cost| cost.broker)),
            match memory {
                0 => "-".to_owned(),
                bytes => (bytes >> 20).to_string(),
            }
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_least_of_some_rounds() {
        let cost = |cpu, broker| Cost {
            wall: cpu,
            cpu,
            broker,
            memory: 1 << 20,
        };
        let row = Row {
            name: "x".into(),
            rounds: vec![cost(3.0, 1.0), cost(1.0, 4.0), cost(2.0, 1.0)],
        };
        assert_eq!(row.median(|cost| cost.cpu), 2.0);
        assert_eq!(row.least(|cost| cost.cpu), 1.0);
        assert!(table(&[row], 1_000_000).contains("| x | 1.00 | 2.00 | 2.000 | 1.000 | 1 |"));
    }
}
