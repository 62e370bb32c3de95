//! The page at `/`, as browsers load it.

mod forms;
mod served;
mod slow;
