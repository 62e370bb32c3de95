//! Tests with real nodes and real processes: what the testbed itself promises, and the whole system on top of it.

mod load;
mod stack;

mod outages;
mod testbed_itself;
