//! What runs when and what counts as done
