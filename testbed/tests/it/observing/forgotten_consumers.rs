//! Consumers that the broker has forgotten without a word: their connections live, and nothing comes.

mod slow;
